"""What the devices pane says, line by line."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeck.backend.memory import DeviceMemory, DeviceProcess, MemoryReading, UnreadableDevice
from modeldeck.tui.device_lines import device_lines
from modeldeck.tui.memory_history import MemoryHistory

GB = 10**9
OTHER = DeviceProcess(pid=4312, user="uid 1004", name="python3", used_bytes=17_900_000_000)
OURS = DeviceProcess(pid=9, user="ana", name="python3", used_bytes=None, ours=True)
GPU = DeviceMemory(
    name="cuda:0",
    label="H100 80 GB",
    used_bytes=36 * GB,
    total_bytes=80 * GB,
    utilization=97,
    temperature=62,
    power_watts=411.6,
    power_limit_watts=700.0,
    processes=(OTHER, OURS),
)
RAM = DeviceMemory(name="ram", label="RAM", used_bytes=4 * GB, total_bytes=24 * GB)
SWAP = DeviceMemory(name="swap", label="Swap", used_bytes=1 * GB, total_bytes=8 * GB)


def lines(reading: MemoryReading, width: int = 76) -> list[str]:
    history = MemoryHistory()
    history.add(reading)
    return [line.plain for line in device_lines(reading, history, width)]


def test_a_gpu_is_told_whole() -> None:
    title, memory, busy, used, header, other, ours, *_ = lines(MemoryReading(devices=(GPU,), ram=RAM))
    assert title.startswith("cuda:0  H100 80 GB ")
    assert title.endswith(" 62°C · 412 of 700 W ·  97% busy")
    assert memory.startswith("▇▇▇▇")
    assert memory.endswith("▁▁  36.0 of 80.0 GB   45%")
    assert (busy[:4], busy[-1], used[:6], used[-1]) == ("busy", "█", "memory", "▄")
    assert header.split() == ["pid", "user", "program", "memory"]
    assert other.split() == ["4312", "uid", "1004", "python3", "17.9", "GB"]
    assert ours.split() == ["9", "ana", "this", "modeldeck", "(python3)", "not", "told"]


def test_what_a_gpu_does_not_say_is_left_out() -> None:
    silent = DeviceMemory(name="cuda:0", label="A100", used_bytes=0, total_bytes=0)
    found = lines(MemoryReading(devices=(silent,), ram=RAM))
    assert found[0] == "cuda:0  A100" + " " * 64
    assert not [line for line in found if "busy" in line or "pid" in line or "None" in line]


def test_ram_and_swap_tell_the_engines_share() -> None:
    reading = MemoryReading(devices=(), ram=RAM, swap=SWAP, engine_bytes=2 * GB, engine_swap_bytes=500_000_000)
    found = "\n".join(lines(reading))
    assert "RAM" in found
    assert "the engine has 2.0 GB" in found
    assert "4.0 of 24.0 GB   16%" in found
    assert "the engine has 0.5 GB" in found
    assert "1.0 of 8.0 GB   12%" in found


def test_f27_why_there_is_no_gpu_figure_is_one_sentence() -> None:
    told = MemoryReading(devices=(), ram=RAM, problem="NVML: driver mismatch (18)")
    assert lines(told)[0] == "GPU: n/a, NVML: driver mismatch (18). It is tried again every 30 s."
    assert lines(MemoryReading(devices=(), ram=RAM, no_devices="There is none."))[0] == "There is none."


def test_f27_a_lost_gpu_stands_beside_those_that_answer() -> None:
    lost = (UnreadableDevice("cuda:1", "GPU is lost (15)"),)
    found = lines(MemoryReading(devices=(GPU,), ram=RAM, unreadable=lost, problem="cuda:1: GPU is lost (15)"))
    assert "cuda:1  does not answer: GPU is lost (15). It is asked again until it does." in found
    assert not [line for line in found if "n/a" in line]


def test_a_gpu_that_shares_the_ram_says_so() -> None:
    shared = msgspec.structs.replace(GPU, label="GB10", shares_ram=True)
    assert lines(MemoryReading(devices=(shared,), ram=RAM))[0].startswith("cuda:0  GB10, shares the RAM")


@given(st.integers(40, 200), st.text(max_size=80), st.text(max_size=40), st.integers(0, 2**64))
def test_no_line_is_wider_than_the_pane(width: int, label: str, name: str, used: int) -> None:
    process = DeviceProcess(pid=2**22, user=name, name=label, used_bytes=used, ours=True)
    gpu = msgspec.structs.replace(GPU, label=label, used_bytes=used, processes=(process,))
    reading = MemoryReading(devices=(gpu,), ram=RAM, swap=SWAP, engine_bytes=GB)
    assert all(line.cell_length <= width for line in device_lines(reading, MemoryHistory(), width))


@pytest.mark.parametrize("width", [1, 5, 20, 30])
def test_a_pane_without_room_does_no_harm(width: int) -> None:
    assert lines(MemoryReading(devices=(GPU,), ram=RAM, swap=SWAP), width)
