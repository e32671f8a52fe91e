"""An engine is killed, crashes, or loses its device: at every moment it is told at once, and why (F5, F6, F7)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from modeldeck.backend import engine_process
from modeldeck.backend.cgroups import Cgroups
from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.errors import EngineDied, GenerationError
from modeldeck.backend.models import ModelStatus
from modeldeck.backend.pipeline_manager import PipelineManager
from modeldeck.backend.protocol import EXIT_DEVICE_LOST
from tests.fakes.driving import children, kill, load, managing, reply, status_of
from tests.fakes.scripted_engine import scripted_command, scripted_starter
from tests.helpers import eventually

AT_ONCE = 1.0
"""Seconds in which every state must have come to its end."""
Moment = Callable[[PipelineManager, list[str]], object]


async def died(script: str) -> EngineDied:
    """How a child ends that runs the script."""
    client = await EngineClient.start(scripted_command(script), dict(os.environ))
    death = await asyncio.shield(client.gone)
    await client.kill()
    return death


@pytest.mark.parametrize(
    ("script", "moment"),
    [
        ("silent\nhang", lambda _manager, _said: children()),
        ("hang", lambda manager, _said: manager.engine_pids),
        ("ready\nwait load\nlog got it\nhang", lambda _manager, said: said),
        (
            "ready\nwait load\nprogress reading_weights 1 2\nhang",
            lambda manager, _said: manager.progress and manager.progress.done,
        ),
        ("ready\nwait load\nfinished\nlog got it\nhang", lambda manager, _said: manager.generating),
        ("ready\nwait load\nfinished\nwait generate\ntokens so far\nlog got it\nhang", lambda _manager, said: said),
    ],
    ids=["before its hello", "importing", "asked to load", "reading", "in prefill", "in a reply"],
)
async def test_f5_whenever_it_is_killed_nothing_is_left_loading_or_replying(script: str, moment: Moment) -> None:
    said: list[str] = []
    async with managing(scripted_starter(script, "serve", on_log=said.append)) as manager:

        async def live() -> None:
            await load(manager)
            await reply(manager)

        living = asyncio.create_task(live())
        await eventually(lambda: moment(manager, said), what="the moment")
        (engine,) = children()
        killed = monotonic()
        kill(engine)
        with pytest.raises(EngineDied, match="SIGKILL"):
            await asyncio.wait_for(living, 10 * AT_ONCE)
        await eventually(lambda: manager.status is ModelStatus.FAILED, AT_ONCE, "FAILED")
        assert monotonic() - killed < AT_ONCE
        assert "was killed (SIGKILL)" in str(manager.error)
        assert not manager.generating
        await load(manager)
        assert status_of(manager) is ModelStatus.LOADED


async def test_f6_what_libraries_said_while_they_were_imported_is_no_last_word() -> None:
    script = "stderr Failed to load an extension.\nready\nstderr the last words\nsignal KILL"
    assert (await died(script)).detail == "the last words"


@pytest.mark.parametrize(
    ("membership", "folder", "counter"),
    [("0::/box\n", "box", "memory.events"), ("4:memory:/box\n", "memory/box", "memory.oom_control")],
    ids=["v2", "v1"],
)
@pytest.mark.parametrize(
    ("after", "message"),
    [
        (3, "was killed .SIGKILL. by the system, which had run out of memory"),
        (2, "from outside, by a person or a memory watcher: the kernel counts no kill"),
    ],
    ids=["counted", "not counted"],
)
async def test_f5_the_kernels_own_count_says_whether_memory_ran_out(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    membership: str,
    folder: str,
    counter: str,
    after: int,
    message: str,
) -> None:
    (tmp_path / "membership").write_text(membership)
    events = tmp_path / folder / counter
    events.parent.mkdir(parents=True)
    events.write_text("low 0\noom 9\noom_kill 2\n")
    monkeypatch.setattr(engine_process, "Cgroups", lambda: Cgroups(tmp_path, tmp_path / "membership"))
    client = await EngineClient.start(scripted_command("hang"), dict(os.environ))
    events.write_text(f"low 0\noom 9\noom_kill {after}\n")
    kill(client.pid)
    death = await asyncio.shield(client.gone)
    await client.kill()
    with pytest.raises(EngineDied, match=message):
        raise death


@pytest.mark.parametrize(
    ("number", "help_with_it"),
    [("SEGV", ""), ("ABRT", ""), ("FPE", ""), ("ILL", ""), ("BUS", "copy a model that lies on a network disk")],
)
async def test_f6_every_crash_is_named_with_the_last_words_before_it(number: str, help_with_it: str) -> None:
    death = await died(f"ready\nstderr Fatal Python error\nstderr in load_state_dict\nsignal {number}")
    assert f"The engine crashed (SIG{number})" in str(death)
    assert help_with_it in str(death)
    assert death.detail == "Fatal Python error\nin load_state_dict"


async def test_f7_an_engine_that_has_lost_its_device_ends_and_another_one_loads() -> None:
    lost = (
        "wait load\nfinished\nwait generate\ntokens so far\n"
        f"reply-failed The reply failed: CUDA error: device-side assert triggered.\nexit {EXIT_DEVICE_LOST}"
    )
    async with managing(scripted_starter(lost, "serve")) as manager:
        await load(manager)
        (first,) = children()
        with pytest.raises((GenerationError, EngineDied)):
            await reply(manager)
        await eventually(lambda: manager.status is ModelStatus.FAILED, AT_ONCE, "FAILED")
        assert "The GPU does not answer any more after an error, so the engine ended" in str(manager.error)
        assert children() == []
        await load(manager)
        assert first not in children()
        assert (await reply(manager))[0]
