"""Several models at a time: who is talked to, who makes room, who comes back, who times out."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from modeldeck.backend.errors import EngineBusy, EngineDied, LoadCancelled, LoadError, NotEnoughMemory, NotLoaded
from modeldeck.backend.manager_state import Reason, Unloaded
from modeldeck.backend.memory_reading import DeviceMemory, EngineMemory, MemoryReading
from modeldeck.backend.models import ModelStatus
from modeldeck.backend.pipeline_manager import PipelineManager
from modeldeck.backend.waiting import Shortage
from tests.fakes.driving import a_request, children, held, kill, load, managing, record, reply, status_of
from tests.fakes.scripted_engine import scripted_starter
from tests.helpers import eventually

S = ModelStatus
NO_ROOM = "fail-load memory no room\nserve"


def current(manager: PipelineManager) -> str | None:
    found = manager.residents.current
    return found.model_id if found is not None else None


def unloads(manager: PipelineManager) -> list[tuple[str, Reason]]:
    """What goes from now on, and why."""
    gone: list[tuple[str, Reason]] = []

    def note(one: Unloaded) -> None:
        gone.append((one.request.model_id, one.reason))

    manager.on_unloaded = note
    return gone


async def load_idling(manager: PipelineManager, name: str, minutes: float) -> None:
    async with aclosing(manager.load(a_request(name, idle_minutes=minutes))) as steps:
        async for _ in steps:
            pass


async def test_models_are_held_beside_each_other_and_switched_at_once() -> None:
    async with managing(scripted_starter("reply {model}\nserve")) as manager:
        for name in "abc":
            await load(manager, name)
        assert (held(manager), current(manager)) == (["a", "b", "c"], "c")
        assert [one.number for one in manager.residents] == [1, 2, 3]
        assert sorted(children()) == sorted(manager.model_pids)
        seen = record(manager)
        manager.switch("a")
        assert (current(manager), (await reply(manager))[0]) == ("a", "a")
        assert manager.residents.previous is manager.residents.find("c")
        assert seen == [S.LOADED]
        with pytest.raises(NotLoaded):
            manager.switch("d")


async def test_numbers_stay_and_the_lowest_free_one_is_given_next() -> None:
    async with managing(scripted_starter()) as manager:
        for name in "abc":
            await load(manager, name)
        await manager.unload("b")
        assert [(one.number, one.model_id) for one in manager.residents] == [(1, "a"), (3, "c")]
        await load(manager, "d")
        assert held(manager) == ["a", "d", "c"]


async def test_the_chat_goes_on_with_the_model_before_when_the_current_one_is_unloaded() -> None:
    async with managing(scripted_starter()) as manager:
        for name in "abc":
            await load(manager, name)
        manager.switch("a")
        await manager.unload()
        assert (held(manager), current(manager)) == (["b", "c"], "c")
        await manager.unload("b")
        assert current(manager) == "c"
        assert status_of(manager) is S.LOADED


async def test_a_model_replies_while_another_is_loaded_and_one_is_unloaded(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with managing(scripted_starter("serve", "serve", f"load-gate {gate}\nserve")) as manager:
        await load(manager, "a")
        await load(manager, "b")
        loading = asyncio.create_task(load(manager, "c"))
        await eventually(lambda: manager.status is S.LOADING)
        assert (await reply(manager))[0]
        await manager.unload("a")
        assert held(manager) == ["b"]
        gate.touch()
        await loading
        assert (held(manager), current(manager)) == (["b", "c"], "c")


async def test_two_models_reply_at_the_same_time(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with managing(scripted_starter(f"reply-gate {gate}\nreply one of {{model}} words here\nserve")) as manager:
        await load(manager, "a")
        await load(manager, "b")
        second = asyncio.create_task(reply(manager))
        await eventually(lambda: manager.generating)
        manager.switch("a")
        first = asyncio.create_task(reply(manager))
        await eventually(lambda: all(one.generating for one in manager.residents))
        gate.touch()
        assert [(await task)[0] for task in (first, second)] == ["one of a words here", "one of b words here"]


class TestMakingRoom:
    async def test_only_what_was_named_goes_and_the_current_one_stays_if_it_was_not(self) -> None:
        async with managing(scripted_starter()) as manager:
            await load(manager, "a")
            await load(manager, "b")
            gone = unloads(manager)
            await load(manager, "c", unload=["a", "nobody"])
            assert (gone, held(manager)) == ([("a", Reason.ROOM)], ["c", "b"])

    async def test_the_same_model_is_loaded_anew_under_its_number(self) -> None:
        async with managing(scripted_starter()) as manager:
            await load(manager, "a")
            await load(manager, "b")
            before = manager.model_pids
            await load(manager, "a")
            assert held(manager) == ["a", "b"]
            assert not set(before[:1]) & set(manager.model_pids)

    async def test_when_memory_runs_out_all_that_may_go_does_and_the_load_is_tried_once_more(self) -> None:
        async with managing(scripted_starter("serve", "serve", "serve", NO_ROOM, "serve")) as manager:
            for name in "abc":
                await load(manager, name)
            manager.pin("a", True)
            gone = unloads(manager)
            await load(manager, "d")
            assert gone == [("b", Reason.SHORT), ("c", Reason.SHORT)]
            assert (held(manager), current(manager), manager.failure) == (["a", "d"], "d", None)

    async def test_a_model_that_is_replying_does_not_go_for_that(self, tmp_path: Path) -> None:
        replying = f"reply-gate {tmp_path / 'never'}\nserve"
        async with managing(scripted_starter(replying, NO_ROOM)) as manager:
            await load(manager, "a")
            task = asyncio.create_task(reply(manager))
            await eventually(lambda: manager.generating)
            with pytest.raises(NotEnoughMemory):
                await load(manager, "b")
            assert manager.generating
            await manager.stop_reply()
            await task

    async def test_it_is_tried_once_and_then_everything_is_as_before(self) -> None:
        async with managing(scripted_starter("serve", "serve", NO_ROOM, NO_ROOM, "serve")) as manager:
            await load(manager, "a")
            await load(manager, "b")
            manager.switch("a")
            with pytest.raises(NotEnoughMemory) as raised:
                await load(manager, "c")
            assert (held(manager), current(manager)) == (["a", "b"], "a")
            assert manager.failure is not None
            assert manager.failure.error is raised.value
            assert status_of(manager) is S.LOADED

    async def test_what_was_unloaded_by_hand_meanwhile_does_not_come_back(self, tmp_path: Path) -> None:
        gate = tmp_path / "gate"
        failing = f"wait load\ngate {gate}\nfailed load no"
        async with managing(scripted_starter("serve", "serve", failing, "serve")) as manager:
            await load(manager, "a")
            await load(manager, "b")
            task = asyncio.create_task(load(manager, "c", unload=["a"]))
            await eventually(lambda: manager.status is S.LOADING)
            await manager.unload("b")
            gate.touch()
            with pytest.raises(LoadError):
                await task
            assert held(manager) == ["a"]

    async def test_a_cancel_leaves_the_others_and_the_chat_goes_on_with_one_of_them(self, tmp_path: Path) -> None:
        gated = f"load-gate {tmp_path / 'never'}\nserve"
        async with managing(scripted_starter("serve", "serve", gated)) as manager:
            await load(manager, "a")
            await load(manager, "b")
            task = asyncio.create_task(load(manager, "c", unload=["b"]))
            await eventually(lambda: manager.status is S.LOADING)
            assert manager.loaded is None  # the current one has made room
            await manager.cancel_load()
            with pytest.raises(LoadCancelled):
                await task
            assert (held(manager), current(manager), status_of(manager)) == (["a"], "a", S.LOADED)


class TestDeaths:
    async def test_the_death_of_another_model_leaves_the_chat_alone_and_is_kept_as_a_failure(self) -> None:
        async with managing(scripted_starter()) as manager:
            await load(manager, "a")
            await load(manager, "b")
            kill(manager.model_pids[0])
            await eventually(lambda: held(manager) == ["b"])
            assert (status_of(manager), current(manager)) == (S.LOADED, "b")
            assert manager.failure is not None
            assert manager.failure.request.model_id == "a"
            assert isinstance(manager.failure.error, EngineDied)

    async def test_the_death_of_the_current_one_is_shown_until_another_is_chosen(self) -> None:
        async with managing(scripted_starter()) as manager:
            await load(manager, "a")
            await load(manager, "b")
            kill(manager.model_pids[1])
            await eventually(lambda: manager.status is S.FAILED)
            assert manager.loaded is None
            assert manager.request == a_request("b")
            with pytest.raises(NotLoaded):
                await reply(manager)
            manager.switch("a")
            assert status_of(manager) is S.LOADED


class TestTimeOuts:
    async def test_a_model_that_nobody_uses_goes_and_the_others_stay(self) -> None:
        async with managing(scripted_starter()) as manager:
            gone = unloads(manager)
            await load_idling(manager, "a", 0.002)
            await load(manager, "b")
            await eventually(lambda: held(manager) == ["b"])
            assert gone == [("a", Reason.IDLE)]

    async def test_it_counts_from_the_end_of_the_last_reply_and_never_during_one(self, tmp_path: Path) -> None:
        gate = tmp_path / "gate"
        async with managing(scripted_starter(f"reply-gate {gate}\nserve")) as manager:
            await load_idling(manager, "a", 0.005)
            task = asyncio.create_task(reply(manager))
            await eventually(lambda: manager.generating)
            resident = manager.residents.current
            assert resident is not None
            assert resident.idle_timer is None
            gate.touch()
            await task
            assert held(manager) == ["a"]  # it has only now begun to count
            await eventually(lambda: held(manager) == [])

    async def test_a_pin_stops_it_and_taking_the_pin_away_starts_it_anew(self) -> None:
        async with managing(scripted_starter()) as manager:
            await load_idling(manager, "a", 0.002)
            manager.pin("a", True)
            resident = manager.residents.current
            assert resident is not None
            assert resident.idle_timer is None
            manager.pin("a", False)
            await eventually(lambda: held(manager) == [])
            with pytest.raises(NotLoaded):
                manager.pin("a", True)


class TestWaiting:
    """A load can wait until there is room."""

    @staticmethod
    async def waiting(manager: PipelineManager, free: list[int]) -> asyncio.Task[object]:
        async def read() -> MemoryReading:
            ram = DeviceMemory(name="ram", label="RAM", used_bytes=100 - free[0], total_bytes=100)
            return MemoryReading(devices=(), ram=ram)

        async def whole() -> None:
            async with aclosing(manager.load(a_request("b"), unload=["a"], wait_for={"ram": 60})) as steps:
                async for _ in steps:
                    pass

        manager.read_memory = read
        task: asyncio.Task[object] = asyncio.create_task(whole())
        await eventually(lambda: manager.waiting is not None)
        return task

    async def test_it_begins_when_there_is_enough_and_nothing_goes_before(self) -> None:
        async with managing(scripted_starter()) as manager:
            await load(manager, "a")
            free = [10]
            task = await self.waiting(manager, free)
            assert status_of(manager) is S.LOADING
            assert manager.waiting == Shortage(device="ram", needed_bytes=60, free_bytes=10)
            assert (held(manager), current(manager)) == (["a"], "a")
            assert (await reply(manager))[0]
            free[0] = 60
            await task
            assert held(manager) == ["b"]
            assert manager.waiting is None

    async def test_it_can_be_cancelled_and_what_is_held_can_be_unloaded_meanwhile(self) -> None:
        async with managing(scripted_starter()) as manager:
            await load(manager, "a")
            task = await self.waiting(manager, [10])
            await manager.unload("a")
            assert manager.waiting is not None
            with pytest.raises(EngineBusy, match="b is being loaded"):
                await load(manager, "c")
            await manager.cancel_load()
            with pytest.raises(LoadCancelled):
                await task
            assert status_of(manager) is S.NOT_LOADED
            assert manager.waiting is None


class TestWhatHasChangedSinceItWasSaid:
    """Time passes between the plan and the moment at which a model would go."""

    async def test_what_was_pinned_or_replies_by_now_stays(self, tmp_path: Path) -> None:
        gate = tmp_path / "gate"
        replying = f"reply-gate {gate}\nserve"
        async with managing(scripted_starter("serve", replying, "serve")) as manager:
            await load(manager, "a")
            await load(manager, "c")
            free = [0]

            async def read() -> MemoryReading:
                ram = DeviceMemory(name="ram", label="RAM", used_bytes=100 - free[0], total_bytes=100)
                return MemoryReading(devices=(), ram=ram)

            async def whole() -> None:
                async with aclosing(manager.load(a_request("b"), unload=["a", "c"], wait_for={"ram": 60})) as steps:
                    async for _ in steps:
                        pass

            manager.read_memory = read
            task = asyncio.create_task(whole())
            await eventually(lambda: manager.waiting is not None)
            manager.pin("a", True)
            talk = asyncio.create_task(reply(manager))
            await eventually(lambda: manager.generating)
            free[0] = 60
            await task
            assert sorted(held(manager)) == ["a", "b", "c"]
            gate.touch()
            await talk

    async def test_memory_that_has_come_back_already_is_not_counted_twice(self) -> None:
        async with managing(scripted_starter()) as manager:
            await load(manager, "a")

            async def read() -> MemoryReading:
                engines = tuple(EngineMemory(pid, 20) for pid in manager.model_pids)
                used = 70 if engines else 50
                ram = DeviceMemory(name="ram", label="RAM", used_bytes=used, total_bytes=100)
                return MemoryReading(devices=(), ram=ram, engines=engines)

            async def whole() -> None:
                async with aclosing(manager.load(a_request("b"), unload=["a"], wait_for={"ram": 60})) as steps:
                    async for _ in steps:
                        pass

            manager.read_memory = read
            task = asyncio.create_task(whole())
            await eventually(lambda: manager.waiting == Shortage(device="ram", needed_bytes=40, free_bytes=30))
            await manager.unload("a")
            await eventually(lambda: manager.waiting == Shortage(device="ram", needed_bytes=60, free_bytes=50))
            await manager.cancel_load()
            with pytest.raises(LoadCancelled):
                await task

    async def test_a_pin_outlives_a_load_with_other_options(self) -> None:
        async with managing(scripted_starter()) as manager:
            await load(manager, "a")
            manager.pin("a", True)
            await load(manager, "a")
            resident = manager.residents.current
            assert resident is not None
            assert resident.pinned

    async def test_a_cancel_while_room_is_made_for_a_second_try_is_no_failure(self) -> None:
        slow = "ignore shutdown\nignore term\nserve"
        async with managing(scripted_starter(slow, NO_ROOM)) as manager:
            await load(manager, "a")
            task = asyncio.create_task(load(manager, "b"))
            await eventually(lambda: manager.status is S.UNLOADING)
            await manager.cancel_load()
            with pytest.raises(LoadCancelled):
                await task
            assert manager.failure is None

    async def test_another_is_talked_to_once_the_dead_one_is_forgotten(self) -> None:
        async with managing(scripted_starter()) as manager:
            for name in "abc":
                await load(manager, name)
            kill(manager.model_pids[2])
            await eventually(lambda: manager.status is S.FAILED)
            await manager.unload("b")
            assert (current(manager), status_of(manager)) == ("a", S.LOADED)


async def test_an_unload_of_the_model_that_is_being_loaded_is_refused(tmp_path: Path) -> None:
    async with managing(scripted_starter("serve", f"load-gate {tmp_path / 'never'}\nserve")) as manager:
        await load(manager, "a")
        task = asyncio.create_task(load(manager, "b"))
        await eventually(lambda: manager.status is S.LOADING)
        with pytest.raises(EngineBusy, match="b is being loaded"):
            await manager.unload("b")
        await manager.cancel_load()
        with pytest.raises(LoadCancelled):
            await task


async def test_closing_ends_all_of_them(tmp_path: Path) -> None:
    async with managing(scripted_starter("ignore shutdown\nserve")) as manager:
        for name in "abc":
            await load(manager, name)
        await manager.close()
        assert children() == []
        assert held(manager) == []
