"""One reply while the engine writes it: the request that can be stopped."""

from __future__ import annotations

from msgspec import structs

from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.errors import EngineDied, GenerationError
from modeldeck.backend.event_stream import EventStream
from modeldeck.backend.protocol import (
    Generate,
    GenerationFailed,
    GenerationFinished,
    PrefillProgress,
    ProtocolError,
    Stop,
    TokensGenerated,
)
from modeldeck.backend.stall import Stalled, StallWatch
from modeldeck.backend.text import clean_text

ReplyEvent = TokensGenerated | PrefillProgress | GenerationFinished
"""What is told of a reply."""
STOP_SECONDS = 2.0
"""How long an engine may take to stop a reply before it is ended."""


class Reply:
    """A reply that is being written by an engine."""

    def __init__(self, engine: EngineClient, stream: EventStream) -> None:
        self._engine = engine
        self._stream = stream

    @property
    def running(self) -> bool:
        """Whether the engine has not said yet that the reply has ended."""
        return not self._stream.finished.is_set()

    async def ask(self, asked: Generate) -> None:
        """Send the request. Raises GenerationError when it is too long for one message, and EngineDied."""
        try:
            await self._engine.send(structs.replace(asked, request_id=self._stream.request_id))
        except ProtocolError as error:
            self._stream.finished.set()  # nothing was asked, so there is nothing to stop
            raise GenerationError("The conversation is too long to be sent; begin a new one.", str(error)) from error

    async def next(self) -> ReplyEvent:
        """The next piece, or the end. Raises GenerationError when the reply failed, and EngineDied."""
        match await self._stream.next():
            case TokensGenerated() | PrefillProgress() | GenerationFinished() as event:
                return event
            case GenerationFailed(message=message, detail=detail):
                raise GenerationError(clean_text(message), clean_text(detail))
            case other:
                message = "The engine answered with something that is no reply, and was ended; load the model again."
                await self._engine.kill(message)
                raise EngineDied(message, repr(other))

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ask the engine to end the reply, and end the engine if it does not; returns when either has happened."""
        if not self.running:
            return
        try:
            await StallWatch(seconds).wait(self._ask_and_wait)
        except Stalled:
            await self._engine.kill(
                f"The engine did not stop the reply within {seconds:.0f} seconds, and was ended; load the model again."
            )
        except EngineDied:
            return  # which stops the reply, too; the stream tells whoever reads it

    async def _ask_and_wait(self) -> bool:
        """Asks again after every tick, which does no harm and needs no memory of having asked."""
        await self._engine.send(Stop(self._stream.request_id))
        return await self._stream.finished.wait()
