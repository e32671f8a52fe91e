"""Bars and sparklines: their width never changes, and what was drawn moves on without changing its shape."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeck.backend.memory import DeviceMemory, MemoryReading
from modeldeck.tui.bars import bar, sparkline
from modeldeck.tui.memory_history import LENGTH, MemoryHistory, Trace

SHARES = st.floats(-1, 2)


def trace(*values: float | None) -> Trace:
    made = Trace()
    for value in values:
        made.append(value)
    return made


@given(SHARES, st.integers(0, 200))
def test_a_bar_has_its_width_whatever_the_share(share: float, cells: int) -> None:
    assert len("".join(bar(share, cells))) == cells


@given(st.lists(st.none() | SHARES, max_size=300), st.integers(1, 200))
def test_a_sparkline_has_one_width_from_the_first_reading_on(values: list[float | None], cells: int) -> None:
    drawn = sparkline(trace(*values), cells)
    assert len(drawn) == len(sparkline(Trace(), cells)) <= min(cells, LENGTH)


@given(st.lists(SHARES, min_size=LENGTH, max_size=LENGTH + 7), SHARES, st.integers(1, 200))
def test_another_reading_moves_the_line_or_its_last_cell_alone(values: list[float], new: float, cells: int) -> None:
    past = trace(*values)
    before = sparkline(past, cells)
    past.append(new)
    after = sparkline(past, cells)
    assert after[1:-1] in (before[1:-1], before[2:])


def test_the_heights_are_those_of_the_readings() -> None:
    assert sparkline(trace(0.0, 0.5, 1.0, None, 0.99), 5, 5) == "▁▅█ █"
    assert sparkline(trace(*[0.0, 1.0] * 60), 60) == "█" * 60  # of a group, the highest
    assert sparkline(trace(0.5), 0) == ""


def reading(*names: str, busy: int | None = 50) -> MemoryReading:
    made = tuple(DeviceMemory(name=name, label="H100", used_bytes=1, total_bytes=4, utilization=busy) for name in names)
    return MemoryReading(devices=made, ram=DeviceMemory(name="ram", label="RAM", used_bytes=1, total_bytes=2))


def test_a_device_that_is_gone_for_a_while_has_a_gap() -> None:
    history = MemoryHistory()
    for names in (["cuda:0", "cuda:1"], ["cuda:1"], ["cuda:0", "cuda:1"]):
        history.add(reading(*names))
    assert list(history.used("cuda:0").values) == [0.25, None, 0.25]
    assert list(history.busy("cuda:1").values) == [0.5, 0.5, 0.5]
    assert history.busy("ram").is_empty


@pytest.mark.parametrize("count", [1, LENGTH, 10 * LENGTH])
def test_only_the_last_two_minutes_are_kept(count: int) -> None:
    history = MemoryHistory()
    for _ in range(count):
        history.add(reading("cuda:0"))
    assert len(history.used("cuda:0").values) == min(count, LENGTH)
    assert history.used("cuda:0").total == count
