"""The peer: a Textual app that loads a model into its own process, as most people write it first.

``pipeline("text-generation")`` in a thread worker, the reply in a thread with ``TextIteratorStreamer``, each piece
shown through ``call_from_thread``. It is kind to that design: the libraries are imported before the app starts, so
that no import holds up its loop, and the reply is one plain ``Static``.

``python -m benchmarks.peers.thread_app MODEL TOKENS [RESULT]``, in a terminal. With RESULT it loads and asks by itself
and writes the phases ``load`` and ``reply`` as ``peers.ticks`` has them; without, it loads, and enter asks.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

from textual import on, work
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Footer, Input, Static

from benchmarks.peers.ticks import Phases

LOADED = "Ready for questions."
ENDED = "The reply has ended."
QUESTION = "Write a long story about a lighthouse keeper and his gull."
_SETTLE_SECONDS = 2.5


class ThreadApp(App[None]):
    """One model, one question at a time."""

    AUTO_FOCUS = "Input"

    def __init__(self, model: str, tokens: int) -> None:
        super().__init__()
        self._model = model
        self._tokens = tokens
        self._generator: Any = None
        self._text = ""
        self.state = ""
        """What the first line says."""

    def compose(self) -> ComposeResult:
        """What is going on, the reply, and where to ask."""
        yield Static(id="state")
        with VerticalScroll():
            yield Static(id="reply", markup=False)
        yield Input()
        yield Footer()

    @work(thread=True)
    def load(self) -> None:
        """Load the model in this process."""
        from transformers import pipeline  # which _import_first has imported

        self.call_from_thread(self.say, "Loading...")
        self._generator = pipeline("text-generation", model=self._model)
        self.call_from_thread(self.say, LOADED)

    @on(Input.Submitted)
    def ask(self, submitted: Input.Submitted) -> None:
        """Have it reply."""
        submitted.input.clear()
        self.reply(submitted.value)

    @work(thread=True)
    def reply(self, question: str) -> None:
        """Show the reply piece by piece."""
        from transformers import TextIteratorStreamer

        self._text = ""
        self.call_from_thread(self.say, "Replying...")
        streamer: Any = TextIteratorStreamer(self._generator.tokenizer, skip_prompt=True, skip_special_tokens=True)
        settings = {"max_new_tokens": self._tokens, "min_new_tokens": self._tokens, "do_sample": False}
        chat = [{"role": "user", "content": question}]
        thread = Thread(target=self._generator, args=(chat,), kwargs={"streamer": streamer, **settings})
        thread.start()
        for piece in streamer:
            self.call_from_thread(self.show, piece)
        thread.join()
        self.call_from_thread(self.say, ENDED)

    def show(self, piece: str) -> None:
        """Add to the reply."""
        self._text += piece
        self.query_one("#reply", Static).update(self._text)
        self.query_one(VerticalScroll).scroll_end(animate=False)

    def say(self, state: str) -> None:
        """Tell what is going on."""
        self.state = state
        self.query_one("#state", Static).update(state)


def _import_first() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    from transformers import TextIteratorStreamer, pipeline  # noqa: F401
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # or it would be drawn over the app


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # as the deck beside which this is measured is watched
        await asyncio.sleep(0.02)


async def _play(app: ThreadApp, phases: Phases) -> None:
    await asyncio.sleep(_SETTLE_SECONDS)
    async with phases.phase("load"):
        app.load()
        await _until(lambda: app.state == LOADED)
    async with phases.phase("reply"):
        app.reply(QUESTION)
        await _until(lambda: app.state == ENDED)


async def _run(app: ThreadApp, result: Path | None) -> None:
    phases = Phases()

    async def play() -> None:
        try:
            await _play(app, phases)
        finally:
            app.exit()

    async def load() -> None:
        await _until(lambda: app.is_running)
        app.load()

    playing = asyncio.create_task(load() if result is None else play())
    await app.run_async()
    playing.cancel()  # does nothing where it has come to its end, and ends it where the app has crashed
    try:
        await playing
    finally:
        if result is not None:
            phases.write(result)


if __name__ == "__main__":
    _import_first()
    asyncio.run(_run(ThreadApp(sys.argv[1], int(sys.argv[2])), Path(sys.argv[3]) if len(sys.argv) > 3 else None))
