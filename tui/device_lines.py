"""Puts devices, RAM and swap into lines for a given width."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from modeldeck.tui.bars import bar, sparkline
from modeldeck.tui.device_words import device_figures, process_size
from modeldeck.tui.format import gigabytes, percent
from modeldeck.tui.memory_history import MemoryHistory, Trace

if TYPE_CHECKING:
    from modeldeck.backend.memory import DeviceMemory, DeviceProcess, MemoryReading

_NAME_CELLS = 8
"""Of the words before a sparkline."""
_QUIET = "$foreground 60%"
_NEARLY_FULL = 0.95
_WORTH_SAYING = 50_000_000
"""Bytes; what shows as 0.0 GB says nothing."""
_PID_CELLS, _BYTES_CELLS = 8, 9
_ROOMY = 60
"""Cells from which names of users have all the room that most of them need."""


def device_lines(reading: MemoryReading, history: MemoryHistory, width: int) -> list[Content]:
    """Everything that is known, each device with its history; sentences may be longer than ``width``."""
    lines: list[Content] = []
    for block in _blocks(reading, history, width):
        lines += [Content(""), *block] if lines else block
    return lines


def _blocks(reading: MemoryReading, history: MemoryHistory, width: int) -> Iterator[list[Content]]:
    for device in reading.devices:
        yield [*_device(device, history, width), *_processes(device, width)]
    for unreadable in reading.unreadable:
        sentence = f"does not answer: {unreadable.reason}. It is asked again until it does."
        yield [Content.assemble((unreadable.name, "bold"), "  ", (sentence, "$text-error"))]
    if not reading.devices and not reading.unreadable:
        yield [_why_no_device(reading)]
    yield _device(reading.ram, history, width, _share_of_engine(reading.engine_bytes))
    if reading.swap is not None:
        yield _device(reading.swap, history, width, _share_of_engine(reading.engine_swap_bytes))


def _why_no_device(reading: MemoryReading) -> Content:
    if reading.problem:
        return Content.styled(f"GPU: n/a, {reading.problem}. It is tried again every 30 s.", "$text-error")
    return Content.styled(reading.no_devices, _QUIET)


def _device(device: DeviceMemory, history: MemoryHistory, width: int, engine: str = "") -> list[Content]:
    lines = [_title(device, width, engine), _memory_bar(device, width)]
    if not history.busy(device.name).is_empty:
        lines.append(_trace("busy", history.busy(device.name), width))
    lines.append(_trace("memory" if device.name != "swap" else "swap", history.used(device.name), width))
    return lines


def _title(device: DeviceMemory, width: int, engine: str) -> Content:
    """Name and label on the left; on the right as many figures as there is room for."""
    label = "" if device.label.casefold() == device.name else device.label
    if device.shares_ram:
        label += ", shares the RAM"
    left = Content.assemble((device.label if not label else device.name, "bold"), f"  {label}" if label else "")
    figures = [*device_figures(device), *([engine] if engine else [])]
    for start in range(len(figures) + 1):
        right = " · ".join(figures[start:])
        gap = width - left.cell_length - cell_len(right)
        if gap >= 2:
            return Content.assemble(left, " " * gap, right)
    return left.truncate(width, ellipsis=True)


def _memory_bar(device: DeviceMemory, width: int) -> Content:
    figures = f"{gigabytes(device.used_bytes)} of {gigabytes(device.total_bytes)} GB  {percent(device.used_share):>4}"
    full, rest = bar(device.used_share, max(0, width - len(figures) - 2))
    colour = "$text-warning" if device.used_share >= _NEARLY_FULL else "$text-accent"
    return Content.assemble((full, colour), (rest, "$foreground 30%"), "  ", figures)


def _trace(word: str, trace: Trace, width: int) -> Content:
    drawn = sparkline(trace, width - _NAME_CELLS)
    return Content.assemble((word.ljust(_NAME_CELLS), _QUIET), (drawn, "$text-accent"))


def _share_of_engine(engine_bytes: int) -> str:
    return f"the engine has {gigabytes(engine_bytes)} GB" if engine_bytes >= _WORTH_SAYING else ""


def _processes(device: DeviceMemory, width: int) -> Iterator[Content]:
    if device.processes:
        yield Content.styled(_process_row("pid", "user", "program", "memory", width), _QUIET)
    for process in device.processes:
        yield Content.styled(_words_of(process, width), "bold $text-success" if process.ours else "")


def _words_of(process: DeviceProcess, width: int) -> str:
    name = f"this modeldeck ({process.name})" if process.ours else process.name
    return _process_row(str(process.pid), process.user, name, process_size(process), width)


def _process_row(pid: str, user: str, name: str, used: str, width: int) -> str:
    user_cells = 12 if width >= _ROOMY else 8
    name_cells = max(4, width - _PID_CELLS - user_cells - _BYTES_CELLS - 4)
    return f"{pid:>{_PID_CELLS}}  {_fit(user, user_cells)}  {_fit(name, name_cells)}{used:>{_BYTES_CELLS}}"


def _fit(text: str, cells: int) -> str:
    return set_cell_size(text if cell_len(text) <= cells else f"{set_cell_size(text, cells - 1)}…", cells)
