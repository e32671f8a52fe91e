"""Short words for tests that drive a PipelineManager."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing, asynccontextmanager, suppress

import psutil

from modeldeck.backend.chat_messages import ChatMessage, GenerationStats
from modeldeck.backend.models import LoadRequest, ModelStatus
from modeldeck.backend.pipeline_manager import EngineStarter, PipelineManager
from modeldeck.backend.protocol import GenerationFinished, LoadProgress, TokensGenerated
from modeldeck.config.generation import BUILT_IN, GenerationSettings

HELLO = (ChatMessage("user", "hello"),)


def a_request(name: str = "org/model", *, idle_minutes: float = 0.0, device: str = "auto") -> LoadRequest:
    """A load that the scripted engine takes."""
    return LoadRequest(model_id=name, path=f"/scripted/{name}", idle_minutes=idle_minutes, device=device)


@asynccontextmanager
async def managing(
    start: EngineStarter, *, keep_spare: bool = False, stall_seconds: float = 60.0
) -> AsyncIterator[PipelineManager]:
    """A manager that is closed at the end, whatever happens; then no child of it is left."""
    manager = PipelineManager(start, keep_spare=keep_spare, stall_seconds=stall_seconds)
    try:
        yield manager
    finally:
        await manager.close()
        assert children() == []
        assert manager.engine_pids == ()


def status_of(manager: PipelineManager) -> ModelStatus:
    """The status now; a call, so that the type checker does not take it for what it was before."""
    return manager.status


async def load(
    manager: PipelineManager, name: str = "org/model", *, unload: Collection[str] = (), replace: bool = False
) -> list[LoadProgress]:
    """Load to the end; returns the progress."""
    async with aclosing(manager.load(a_request(name), unload=unload, replace=replace)) as steps:
        return [step async for step in steps]


def held(manager: PipelineManager) -> list[str]:
    """The models that are held, in the order of their numbers."""
    return [one.model_id for one in manager.residents]


async def reply(
    manager: PipelineManager, settings: GenerationSettings = BUILT_IN, text: str = "hello"
) -> tuple[str, GenerationStats]:
    """Have the model reply to the end."""
    said = ""
    async with aclosing(manager.generate((ChatMessage("user", text),), settings)) as events:
        async for event in events:
            if isinstance(event, GenerationFinished):
                return said, event.stats
            said += event.text if isinstance(event, TokensGenerated) and not event.reasoning else ""
    raise AssertionError("the reply ended without its figures")


def children(pid: int | None = None) -> list[int]:
    """The living processes under this one, or under another; a zombie is dead."""
    found = psutil.Process(pid).children(recursive=True)
    return [child.pid for child in found if is_alive(child.pid)]


def is_alive(pid: int) -> bool:
    """Whether the process still runs; a zombie that nobody reaps does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Do to a process what the system does when memory is short; one that has just ended needs nothing more."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def record(manager: PipelineManager) -> list[ModelStatus]:
    """Every status from now on, without repetitions."""
    seen = [manager.status]

    def note() -> None:
        if manager.status is not seen[-1]:
            seen.append(manager.status)

    manager.on_change = note
    return seen
