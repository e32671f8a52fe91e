"""What the manager does when its engine misbehaves: the state is always true, and no child is ever left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from modeldeck.backend import spare_engine
from modeldeck.backend.chat_messages import FinishReason
from modeldeck.backend.errors import EngineDied, EngineStalled, LoadCancelled, LoadError
from modeldeck.backend.models import ModelStatus
from tests.fakes.driving import a_request, children, kill, load, managing, record, reply, status_of
from tests.fakes.scripted_engine import scripted_starter
from tests.helpers import eventually

S = ModelStatus

DEATHS = [
    ("silent\nstderr no torch\nexit 1", "exit code 1: no torch"),
    ("stderr no torch\nexit 1", "exit code 1: no torch"),
    ("ready\nwait load\nstderr CUDA error: out of memory\nexit 9", "exit code 9: CUDA error: out of memory"),
    ("ready\nwait load\nprogress reading_weights 1 2\nsignal KILL", r"was killed \(SIGKILL\)"),
    ("ready\nwait load\nprogress reading_weights 1 2\nsignal SEGV", "SIGSEGV"),
    ("ready\nwait load\ngarbage oops\nhang", "not a message"),
    ("ready\nwait load\nlong 9000000\nhang", "not a message"),
    ("ready\nwait load\nstdout a print of a library", "not a message"),
]


@pytest.mark.parametrize(("script", "message"), DEATHS)
async def test_f5_f6_f15_an_engine_that_dies_while_loading_fails_the_load(script: str, message: str) -> None:
    async with managing(scripted_starter(script, "serve")) as manager:
        seen = record(manager)
        with pytest.raises(EngineDied, match=message) as died:
            await load(manager)
        assert seen == [S.NOT_LOADED, S.LOADING, S.FAILED]
        assert manager.error is died.value
        assert children() == []
        await load(manager)
        assert status_of(manager) is S.LOADED


async def test_an_engine_that_answers_a_load_with_something_else_fails_it() -> None:
    script = 'wait load\nevent {"type":"tokens","request_id":1,"text":"hi","new_tokens":1}\nhang'
    async with managing(scripted_starter(script)) as manager:
        with pytest.raises(LoadError, match="something else"):
            await load(manager)
        assert status_of(manager) is S.FAILED
        assert children() == []


async def test_an_error_in_our_own_starter_never_leaves_the_state_at_loading() -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    async with managing(broken) as manager:  # type: ignore[arg-type]  # as a bug would
        with pytest.raises(ZeroDivisionError):
            await load(manager)
        assert status_of(manager) is S.FAILED
        assert "ZeroDivisionError" in str(manager.error)


@pytest.mark.parametrize("script", ["hang", "ready\nwait load\nprogress reading_weights 1 2\nhang"])
async def test_f11_a_load_without_progress_is_ended(script: str) -> None:
    async with managing(scripted_starter(script), stall_seconds=0.3) as manager:
        with pytest.raises(EngineStalled, match="made no progress for"):
            await load(manager)
        assert status_of(manager) is S.FAILED
        assert children() == []


async def test_f11_a_slow_load_that_moves_is_not_ended() -> None:
    steps = "\n".join(f"progress reading_weights {number} 12\nsleep 0.1" for number in range(12))
    async with managing(scripted_starter(f"wait load\n{steps}\nfinished"), stall_seconds=0.8) as manager:
        started = monotonic()
        await load(manager)
        assert monotonic() - started > 1.0
        assert status_of(manager) is S.LOADED


async def test_f5_an_idle_engine_that_is_killed_is_noticed_at_once() -> None:
    async with managing(scripted_starter()) as manager:
        await load(manager)
        seen = record(manager)
        kill(manager.engine_pids[0])
        await eventually(lambda: manager.status is S.FAILED, 1.5, "FAILED")
        assert seen == [S.LOADED, S.FAILED]
        assert isinstance(manager.error, EngineDied)
        assert "SIGKILL" in str(manager.error)
        assert manager.loaded is None
        assert manager.engine_pids == ()
        with pytest.raises(Exception, match="No model is loaded"):
            await reply(manager)
        await load(manager)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("tokens so far\nstderr CUDA error: device-side assert\nexit 3", "exit code 3: CUDA error: device-side assert"),
        ("tokens so far\nsignal KILL", "SIGKILL"),
        ("tokens so far\ngarbage oops\nhang", "not a message"),
        ('event {"type":"download_finished","request_id":2,"path":"","model_id":""}\nhang', "is no reply"),
    ],
)
async def test_f7_an_engine_that_dies_mid_token_is_told_to_the_reply_and_to_the_state(
    script: str, message: str
) -> None:
    async with managing(scripted_starter(f"wait load\nfinished\nwait generate\n{script}")) as manager:
        await load(manager)
        with pytest.raises(EngineDied, match=message):
            await reply(manager)
        assert status_of(manager) is S.FAILED
        assert not manager.generating
        assert children() == []


async def test_f12_an_engine_that_ignores_stop_is_ended_with_the_reason() -> None:
    script = "ignore stop\nignore term\nwait load\nfinished\nwait generate\ntokens on and\nhang"
    async with managing(scripted_starter(script)) as manager:
        await load(manager)
        replying = asyncio.create_task(reply(manager))
        await eventually(lambda: manager.generating)
        started = monotonic()
        await manager.stop_reply()
        assert 1.5 < monotonic() - started < 8
        with pytest.raises(EngineDied, match="did not stop the reply"):
            await replying
        assert status_of(manager) is S.FAILED
        assert children() == []


async def test_f12_a_reply_is_stopped_while_it_is_in_prefill() -> None:
    script = "wait load\nfinished\nwait generate\nwait stop\nend cancelled\nserve"
    async with managing(scripted_starter(script)) as manager:
        await load(manager)
        replying = asyncio.create_task(reply(manager))
        await eventually(lambda: manager.generating)
        await manager.stop_reply()
        said, stats = await replying
        assert (said, stats.finish_reason) == ("", FinishReason.CANCELLED)
        assert (await reply(manager))[0]


async def test_f12_unload_ends_an_engine_that_ignores_shutdown_and_term() -> None:
    async with managing(scripted_starter("ignore shutdown\nignore term\nignore eof\nserve")) as manager:
        await load(manager)
        started = monotonic()
        await manager.unload()
        assert 1.5 < monotonic() - started < 8
        assert status_of(manager) is S.NOT_LOADED
        assert children() == []


async def test_f12_a_load_is_cancelled_within_a_moment() -> None:
    script = "ignore shutdown\nignore term\nignore eof\nwait load\nprogress reading_weights 1 2\nhang"
    async with managing(scripted_starter(script)) as manager:
        task = asyncio.create_task(load(manager))
        await eventually(lambda: manager.progress and manager.progress.done)
        started = monotonic()
        await manager.cancel_load()
        assert monotonic() - started < 1.0  # 5 ms on a quiet machine
        assert status_of(manager) is S.NOT_LOADED
        assert children() == []
        with pytest.raises(LoadCancelled):
            await task


async def test_f14_floods_on_every_pipe_change_nothing() -> None:
    lines: list[str] = []
    script = (
        "flood stderr 20000\nready\nwait load\nflood log 20000\nfinished\nwait generate\nflood tokens 20000\nend\nserve"
    )
    async with managing(scripted_starter(script, on_log=lines.append)) as manager:
        await load(manager)
        said, stats = await reply(manager)
        assert said == "".join(f"{number} " for number in range(20_000))
        assert stats.new_tokens == 20_000
        await eventually(lambda: len(lines) == 40_000, what="every line of the log")


async def test_f13_thirty_rapid_switches_leave_one_child(tmp_path: Path) -> None:
    async with managing(scripted_starter("pace 0.02\nserve"), keep_spare=True) as manager:
        await manager.warm()
        tasks: list[asyncio.Task[object]] = []
        moments: tuple[Callable[[], object], ...] = (
            lambda: True,
            lambda: manager.request == a_request(f"model{len(tasks) - 1}"),
            lambda: moments[1]() and manager.progress and manager.progress.done,
            lambda: moments[1]() and manager.status is S.LOADED,
        )
        for number in range(30):
            tasks.append(
                asyncio.create_task(
                    load(manager, f"model{number}", unload=[f"model{one}" for one in range(number)], replace=True)
                )
            )
            await eventually(moments[number % 4], 30, f"moment {number % 4} of load {number}")
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(outcomes[-1], list)
        assert all(isinstance(outcome, list | LoadCancelled) for outcome in outcomes)
        assert manager.request == a_request("model29")
        assert status_of(manager) is S.LOADED
        await eventually(lambda: len(manager.engine_pids) == 2, what="the next spare")
        assert sorted(children()) == sorted(manager.engine_pids)


async def test_a_spare_that_died_is_replaced_quietly() -> None:
    async with managing(scripted_starter("ready\nhang", "serve"), keep_spare=True) as manager:
        await manager.warm()
        kill(manager.engine_pids[0])
        await eventually(lambda: manager.engine_pids == (), what="the end of the spare")
        assert status_of(manager) is S.NOT_LOADED
        await load(manager)
        assert status_of(manager) is S.LOADED
        assert manager.spare_error is None


async def test_f28_spares_that_die_at_once_are_given_up_and_a_load_says_why() -> None:
    starts = 0
    starter = scripted_starter("stderr No module named 'torch'\nexit 1")

    async def counting() -> object:
        nonlocal starts
        starts += 1
        return await starter()

    async with managing(counting, keep_spare=True) as manager:  # type: ignore[arg-type]  # it is a starter
        for _ in range(5):
            await manager.warm()
            await eventually(lambda: manager.engine_pids == (), what="the end of the spare")
            await eventually(lambda: manager.spare_error is not None)
        assert starts == spare_engine.QUICK_DEATHS
        assert "No module named 'torch'" in str(manager.spare_error)
        with pytest.raises(EngineDied, match="No module named 'torch'"):
            await load(manager)
        assert children() == []


async def test_a_spare_that_cannot_start_is_no_error_until_a_load_needs_it() -> None:
    async with managing(scripted_starter("silent\nexit 2", "serve"), keep_spare=True) as manager:
        await manager.warm()
        assert status_of(manager) is S.NOT_LOADED
        assert "exit code 2" in str(manager.spare_error)
        await load(manager)
        assert manager.spare_error is None
