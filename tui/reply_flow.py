"""From a question to a reply that is shown and kept: the worker, the pieces, the ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from modeldeck.backend.chat_messages import ReplyMode
from modeldeck.backend.errors import BackendError, GenerationError
from modeldeck.backend.models import SPARING_SECONDS, LoadedModel
from modeldeck.backend.protocol import GenerationFinished, PrefillProgress, TokensGenerated
from modeldeck.backend.text import clean_name
from modeldeck.tui.chats.figures import ReplyClock
from modeldeck.tui.chats.references import BadReference, References, named_paths, read_references
from modeldeck.tui.chats.turns import Turn, TurnState

if TYPE_CHECKING:
    from textual.worker import Worker

    from modeldeck.tui.widgets.chat_panel import ChatPanel
    from modeldeck.tui.widgets.streamed_reply import StreamedReply


class ReplyFlow:
    """Has the loaded model reply, one reply at a time."""

    def __init__(self, panel: ChatPanel) -> None:
        self._panel = panel
        self._model_id = ""
        self._on_cpu = False
        self._progress: tuple[float, int] | None = None
        """Tokens per second and how many, as far as it was not told."""
        self._stopping = False
        self._turn: Turn | None = None
        self._shown: StreamedReply | None = None
        self.worker: Worker[None] | None = None
        self.editing: Turn | None = None
        """The turn beside which the next question is put."""

    def ask(self, question: str, model: LoadedModel) -> None:
        """Send a question of the user; its files are looked at first."""
        self._start(model, self._ask(question, model))

    def again(self, turn: Turn, model: LoadedModel) -> None:
        """Have the same question replied to once more."""
        self.editing = turn
        brought = References(turn.files, turn.images)
        self._start(model, self._put(turn.question, model, brought))

    def go_on(self, turn: Turn, model: LoadedModel) -> None:
        """Let a reply that was cut go on."""
        self._panel.conversation.resume(turn)
        self._start(model, self._reply(turn, ReplyMode.CONTINUE))
        self._turn = turn

    async def stop(self) -> None:
        """End the reply that runs, also before the engine was asked for it."""
        self._stopping = True
        await self._panel.talker.stop_reply()

    async def stop_and_wait(self) -> None:
        """End the reply and what is done with it; returns at once where none has begun."""
        if self._panel.replying and self._turn is not None and self.worker is not None:
            await self.stop()
            await asyncio.wait({asyncio.ensure_future(self.worker.wait())})

    def broke(self, error: BaseException | None) -> None:
        """The worker met an error that nobody expected; the reply must not look as if it still ran."""
        problem = GenerationError(f"The reply met an unexpected error: {error!r}")
        if self._turn is not None and self._turn.state is TurnState.RUNNING:
            self._ended(self._turn, problem)
        else:
            self._panel.replying = False

    def _start(self, model: LoadedModel, work: Coroutine[None, None, None]) -> None:
        self._model_id = model.model_id
        self._on_cpu = model.on_cpu
        self._progress = None
        self._stopping = False
        self._turn = None
        self._panel.replying = True
        self._panel.view.choose(None)
        self._panel.post_message(self._panel.ReplyStarted())
        self.worker = self._panel.run_worker(work, group="reply", exit_on_error=False)

    def _new_turn(self, question: str, model: LoadedModel, brought: References) -> Turn:
        panel, conversation = self._panel, self._panel.conversation
        if self.editing is not None:
            conversation.show(self.editing.parent)
            self.editing = None
            panel.lines.give_draft_back()
        return conversation.begin(
            question,
            clean_name(panel.model_name or model.model_id),
            model_id=model.model_id,
            settings=panel.lines.settings_for(model.model_id),
            files=brought.files,
            images=brought.images,
        )

    async def _ask(self, question: str, model: LoadedModel) -> None:
        brought = References()
        if named_paths(question):
            name = self._panel.model_name or model.model_id
            look = partial(read_references, question, takes_images=model.takes_images, model_name=name)
            try:
                brought = await asyncio.to_thread(look)
            except BadReference as problem:
                self._refuse(question, str(problem))
                return
            brought = replace(brought, files=await self._panel.file_notes.counted(brought.files))
        await self._put(question, model, brought)

    async def _put(self, question: str, model: LoadedModel, brought: References) -> None:
        await self._panel.lines.ready(model.model_id)
        async with self._panel.chats.changing:  # a conversation that is being opened is the one that is meant
            self._turn = turn = self._new_turn(question, model, brought)
        await self._reply(turn, ReplyMode.CHAT)

    def _refuse(self, question: str, why: str) -> None:
        """Nothing was asked; the question stands in the prompt again."""
        panel = self._panel
        panel.replying = False
        panel.lines.take_back(question)
        panel.post_message(panel.ReplyFinished(None, None))
        panel.call_after_refresh(panel.say, why, warning=True)  # after the change of the prompt, which clears the line

    async def _reply(self, turn: Turn, mode: ReplyMode) -> None:
        panel = self._panel
        goes_on = mode is ReplyMode.CONTINUE
        self._turn, self._shown = turn, None
        panel.lines.begin_reply(turn)
        panel.lines.refresh()
        clock = ReplyClock(monotonic())
        showing = asyncio.create_task(self._show(turn, goes_on, clock))  # while the engine reads the prompt
        if self._stopping:  # before the engine was asked
            await showing
            turn.state = TurnState.CANCELLED
            self._ended(turn, None)
            return
        error: BackendError | None = None
        mode = ReplyMode.CONTINUE if goes_on else turn.mode
        try:
            await self._stream(turn, mode, clock, showing)
        except BackendError as problem:
            error = problem
        finally:
            await showing
        if error is None and turn.state is TurnState.RUNNING:
            error = GenerationError("The engine ended the reply without saying why.")
        self._ended(turn, error)

    async def _show(self, turn: Turn, goes_on: bool, clock: ReplyClock) -> None:
        panel = self._panel
        await panel.view.show(panel.conversation, anew=turn if goes_on else None)
        self._shown = reply = panel.view.reply_of(turn)
        if reply is not None and turn.state is TurnState.RUNNING:
            reply.status = lambda: clock.line(monotonic())
            reply.on_paint = self._tell_progress
            if self._on_cpu:
                reply.repaint_seconds = SPARING_SECONDS

    def _tell_progress(self) -> None:
        progress, self._progress = self._progress, None
        if progress is not None:
            self._panel.lines.progressed(*progress)

    async def _stream(self, turn: Turn, mode: ReplyMode, clock: ReplyClock, showing: asyncio.Task[None]) -> None:
        panel = self._panel
        messages = panel.conversation.messages(turn, mode)
        settings = panel.lines.settings_for(self._model_id) if mode is ReplyMode.CONTINUE else turn.settings
        mode = ReplyMode.RAW if turn.mode is ReplyMode.RAW else mode  # which goes on by completing what there is
        stopped = False
        asked = panel.talker.generate(messages, settings, mode=mode, thinking=turn.thinking, model_id=self._model_id)
        async with aclosing(asked) as pieces:
            async for piece in pieces:
                now = monotonic()
                await asyncio.shield(showing)
                reply = self._shown
                if self._stopping and not stopped:  # while a parked model was woken there was nothing to stop
                    stopped = True
                    await panel.talker.stop_reply(self._model_id)
                match piece:
                    case TokensGenerated():
                        (turn.think if piece.reasoning else turn.add)(piece.text)
                        self._progress = clock.saw(piece.new_tokens, now), piece.new_tokens
                        if reply is None:
                            self._tell_progress()
                        else:
                            (reply.think if piece.reasoning else reply.write)(piece.text)
                    case PrefillProgress():
                        clock.read = (piece.done, piece.total)
                    case GenerationFinished():
                        turn.finish(piece.stats)

    def _ended(self, turn: Turn, error: BackendError | None) -> None:
        panel, reply = self._panel, self._shown
        if error is not None:
            turn.fail(str(error))
        panel.conversation.ended(turn)
        panel.replying = False
        panel.say("")
        panel.post_message(panel.ReplyFinished(turn.stats, error))
        if reply is not None and reply.is_attached:
            reply.finish(turn.line_below(), turn.state.value)
        panel.lines.refresh()
        panel.trouble.look(turn, error)
