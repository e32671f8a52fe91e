"""A model leaves its GPU for RAM and comes back: who may, who is told, and what becomes of it meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from modeldeck.backend.errors import EngineDied, NotEnoughMemory, NotLoaded, ParkingFailed
from modeldeck.backend.memory_reading import DeviceMemory, DeviceProcess, EngineMemory, MemoryReading
from modeldeck.backend.models import LoadRequest, ModelStatus, Quantization
from modeldeck.backend.parking import SPARED_BYTES
from modeldeck.backend.pipeline_manager import PipelineManager
from tests.fakes.driving import a_request, children, held, kill, managing, record, reply, status_of
from tests.fakes.scripted_engine import scripted_starter
from tests.helpers import eventually

S = ModelStatus
SIZE = 270_000_000


async def load_on(manager: PipelineManager, device: str = "cuda:0", name: str = "a", **options: object) -> None:
    request = LoadRequest(model_id=name, path=f"/scripted/{name}", device=device, **options)  # type: ignore[arg-type]  # fields of LoadRequest
    async with aclosing(manager.load(request)) as steps:
        async for _ in steps:
            pass


def ram(free: int) -> MemoryReading:
    return MemoryReading(
        devices=(), ram=DeviceMemory(name="ram", label="RAM", used_bytes=10**10 - free, total_bytes=10**10)
    )


async def test_it_goes_to_ram_and_comes_back_and_both_are_told() -> None:
    async with managing(scripted_starter("serve")) as manager:
        await load_on(manager)
        seen = record(manager)
        parked = await manager.park("a")
        resident = manager.residents.find("a")
        assert resident is not None
        assert (parked.moved_bytes, resident.parked, resident.woken) == (SIZE, parked, None)
        assert (manager.status, held(manager)) == (S.PARKED, ["a"])
        assert manager.loaded is not None  # one can still talk to it
        assert await manager.park("a") == parked
        woken = await manager.wake("a")
        assert (manager.status, resident.woken) == (S.LOADED, woken)
        assert seen == [S.LOADED, S.PARKING, S.PARKED, S.WAKING, S.LOADED]


async def test_the_next_message_wakes_it() -> None:
    async with managing(scripted_starter("reply {model}\nserve")) as manager:
        await load_on(manager)
        await manager.park("a")
        seen = record(manager)
        assert (await reply(manager))[0] == "a"
        assert seen[:3] == [S.PARKED, S.WAKING, S.LOADED]


@pytest.mark.parametrize(
    ("device", "quantization", "why"),
    [
        ("cpu", Quantization.NONE, "It lies in RAM already"),
        ("mps", Quantization.NONE, "single CUDA GPU"),
        ("cuda:0+cuda:1", Quantization.NONE, "single CUDA GPU"),
        ("cuda:0", Quantization.QUANTO_INT8, "quantized with quanto-int8"),
    ],
)
async def test_what_cannot_be_parked_says_why_and_stays(device: str, quantization: Quantization, why: str) -> None:
    async with managing(scripted_starter("serve")) as manager:
        await load_on(manager, device, quantization=quantization)
        with pytest.raises(ParkingFailed, match=why):
            await manager.park("a")
        assert manager.status is S.LOADED
        with pytest.raises(ParkingFailed, match="not parked"):
            await manager.wake("a")


async def test_ram_without_room_is_said_before_anything_moves() -> None:
    async with managing(scripted_starter("serve")) as manager:
        await load_on(manager)

        async def read() -> MemoryReading:
            return ram(free=SPARED_BYTES + SIZE - 1)

        manager.read_memory = read
        with pytest.raises(ParkingFailed, match=r"takes 0\.3 GB of RAM, and 0\.3 GB can be spared"):
            await manager.park("a")
        assert manager.status is S.LOADED


async def test_a_reply_is_not_parked_away(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with managing(scripted_starter(f"reply-gate {gate}\nserve")) as manager:
        await load_on(manager)
        task = asyncio.create_task(reply(manager))
        await eventually(lambda: manager.generating)
        with pytest.raises(ParkingFailed, match="reply is being written"):
            await manager.park("a")
        gate.touch()
        await task
        await manager.park("a")


async def test_a_move_that_fails_leaves_it_where_it_was() -> None:
    async with managing(scripted_starter("fail-move RAM has no room for this model now.\nserve")) as manager:
        await load_on(manager)
        with pytest.raises(ParkingFailed, match="RAM has no room"):
            await manager.park("a")
        assert manager.status is S.LOADED
        assert (await reply(manager))[0]


async def test_a_gpu_without_room_leaves_it_parked_and_the_message_is_told_so() -> None:
    script = "ready\nwait load\nfinished\nwait park\nmoved\nwait wake\nmove-failed The GPU has no room\nserve"
    async with managing(scripted_starter(script)) as manager:
        await load_on(manager)
        await manager.park("a")
        with pytest.raises(ParkingFailed, match="The GPU has no room"):
            await reply(manager)
        assert manager.status is S.PARKED
        assert (await reply(manager))[0]  # the next one finds room


async def test_a_death_on_the_way_is_told_to_who_waits_and_the_model_is_lost() -> None:
    async with managing(scripted_starter("ready\nwait load\nfinished\nwait park\nexit 3")) as manager:
        await load_on(manager)
        with pytest.raises(EngineDied):
            await manager.park("a")
        await eventually(lambda: status_of(manager) is S.FAILED)
        assert held(manager) == []


async def test_a_parked_model_whose_engine_is_killed_is_lost() -> None:
    async with managing(scripted_starter("serve")) as manager:
        await load_on(manager)
        await manager.park("a")
        kill(manager.model_pids[0])
        await eventually(lambda: status_of(manager) is S.FAILED)
        with pytest.raises(NotLoaded):
            await manager.wake("a")


async def test_it_can_be_unloaded_in_the_middle_of_a_move(tmp_path: Path) -> None:
    async with managing(scripted_starter(f"move-gate {tmp_path / 'never'}\nserve")) as manager:
        await load_on(manager)
        task = asyncio.create_task(manager.park("a"))
        await eventually(lambda: status_of(manager) is S.PARKING)
        await manager.unload("a")
        with pytest.raises(EngineDied):
            await task
        assert (manager.status, held(manager), children()) == (S.NOT_LOADED, [], [])


async def test_a_move_goes_on_where_nobody_waits_for_it_any_more(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with managing(scripted_starter(f"move-gate {gate}\nserve")) as manager:
        await load_on(manager)
        task = asyncio.create_task(manager.park("a"))
        await eventually(lambda: status_of(manager) is S.PARKING)
        task.cancel()
        waking = asyncio.create_task(manager.wake("a"))
        gate.touch()
        await waking
        assert manager.status is S.LOADED


async def test_it_makes_room_and_times_out_as_others_do() -> None:
    async with managing(scripted_starter("serve")) as manager:
        await load_on(manager, idle_minutes=0.0005)
        await manager.park("a")
        await eventually(lambda: held(manager) == [])
        await load_on(manager)
        await manager.park("a")
        async with aclosing(manager.load(a_request("b"), unload=["a"])) as steps:
            async for _ in steps:
                pass
        assert held(manager) == ["b"]


async def test_one_that_is_parked_holds_no_memory_of_its_gpu_where_the_driver_names_nobody() -> None:
    async with managing(scripted_starter("serve")) as manager:
        await load_on(manager)
        resident = manager.residents.find("a")
        assert resident is not None
        assert resident.held_at is not None
        assert resident.held_at[1].peaks
        await manager.park("a")
        assert resident.held_at is not None
        assert resident.held_at[1].peaks == {}


async def test_what_an_unload_of_a_parked_model_frees_is_what_the_driver_says() -> None:
    async with managing(scripted_starter("serve")) as manager:
        await load_on(manager)
        await manager.park("a")

        async def read() -> MemoryReading:
            pids = manager.model_pids
            rest = tuple(
                DeviceProcess(pid=pid, user="me", name="python", used_bytes=500_000_000, ours=True) for pid in pids
            )
            gpu = DeviceMemory(
                name="cuda:0", label="GPU", used_bytes=500_000_000 * len(pids), total_bytes=10**10, processes=rest
            )
            engines = tuple(EngineMemory(pid, SIZE) for pid in pids)
            return MemoryReading(devices=(gpu,), ram=ram(10**9).ram, engines=engines)

        manager.read_memory = read
        await manager.unload("a")
        assert [(one.device, one.freed_bytes) for one in manager.freed] == [("cuda:0", 500_000_000)]


async def test_a_message_sent_while_a_move_fails_is_answered(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with managing(scripted_starter(f"move-gate {gate}\nfail-move no room\nreply {{model}}\nserve")) as manager:
        await load_on(manager)
        parking = asyncio.create_task(manager.park("a"))
        await eventually(lambda: status_of(manager) is S.PARKING)
        asked = asyncio.create_task(reply(manager))
        await asyncio.sleep(0)
        gate.touch()
        assert (await asked)[0] == "a"
        with pytest.raises(ParkingFailed):
            await parking


async def test_nothing_else_begins_in_the_moment_in_which_a_move_does() -> None:
    async with managing(scripted_starter("serve")) as manager:
        await load_on(manager)
        parking, unloading = asyncio.create_task(manager.park("a")), asyncio.create_task(manager.unload("a"))
        outcomes = await asyncio.gather(parking, unloading, return_exceptions=True)
        assert isinstance(outcomes[0], EngineDied)
        assert outcomes[1] is None
        assert (held(manager), children()) == ([], [])


async def test_closing_ends_a_move_that_runs(tmp_path: Path) -> None:
    async with managing(scripted_starter(f"move-gate {tmp_path / 'never'}\nserve")) as manager:
        await load_on(manager)
        parking = asyncio.create_task(manager.park("a"))
        await eventually(lambda: status_of(manager) is S.PARKING)
        await manager.close()
        with pytest.raises(EngineDied):
            await parking
        assert children() == []


async def test_a_parked_model_does_not_go_where_a_gpu_is_short_of_memory() -> None:
    script = "ready\nwait load\nfailed memory no room"
    async with managing(scripted_starter("serve", script)) as manager:
        await load_on(manager)
        await manager.park("a")
        with pytest.raises(NotEnoughMemory):
            await load_on(manager, name="b")
        assert held(manager) == ["a"]
        resident = manager.residents.find("a")
        assert resident is not None
        assert resident.status is S.PARKED
