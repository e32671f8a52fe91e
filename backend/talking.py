"""What is asked of a model that is held: replies, and how many tokens, and how likely each was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from msgspec import structs

from modeldeck.backend.chat_messages import ChatMessage, ReplyMode, TokenChoice
from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.errors import EngineDied, GenerationError, NotLoaded
from modeldeck.backend.event_stream import RequestEvent
from modeldeck.backend.measurements import measured_reply
from modeldeck.backend.models import PARKING, LoadedModel, ModelStatus
from modeldeck.backend.moving import Moving
from modeldeck.backend.protocol import (
    CountTokens,
    Generate,
    GenerationFailed,
    GenerationFinished,
    LookedInto,
    LookInto,
    ProtocolError,
    Stop,
    TokensCounted,
)
from modeldeck.backend.reply import Reply, ReplyEvent
from modeldeck.backend.residents import Resident
from modeldeck.backend.text import clean_text
from modeldeck.config.generation import GenerationSettings


class Talking(Moving):
    """The part of the manager that has models reply."""

    async def generate(
        self,
        messages: Sequence[ChatMessage],
        settings: GenerationSettings,
        *,
        mode: ReplyMode = ReplyMode.CHAT,
        thinking: bool | None = None,
        model_id: str | None = None,
    ) -> AsyncGenerator[ReplyEvent, None]:
        """Have a model reply, the current one where none is named; the last event is GenerationFinished.

        Closing it stops the reply. A model that is parked is woken first. Raises NotLoaded, GenerationError when this
        reply failed or the model writes another one (it stays loaded), ParkingFailed when it could not be woken, and
        EngineDied. The text is untrusted.
        """
        resident, engine, loaded = await self._awake(model_id)
        if resident.generating:
            raise GenerationError("A reply is being written; stop it first.")
        for look in tuple(resident.looks):
            look.cancel()  # the reply is worth more than a look that would hold it up
        with engine.open_stream() as stream:
            resident.stop_idling()
            resident.reply = reply = Reply(engine, stream)
            self._changed()
            try:
                await reply.ask(Generate(stream.request_id, tuple(messages), settings, mode, thinking))
                while not isinstance(event := await reply.next(), GenerationFinished):
                    yield event
                self._measured(measured_reply(resident.request, loaded, event.stats))
                yield event
            finally:
                try:
                    await _to_its_end(reply.stop())
                finally:
                    resident.last_used = self._clock()
                    self._start_idling(resident)
                    self._changed()

    async def stop_reply(self, model_id: str | None = None) -> None:
        """Have this engine stop its reply, or every one: it ends as ``cancelled``, or the engine is killed."""
        asked = [one for one in self.residents if model_id in (None, one.model_id)]
        await asyncio.gather(*(one.reply.stop() for one in asked if one.reply is not None))

    async def count_tokens(self, texts: Sequence[str], model_id: str | None = None) -> tuple[int, ...]:
        """How many tokens each text is for this model, the current one where none is named; waits for its reply.

        Raises NotLoaded, GenerationError and EngineDied.
        """
        engine = self._engine_of(model_id)
        with engine.open_stream() as stream:
            event = await _answer(engine, CountTokens(stream.request_id, tuple(texts)), stream.next)
        if not isinstance(event, TokensCounted):
            raise GenerationError("The tokens could not be counted.", repr(event))
        return event.counts

    async def look_into(self, asked: Generate, token_ids: Sequence[int], model_id: str) -> tuple[TokenChoice, ...]:
        """How likely each token of a reply was, and what else; ``asked`` is what the reply was asked with.

        Waits for the model's reply; a reply that is asked for meanwhile ends it. Raises NotLoaded, GenerationError,
        ParkingFailed and EngineDied.
        """
        resident, engine, _ = await self._awake(model_id)
        resident.stop_idling()
        request = LookInto(0, structs.replace(asked, request_id=0), tuple(token_ids))
        task = asyncio.create_task(_look(engine, request), name=f"look into a reply of {model_id}")
        resident.looks.add(task)
        try:
            event = await task
        except asyncio.CancelledError:
            task.cancel()
            if task.cancelled() and not _is_cancelled():
                raise GenerationError("A reply was asked for meanwhile; look again when it has ended.") from None
            raise
        finally:
            resident.looks.discard(task)
            self._start_idling(resident)
        if not isinstance(event, LookedInto):
            raise GenerationError("The reply could not be looked into.", repr(event))
        return event.tokens

    async def _awake(self, model_id: str | None) -> tuple[Resident, EngineClient, LoadedModel]:
        """The model that is named, or the current one, ready to reply."""
        resident = self.residents.current if model_id is None else self.residents.find(model_id)
        if resident is not None and resident.status in PARKING:
            await self._settled(resident)
            if resident.status is ModelStatus.PARKED:
                await self.wake(resident.model_id)
        if resident is None or resident.status is not ModelStatus.LOADED:
            raise NotLoaded("No model is loaded; load one first." if model_id is None else "That model is not loaded.")
        assert resident.engine is not None and resident.loaded is not None  # noqa: PT018  # what LOADED means
        return resident, resident.engine, resident.loaded

    def _engine_of(self, model_id: str | None) -> EngineClient:
        """Its tokenizer is there while it is parked, too."""
        resident = self.residents.current if model_id is None else self.residents.find(model_id)
        if resident is None or not resident.holds or resident.engine is None:
            raise NotLoaded("No model is loaded; load one first.")
        return resident.engine


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do it even where the caller is cancelled meanwhile, which is passed on afterwards; it takes seconds at most."""
    task, cancelled = asyncio.ensure_future(work), None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


async def _look(engine: EngineClient, request: LookInto) -> RequestEvent:
    """Tells the engine to stop where nobody waits for the answer any more."""
    with engine.open_stream() as stream:
        try:
            return await _answer(engine, structs.replace(request, request_id=stream.request_id), stream.next)
        finally:
            if not stream.finished.is_set():
                with suppress(EngineDied):
                    await engine.send(Stop(stream.request_id))


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _answer(
    engine: EngineClient, request: CountTokens | LookInto, answer: Callable[[], Awaitable[RequestEvent]]
) -> RequestEvent:
    """Raises GenerationError where the engine cannot, or the request is too long for one message."""
    try:
        await engine.send(request)
    except ProtocolError as error:
        raise GenerationError("That is too long to be sent to the engine.", str(error)) from error
    event = await answer()
    if isinstance(event, GenerationFailed):
        raise GenerationError(clean_text(event.message), clean_text(event.detail))
    return event
