"""What the manager promises while everything goes well; faults are in tests/faults."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from modeldeck.backend.chat_messages import FinishReason
from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.errors import (
    EngineBusy,
    EngineDied,
    GenerationError,
    LoadCancelled,
    LoadError,
    NotEnoughMemory,
    NotLoaded,
    PicklesRefused,
    QuantizationUnavailable,
    RemoteCodeRefused,
    UnsupportedModel,
)
from modeldeck.backend.manager_state import Failure
from modeldeck.backend.memory_reading import DeviceMemory, DeviceProcess, EngineMemory, MemoryReading
from modeldeck.backend.models import LoadStage, ModelStatus
from modeldeck.backend.pipeline_manager import PipelineManager
from modeldeck.backend.protocol import TokensGenerated
from modeldeck.backend.unloading import Freed
from modeldeck.config.generation import BUILT_IN, GenerationSettings, merge
from tests.fakes.driving import HELLO, a_request, children, kill, load, managing, record, reply, status_of
from tests.fakes.scripted_engine import scripted_starter
from tests.helpers import eventually

S = ModelStatus


async def until(manager: PipelineManager, status: ModelStatus) -> None:
    await eventually(lambda: manager.status is status, what=f"{status}")


async def test_a_load_tells_its_stages_and_what_came_of_it() -> None:
    async with managing(scripted_starter()) as manager:
        seen = record(manager)
        assert (manager.status, manager.loaded, manager.request, manager.error) == (S.NOT_LOADED, None, None, None)
        steps = await load(manager)
        assert steps[0].stage is LoadStage.STARTING
        assert steps[-1].stage is LoadStage.WARMING_UP
        assert seen == [S.NOT_LOADED, S.LOADING, S.LOADED]
        assert manager.loaded is not None
        assert manager.loaded.model_id == "org/model"
        assert manager.request == a_request()
        assert manager.progress is None
        assert list(manager.engine_pids) == children()


async def test_replies_follow_their_settings_without_a_new_load() -> None:
    async with managing(scripted_starter("reply t={temperature} n={turns}\nserve")) as manager:
        await load(manager)
        said, stats = await reply(manager)
        assert (said, stats.finish_reason) == ("t=0.7 n=1", FinishReason.STOP)
        said, _ = await reply(manager, merge(BUILT_IN, GenerationSettings(temperature=1.5)))
        assert said == "t=1.5 n=1"
        said, stats = await reply(manager, merge(BUILT_IN, GenerationSettings(max_new_tokens=1)))
        assert (said, stats.finish_reason) == ("t=0.7 ", FinishReason.LENGTH)


async def test_a_load_unloads_what_shall_make_room_and_says_so() -> None:
    async with managing(scripted_starter()) as manager:
        await load(manager, "a")
        first = manager.engine_pids
        seen = record(manager)
        await load(manager, "b", unload=["a"])
        assert seen == [S.LOADED, S.UNLOADING, S.NOT_LOADED, S.LOADING, S.LOADED]
        assert manager.loaded is not None
        assert manager.loaded.model_id == "b"
        assert not set(first) & set(manager.engine_pids)
        assert len(children()) == 1


class TestBringingBack:
    """A load that fails leaves the model that had to make room for it where it was: loaded."""

    async def test_f8_a_model_comes_back_when_the_one_that_took_its_place_fails(self) -> None:
        async with managing(scripted_starter("serve", "fail-load memory no room\nserve", "serve")) as manager:
            await load(manager, "a")
            seen = record(manager)
            with pytest.raises(NotEnoughMemory) as raised:
                await load(manager, "b", unload=["a"])
            assert seen == [S.LOADED, S.UNLOADING, S.NOT_LOADED, S.LOADING, S.FAILED, S.LOADING, S.LOADED]
            assert manager.loaded is not None
            assert manager.loaded.model_id == "a"
            assert (manager.request, manager.error) == (a_request("a"), None)
            assert manager.failure == Failure(a_request("b"), raised.value)
            assert len(children()) == 1
            assert (await reply(manager))[0]
            await load(manager, "c")
            assert manager.failure is None

    async def test_a_death_brings_it_back_too(self) -> None:
        async with managing(scripted_starter("serve", "ready\nwait load\nsignal KILL", "serve")) as manager:
            await load(manager, "a")
            with pytest.raises(EngineDied):
                await load(manager, "b", unload=["a"])
            assert manager.request == a_request("a")
            assert status_of(manager) is S.LOADED

    async def test_when_it_cannot_come_back_either_the_first_failure_is_told_with_the_second(self) -> None:
        scripts = ("serve", "fail-load memory no room\nserve", "fail-load load it is gone\nserve")
        async with managing(scripted_starter(*scripts)) as manager:
            await load(manager, "a")
            with pytest.raises(NotEnoughMemory) as raised:
                await load(manager, "b", unload=["a"])
            assert status_of(manager) is S.FAILED
            assert (manager.request, manager.error) == (a_request("b"), raised.value)
            assert "could not be loaded again: it is gone" in raised.value.detail
            assert children() == []

    async def test_what_is_refused_meanwhile_names_what_is_loaded(self) -> None:
        slow = "wait load\nprogress reading_weights 1 2\nhang"
        async with managing(scripted_starter("serve", "fail-load memory no room\nserve", slow)) as manager:
            await load(manager, "a")
            task = asyncio.create_task(load(manager, "b", unload=["a"]))
            await eventually(lambda: manager.failure is not None and manager.progress and manager.progress.done)
            with pytest.raises(EngineBusy, match=r"^a is being loaded"):
                await load(manager, "c")
            task.cancel()
            await asyncio.wait({task})

    async def test_a_failure_that_is_told_late_is_not_that_of_the_load_after_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ended, go_on = asyncio.Event(), asyncio.Event()
        kill_at_once = EngineClient.kill

        async def kill_late(engine: EngineClient, reason: str = "") -> None:
            await kill_at_once(engine, reason)
            ended.set()
            await go_on.wait()

        async with managing(scripted_starter("fail-load memory no room\nserve", "serve")) as manager:
            with monkeypatch.context() as patched:
                patched.setattr(EngineClient, "kill", kill_late)
                first = asyncio.create_task(load(manager, "a"))
                await ended.wait()
                second = asyncio.create_task(load(manager, "b", replace=True))
                await asyncio.sleep(0)
                go_on.set()
                await asyncio.wait({first, second})
            assert manager.request == a_request("b")
            assert manager.failure is None

    async def test_a_cancel_ends_that_load_too(self, tmp_path: Path) -> None:
        gated = f"load-gate {tmp_path / 'never'}\nserve"
        async with managing(scripted_starter("serve", "fail-load memory no room\nserve", gated)) as manager:
            await load(manager, "a")
            task = asyncio.create_task(load(manager, "b", unload=["a"]))
            await eventually(lambda: manager.failure is not None and manager.status is S.LOADING)
            await manager.cancel_load()
            with pytest.raises(LoadCancelled):
                await task
            assert (manager.status, manager.request) == (S.NOT_LOADED, None)
            assert manager.failure is not None
            await manager.unload()
            assert manager.failure is None

    async def test_a_cancelled_load_brings_nothing_back(self, tmp_path: Path) -> None:
        async with managing(scripted_starter("serve", f"load-gate {tmp_path / 'never'}\nserve")) as manager:
            await load(manager, "a")
            task = asyncio.create_task(load(manager, "b", unload=["a"]))
            await until(manager, S.LOADING)
            await manager.cancel_load()
            with pytest.raises(LoadCancelled):
                await task
            assert (manager.status, manager.failure) == (S.NOT_LOADED, None)


async def test_an_unload_tells_what_came_back_and_a_close_does_not_wait_for_it() -> None:
    asked: list[tuple[int, ...]] = []

    async def read() -> MemoryReading:
        asked.append(manager.model_pids)
        ram = DeviceMemory(name="ram", label="RAM", used_bytes=0, total_bytes=1)
        return MemoryReading(devices=(), ram=ram, engines=tuple(EngineMemory(pid, 700) for pid in manager.model_pids))

    async with managing(scripted_starter()) as manager:
        manager.read_memory = read
        await load(manager)
        pids = manager.model_pids
        await manager.unload()
        assert manager.freed == (Freed(device="ram", held_bytes=700, freed_bytes=700),)
        assert asked == [pids, ()]
        await load(manager)
        assert not list(manager.freed)
        await manager.close()
        assert len(asked) == 2


async def test_f10_the_next_load_begins_when_the_memory_is_back() -> None:
    begun: list[ModelStatus] = []
    slow_to_come_back = iter([9 * 10**9] * 3)

    async def read() -> MemoryReading:
        """A GPU that is still full at three looks after the engine has gone."""
        pids = manager.model_pids
        used = 9 * 10**9 if pids else next(slow_to_come_back, 0)
        begun.append(manager.status)
        holders = tuple(DeviceProcess(pid=pid, user="me", name="python", used_bytes=used, ours=True) for pid in pids)
        gpu = DeviceMemory(name="cuda:0", label="G", used_bytes=used, total_bytes=10**10, processes=holders)
        ram = DeviceMemory(name="ram", label="RAM", used_bytes=0, total_bytes=1)
        return MemoryReading(devices=(gpu,), ram=ram, engines=tuple(EngineMemory(pid, 0) for pid in pids))

    async with managing(scripted_starter()) as manager:
        manager.read_memory = read
        async with aclosing(manager.load(a_request("a", device="cuda:0"))) as steps:
            async for _ in steps:
                pass
        await load(manager, "b", unload=["a"])
        assert begun == [S.UNLOADING] * 5  # before, three times in vain, and then it is back
        assert manager.request == a_request("b")
        manager.read_memory = None


async def test_unload_gives_everything_back_and_is_no_error_without_a_model() -> None:
    async with managing(scripted_starter()) as manager:
        await manager.unload()
        assert status_of(manager) is S.NOT_LOADED
        await load(manager)
        seen = record(manager)
        await asyncio.gather(manager.unload(), manager.unload())
        assert seen == [S.LOADED, S.UNLOADING, S.NOT_LOADED]
        assert children() == []
        assert (manager.loaded, manager.request) == (None, None)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("load", LoadError),
        ("memory", NotEnoughMemory),
        ("unsupported", UnsupportedModel),
        ("quantization", QuantizationUnavailable),
        ("remote_code", RemoteCodeRefused),
        ("pickles", PicklesRefused),
    ],
)
async def test_f8_a_failed_load_leaves_its_error_and_no_process(kind: str, error: type[LoadError]) -> None:
    async with managing(scripted_starter(f"fail-load {kind} It \x1b[2J does not fit.\nserve", "serve")) as manager:
        with pytest.raises(error, match="does not fit") as raised:
            await load(manager)
        assert status_of(manager) is S.FAILED
        assert manager.error is raised.value
        assert str(manager.error) == "It \u241b[2J does not fit."
        assert manager.error.detail == "the traceback"
        assert manager.request == a_request()
        assert children() == []
        await load(manager)
        assert status_of(manager) is S.LOADED
        assert manager.error is None


async def test_unload_forgets_a_failure() -> None:
    async with managing(scripted_starter("fail-load load no\nserve")) as manager:
        with pytest.raises(LoadError):
            await load(manager)
        await manager.unload()
        assert (manager.status, manager.error, manager.request) == (S.NOT_LOADED, None, None)


async def test_a_second_load_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with managing(scripted_starter(f"load-gate {gate}\nserve")) as manager:
        first = asyncio.create_task(load(manager, "a"))
        await until(manager, S.LOADING)
        with pytest.raises(EngineBusy, match="a is being loaded"):
            await load(manager, "b")
        with pytest.raises(EngineBusy, match="a is being loaded"):
            await manager.unload()
        gate.touch()
        await first
        assert manager.request == a_request("a")


async def test_a_load_waits_for_an_unload_that_runs() -> None:
    async with managing(scripted_starter("ignore shutdown\nserve", "serve")) as manager:
        await load(manager, "a")
        unloading = asyncio.create_task(manager.unload())
        await until(manager, S.UNLOADING)
        seen = record(manager)
        await load(manager, "b")
        assert seen == [S.UNLOADING, S.NOT_LOADED, S.LOADING, S.LOADED]
        await unloading
        assert manager.request == a_request("b")


async def test_f13_the_last_of_several_confirmed_loads_wins() -> None:
    async with managing(scripted_starter("wait load\nprogress reading_weights 1 2\nhang", "serve")) as manager:
        first = asyncio.create_task(load(manager, "a"))
        await eventually(lambda: manager.progress and manager.progress.done == 1)
        second = asyncio.create_task(load(manager, "b", replace=True))
        third = asyncio.create_task(load(manager, "c", replace=True))
        outcomes = await asyncio.gather(first, second, third, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [LoadCancelled, LoadCancelled, list]
        assert manager.request == a_request("c")
        assert len(children()) == 1


@pytest.mark.parametrize("how", ["cancel_load", "close the generator", "cancel the task"])
async def test_a_cancelled_load_leaves_nothing(how: str) -> None:
    async with managing(scripted_starter("ignore term\nwait load\nprogress reading_weights 1 2\nhang")) as manager:
        if how == "close the generator":
            async with aclosing(manager.load(a_request())) as steps:
                async for step in steps:
                    if step.done:
                        break
        else:
            task = asyncio.create_task(load(manager))
            await eventually(lambda: manager.progress and manager.progress.done == 1)
            if how == "cancel_load":
                assert await manager.cancel_load()
            else:
                task.cancel()
            with pytest.raises((LoadCancelled, asyncio.CancelledError)):
                await task
        assert (manager.status, manager.request, manager.error) == (S.NOT_LOADED, None, None)
        assert children() == []
        assert not await manager.cancel_load()


async def test_a_load_cancelled_before_its_first_breath_is_cancelled_all_the_same() -> None:
    async with managing(scripted_starter()) as manager:
        task = asyncio.create_task(load(manager))
        await asyncio.sleep(0)
        await manager.cancel_load()
        with pytest.raises(LoadCancelled):
            await task
        assert status_of(manager) is S.NOT_LOADED


async def test_a_load_cancelled_while_the_model_before_is_unloaded_ends_both() -> None:
    async with managing(scripted_starter("ignore shutdown\nignore term\nserve")) as manager:
        await load(manager, "a")
        task = asyncio.create_task(load(manager, "b", unload=["a"]))
        await until(manager, S.UNLOADING)
        await manager.cancel_load()
        with pytest.raises(LoadCancelled):
            await task
        assert status_of(manager) is S.NOT_LOADED
        assert children() == []


async def test_a_reply_can_be_stopped_and_the_next_one_works(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with managing(scripted_starter(f"reply-gate {gate}\nserve")) as manager:
        await load(manager)
        task = asyncio.create_task(reply(manager))
        await eventually(lambda: manager.generating)
        with pytest.raises(GenerationError, match="stop it first"):
            await reply(manager)
        await manager.stop_reply()
        said, stats = await task
        assert stats.finish_reason is FinishReason.CANCELLED
        assert not manager.generating
        assert "You said " in said or said == ""
        gate.touch()
        assert (await reply(manager))[1].finish_reason is FinishReason.STOP
        await manager.stop_reply()  # nothing runs: nothing happens


async def test_closing_the_generator_stops_the_reply_in_the_engine(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with managing(scripted_starter(f"reply-gate {gate}\nserve")) as manager:
        await load(manager)
        async with aclosing(manager.generate(HELLO, BUILT_IN)) as events:
            async for event in events:
                assert isinstance(event, TokensGenerated)
                break
        assert not manager.generating
        gate.touch()
        assert (await reply(manager))[1].finish_reason is FinishReason.STOP


async def test_unload_stops_a_reply_first(tmp_path: Path) -> None:
    async with managing(scripted_starter(f"reply-gate {tmp_path / 'never'}\nserve")) as manager:
        await load(manager)
        task = asyncio.create_task(reply(manager))
        await eventually(lambda: manager.generating)
        await manager.unload()
        assert (await task)[1].finish_reason is FinishReason.CANCELLED


async def test_a_failed_reply_leaves_the_model_loaded() -> None:
    script = "wait load\nfinished\nwait generate\ntokens so far\nreply-failed out of memory\nserve"
    async with managing(scripted_starter(script)) as manager:
        await load(manager)
        with pytest.raises(GenerationError, match="out of memory"):
            await reply(manager)
        assert status_of(manager) is S.LOADED
        assert (await reply(manager))[0]


async def test_without_a_model_a_reply_is_refused() -> None:
    async with managing(scripted_starter()) as manager:
        with pytest.raises(NotLoaded, match="load one first"):
            await reply(manager)


async def test_a_conversation_beyond_one_message_fails_and_the_model_stays() -> None:
    async with managing(scripted_starter()) as manager:
        await load(manager)
        with pytest.raises(GenerationError, match="too long"):
            await reply(manager, text="x" * 9_000_000)
        assert status_of(manager) is S.LOADED
        assert not manager.generating
        assert (await reply(manager))[0]


async def test_the_spare_is_used_by_a_load_and_another_follows_it() -> None:
    async with managing(scripted_starter(), keep_spare=True) as manager:
        await manager.warm()
        (spare,) = manager.engine_pids
        await manager.warm()
        assert manager.engine_pids == (spare,)
        await load(manager)
        assert manager.engine_pids[0] == spare
        await eventually(lambda: len(manager.engine_pids) == 2, what="the next spare")
        await manager.unload()
        assert len(children()) == 1


async def test_without_a_spare_nothing_runs_until_a_load() -> None:
    async with managing(scripted_starter()) as manager:
        await manager.warm()
        assert children() == []


async def test_a_closed_manager_refuses_and_closing_twice_is_fine() -> None:
    async with managing(scripted_starter(), keep_spare=True) as manager:
        await manager.warm()
        await load(manager)
        await manager.close()
        assert children() == []
        assert status_of(manager) is S.NOT_LOADED
        with pytest.raises(EngineBusy, match="closing"):
            await load(manager)
        await manager.warm()
        assert children() == []


async def test_closing_ends_a_load_and_a_reply(tmp_path: Path) -> None:
    async with managing(scripted_starter("wait load\nhang")) as manager:
        task = asyncio.create_task(load(manager))
        await until(manager, S.LOADING)
        await manager.close()
        with pytest.raises(LoadCancelled):
            await task
    async with managing(scripted_starter(f"reply-gate {tmp_path / 'never'}\nserve")) as manager:
        await load(manager)
        replying = asyncio.create_task(reply(manager))
        await eventually(lambda: manager.generating)
        await manager.close()
        with pytest.raises(EngineDied, match="was stopped"):
            await replying


async def test_the_spare_is_no_part_of_what_the_model_takes_and_its_death_is_told() -> None:
    async with managing(scripted_starter("serve"), keep_spare=True) as manager:
        await load(manager)
        await manager.warm()
        assert len(manager.engine_pids) == 2
        assert manager.model_pids == manager.engine_pids[:1]
        told: list[object] = []
        manager.on_change = lambda: told.append(manager.spare_error)
        kill(manager.engine_pids[1])
        await eventually(lambda: told, what="on_change")
        assert told == [manager.spare_error]
        assert manager.spare_error is not None
