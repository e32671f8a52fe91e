"""A real engine child, driven over its pipes as the manager drives it."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from modeldeck.backend.chat_messages import ChatMessage, GenerationStats
from modeldeck.backend.models import LoadRequest
from modeldeck.backend.protocol import (
    EngineEvent,
    EngineLog,
    EngineReady,
    Generate,
    GenerationFailed,
    GenerationFinished,
    Load,
    LoadFailed,
    LoadFinished,
    Request,
    TokensGenerated,
    decode_event,
    encode,
)
from modeldeck.config.generation import GenerationSettings

Event = TypeVar("Event")
PATIENCE = 120.0
"""Seconds that anything may take on a busy machine."""
OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 20.00 MiB",
    "CUDA error: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
)
"""How torch says it: its allocator, the driver, a library that needs room of its own."""


@dataclass
class Reply:
    """What came back for one ``Generate``."""

    text: str = ""
    pieces: list[TokensGenerated] = field(default_factory=list)
    stats: GenerationStats | None = None
    failure: str = ""


class Engine:
    """The child process and the events that it has sent so far."""

    def __init__(self, home: Path, environment: Mapping[str, str], code: str = "") -> None:
        """``code`` runs in place of the engine's own module, and begins it itself."""
        self.stderr = home / "engine-stderr.txt"
        self.logs: list[str] = []
        self.stages: list[str] = []
        self._events: queue.SimpleQueue[EngineEvent | None] = queue.SimpleQueue()
        self._last_id = 0
        with self.stderr.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *(["-c", code] if code else ["-m", "modeldeck.backend.engine"])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**environment, "HOME": str(home)},
                start_new_session=True,
            )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._events.put(decode_event(line))
        self._events.put(None)

    def send(self, request: Request) -> None:
        assert self.process.stdin
        self.process.stdin.write(encode(request))
        self.process.stdin.flush()

    def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def events(self) -> Iterator[EngineEvent]:
        """Events as they come; log lines are also kept in ``logs``."""
        deadline = monotonic() + PATIENCE
        while (event := self._events.get(timeout=max(0.01, deadline - monotonic()))) is not None:
            if isinstance(event, EngineLog):
                self.logs.append(event.text)
            yield event
        raise AssertionError(f"the engine ended: {self.stderr.read_text()[-3000:]}")

    def until(self, *kinds: type[Event]) -> Event:
        return next(event for event in self.events() if isinstance(event, kinds))

    def load(self, path: Path | str, **options: Any) -> LoadFinished | LoadFailed:
        request = LoadRequest(model_id=str(path), path=str(path), **options)
        self.send(Load(self.next_id(), request))
        for event in self.events():
            if isinstance(event, (LoadFinished, LoadFailed)):
                return event
            if stage := getattr(event, "stage", None):
                self.stages.append(stage.name)
        raise AssertionError("unreachable")

    def ask(self, text: str, settings: GenerationSettings | None = None, **given: Any) -> int:
        request_id = self.next_id()
        settings = settings or GenerationSettings(**given)
        self.send(Generate(request_id, (ChatMessage("user", text),), settings))
        return request_id

    def answer(self, request_id: int) -> Reply:
        reply = Reply()
        for event in self.events():
            if getattr(event, "request_id", None) != request_id:
                continue
            if isinstance(event, TokensGenerated):
                reply.pieces.append(event)
                reply.text += event.text
            elif isinstance(event, GenerationFinished):
                reply.stats = event.stats
                return reply
            elif isinstance(event, GenerationFailed):
                reply.failure = event.message
                return reply
        raise AssertionError("unreachable")

    def reply(self, text: str, **settings: Any) -> Reply:
        return self.answer(self.ask(text, **settings))

    def hang_up(self) -> float:
        """Close its stdin; return the seconds until the process was gone."""
        assert self.process.stdin
        start = monotonic()
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        return monotonic() - start


@contextmanager
def running_engine(
    home: Path, environment: Mapping[str, str], *, ready: bool = True, code: str = ""
) -> Iterator[Engine]:
    """An engine, ready unless it is said otherwise; gone afterwards, whatever the test did to it."""
    engine = Engine(home, environment, code)
    try:
        if ready:
            engine.until(EngineReady)
        yield engine
    finally:
        engine.process.kill()
        engine.process.wait(PATIENCE)
        for pipe in (engine.process.stdin, engine.process.stdout):
            if pipe and not pipe.closed:
                pipe.close()
