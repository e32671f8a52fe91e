"""What an unload gave back is what the devices say, not what is hoped for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from modeldeck.backend.memory_reading import DeviceMemory, DeviceProcess, EngineMemory, MemoryReading
from modeldeck.backend.models import LoadedModel
from modeldeck.backend.unloading import Freed, Unloading
from tests.fakes.in_process import LOADED

GB = 10**9
ON_GPU = replace(LOADED, device="cuda:0")


def process(pid: int, gigabytes: float, *, ours: bool = False) -> DeviceProcess:
    return DeviceProcess(pid=pid, user="me", name="python", used_bytes=int(gigabytes * GB), ours=ours)


def reading(used: float, *processes: DeviceProcess, engine: float = 0) -> MemoryReading:
    gpu = DeviceMemory(
        name="cuda:0", label="GPU", used_bytes=int(used * GB), total_bytes=80 * GB, processes=tuple(processes)
    )
    ram = DeviceMemory(name="ram", label="RAM", used_bytes=30 * GB, total_bytes=128 * GB)
    engines = (EngineMemory(1, int(engine * GB)),) if engine else ()
    return MemoryReading(devices=(gpu,), ram=ram, engines=engines)


async def unload(
    *readings: MemoryReading | None, loaded: LoadedModel = ON_GPU, seconds: float = 5
) -> tuple[Freed, ...]:
    following: Iterator[MemoryReading | None] = iter(readings)
    last: list[MemoryReading | None] = []

    async def read() -> MemoryReading | None:
        last[:] = [next(following, *last)]
        return last[0]

    unloading = await Unloading.begin(read, 1, loaded)
    return await unloading.finish(seconds) if unloading is not None else ()


OURS, OTHER = process(1, 14.2, ours=True), process(2, 20)
STILL_THERE = process(1, 14.2)
"""Ours, after the manager has let it go."""


async def test_f10_it_waits_until_the_driver_has_given_the_memory_back() -> None:
    there, gone = reading(34.7, STILL_THERE, OTHER), reading(20.5, OTHER)
    freed = await unload(reading(34.7, OURS, OTHER, engine=2), there, reading(34.7, OTHER), gone)
    assert [(one.device, one.held_bytes, one.freed_bytes, one.complete) for one in freed] == [
        ("cuda:0", 14_200_000_000, 14_200_000_000, True)
    ]


async def test_f10_what_does_not_come_back_is_told_with_who_holds_it() -> None:
    (freed,) = await unload(reading(34.7, OURS, OTHER), reading(32.7, process(1, 12.2), OTHER), seconds=0)
    assert not freed.complete
    assert freed.freed_bytes == pytest.approx(2.0 * GB)
    assert [holder.pid for holder in freed.holders] == [1, 2]


@pytest.mark.parametrize(("after", "freed"), [(21.5, 13.2), (20.5, 14.2), (19.0, 14.2)])
async def test_a_rest_that_stays_is_missing_and_more_than_was_held_is_never_freed(after: float, freed: float) -> None:
    (found,) = await unload(reading(34.7, OURS, OTHER), reading(after, OTHER), seconds=0)
    assert found.freed_bytes == pytest.approx(freed * GB)


async def test_others_that_grow_meanwhile_are_no_fault_of_the_unload() -> None:
    (found,) = await unload(reading(34.7, OURS, OTHER), reading(40.5, process(2, 40)))
    assert found.complete


async def test_where_the_driver_does_not_name_the_engine_nothing_is_waited_for_and_nothing_claimed() -> None:
    """As in a container: the process has another number there."""
    peaked = replace(ON_GPU, peaks={"cuda:0": 14 * GB})
    assert await unload(reading(14.5, process(4711, 14.5)), reading(14.5), loaded=peaked) == ()


async def test_on_the_cpu_it_is_the_ram_of_the_process() -> None:
    before = replace(reading(0, engine=1.5), devices=())
    assert await unload(before, before, loaded=LOADED) == (
        Freed(device="ram", held_bytes=1_500_000_000, freed_bytes=1_500_000_000),
    )


async def test_f10_a_memory_that_does_not_answer_holds_nothing_up() -> None:
    assert await unload(None) == ()
    assert await unload(reading(34.7, OURS), None) == ()
