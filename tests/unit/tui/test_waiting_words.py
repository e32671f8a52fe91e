"""What a load waits for."""

from __future__ import annotations

from modeldeck.backend.memory_reading import DeviceMemory, DeviceProcess, MemoryReading
from modeldeck.backend.waiting import shortage
from modeldeck.tui.waiting_words import waiting_words

GB = 10**9
RAM = DeviceMemory(name="ram", label="RAM", used_bytes=0, total_bytes=64 * GB)


def process(pid: int, *, ours: bool = False) -> DeviceProcess:
    return DeviceProcess(pid=pid, user="ann\x1b", name="python", used_bytes=pid * GB, ours=ours)


def reading(used: int, *processes: DeviceProcess) -> MemoryReading:
    gpu = DeviceMemory(name="cuda:0", label="GPU", used_bytes=used * GB, total_bytes=80 * GB, processes=processes)
    return MemoryReading(devices=(gpu,), ram=RAM)


def test_it_says_how_much_is_missing_and_who_holds_it() -> None:
    short = shortage(reading(70, process(40), process(9, ours=True), process(20), process(1)), {"cuda:0": 30 * GB})
    assert short is not None
    assert waiting_words(short) == (
        "waiting for 30.0 GB on cuda:0, 10.0 GB free; held by pid 40 (ann\u241b) 40.0 GB, pid 20 (ann\u241b) 20.0 GB "
        "and 1 more"
    )


def test_where_nobody_is_named_nobody_is_and_a_device_that_does_not_answer_has_nothing_free() -> None:
    ram = shortage(reading(0), {"ram": 65 * GB})
    assert ram is not None
    assert waiting_words(ram) == "waiting for 65.0 GB in RAM, 64.0 GB free"
    gone = shortage(None, {"cuda:1": GB})
    assert gone is not None
    assert waiting_words(gone) == "waiting for 1.0 GB on cuda:1, 0.0 GB free"


def test_enough_is_no_shortage() -> None:
    assert shortage(reading(10), {"cuda:0": 70 * GB, "ram": 64 * GB}) is None
    assert shortage(reading(10), {}) is None
