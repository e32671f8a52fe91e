"""Puts the status into words for a given width: what matters least goes first when room is short."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.content import Content

from modeldeck.backend.models import ModelStatus
from modeldeck.tui.engine_view import EngineView
from modeldeck.tui.format import gigabytes, percent, seconds, size_of, tokens_per_second, whole
from modeldeck.tui.marks import status_mark

if TYPE_CHECKING:
    from modeldeck.backend.memory import DeviceMemory, MemoryReading
    from modeldeck.backend.protocol import DownloadProgress, LoadProgress

_STYLES = {
    ModelStatus.NOT_LOADED: "$text-muted",
    ModelStatus.LOADING: "bold $text-accent",
    ModelStatus.LOADED: "bold $text-success",
    ModelStatus.UNLOADING: "bold $text-accent",
    ModelStatus.FAILED: "bold $text-error",
}
_WORTH_SAYING = 50_000_000
"""Bytes; what shows as 0.0 GB says nothing."""
_BAR_CELLS = 8
_Pair = tuple[Content, Content]


@dataclass(frozen=True, slots=True)
class StatusFacts:
    """Everything that the line may show."""

    engine: EngineView
    progress: LoadProgress | None = None
    download: DownloadProgress | None = None
    download_name: str = ""
    elapsed: int = 0
    download_elapsed: int = 0
    memory: MemoryReading | None = None
    speed: float | None = None


def status_line(facts: StatusFacts, width: int, *, ascii_only: bool = False) -> Content:
    """The line, at most ``width`` cells. State and model always stay; the rest is left out from the least on."""
    if facts.engine.status is ModelStatus.FAILED and not facts.download_name:
        return _failed_line(facts.engine, width, ascii_only)
    rights = _right_sides(facts, ascii_only)
    separator = " - " if ascii_only else " · "
    lefts = _left_sides(facts, separator, ascii_only)
    loaded = facts.engine.status is ModelStatus.LOADED and not facts.download_name
    preferred = _with_memory(lefts, rights, width, ascii_only) if loaded else []
    for left, right in (*preferred, *_richest_first(lefts, rights)):
        gap = width - left.cell_length - right.cell_length - 2
        if gap >= (2 if right.plain else 0):
            return Content.assemble(" ", left, " " * gap, right, " ")
    return Content.assemble(" ", lefts[-1]).truncate(width, ellipsis=not ascii_only)


def _with_memory(lefts: list[Content], rights: list[Content], width: int, ascii_only: bool) -> list[_Pair]:
    """Pairs that keep memory and speed: words go first, then the end of a long name, but never below half the line."""
    kept = [right for right in rights if "GB" in right.plain]
    if not kept:
        return []
    room = max(width // 2, width - min(right.cell_length for right in kept) - 4)
    return [(left, right) for left in (*lefts, lefts[-1].truncate(room, ellipsis=not ascii_only)) for right in kept]


def _failed_line(engine: EngineView, width: int, ascii_only: bool) -> Content:
    """The sentence takes all the room there is; where the rest of it stands is always said."""
    state = f"{status_mark(engine.status, ascii_only)} {engine.status.value}"
    head = Content.assemble(" ", (state, _STYLES[engine.status]), " ", engine.model_name)
    where = Content("  e shows why ")
    said = Content.assemble(head, " - " if ascii_only else " · ", engine.error)
    room = max(0, width - where.cell_length)
    said = said.truncate(room, ellipsis=not ascii_only)
    return Content.assemble(said, " " * (room - said.cell_length), where).truncate(width)


def _richest_first(lefts: list[Content], rights: list[Content]) -> list[_Pair]:
    """All pairs; the right side shrinks before the left does, but never vanishes before the left is at its least."""
    pairs = [(left, right) for left in lefts for right in rights[:-1]]
    return [*pairs, *((left, rights[-1]) for left in lefts)]


def _left_sides(facts: StatusFacts, separator: str, ascii_only: bool) -> list[Content]:
    """The state and what belongs to it, from the most words to the fewest."""
    if facts.download_name and facts.engine.status not in {ModelStatus.LOADING, ModelStatus.UNLOADING}:
        head, words = _download_words(facts, ascii_only)
    else:
        status = facts.engine.status
        state = Content.styled(f"{status_mark(status, ascii_only)} {status.value}", _STYLES[status])
        head = Content.assemble(state, " ", facts.engine.model_name) if facts.engine.model_name else state
        words = _state_words(facts)
    return [
        Content(separator).join([head, *(Content(word) for word in words[:count])])
        for count in range(len(words), -1, -1)
    ]


def _state_words(facts: StatusFacts) -> list[str]:
    """In the order of their worth: the last ones go first."""
    engine, progress = facts.engine, facts.progress
    match engine.status:
        case ModelStatus.LOADING:
            if progress is None:
                return [seconds(facts.elapsed), "esc cancels"]
            fraction = progress.fraction
            stage = progress.stage.value if fraction is None else f"{progress.stage.value} {percent(fraction)}"
            words = [stage, _clock(facts.elapsed)]
            if progress.unit == "bytes" and progress.total:
                words.append(size_of(progress.done, progress.total))
            elif progress.unit and progress.total:
                words.append(f"{whole(progress.done)} of {whole(progress.total)} {progress.unit}")
            return [*words, "esc cancels"]
        case ModelStatus.LOADED:
            return [word for word in (engine.device, engine.precision) if word]
        case ModelStatus.UNLOADING:
            return [_clock(facts.elapsed)]
        case ModelStatus.FAILED:
            return [engine.error, "e shows why"]
        case ModelStatus.NOT_LOADED:
            return ["enter loads the highlighted model"]


def _download_words(facts: StatusFacts, ascii_only: bool) -> tuple[Content, list[str]]:
    state = Content.styled(f"{'v' if ascii_only else '↓'} DOWNLOADING", "bold $text-accent")
    words = []
    if (progress := facts.download) is not None:
        if progress.total_bytes:
            words.append(percent(progress.done_bytes / progress.total_bytes))
            words.append(size_of(progress.done_bytes, progress.total_bytes))
        if progress.note:
            words.append(progress.note)
    return Content.assemble(state, " ", facts.download_name), [*words, _clock(facts.download_elapsed), "esc cancels"]


def _right_sides(facts: StatusFacts, ascii_only: bool) -> list[Content]:
    """Memory and speed, from the most to nothing at all."""
    speed = tokens_per_second(facts.speed) if facts.speed else ""
    memories = _memory_words(facts.memory, ascii_only) if facts.memory is not None else [""]
    sides = ["   ".join(word for word in (memory, speed) if word) for memory in memories]
    return [Content(side) for side in dict.fromkeys([*sides, speed, ""])]


def _memory_words(memory: MemoryReading, ascii_only: bool) -> list[str]:
    if memory.devices:
        full = "  ".join(_device(device, ascii_only) for device in memory.devices)
        plain = "  ".join(_device(device, None) for device in memory.devices)
        fullest = max(memory.devices, key=lambda device: device.used_bytes)
        return [full, plain, _device(fullest, None)]
    ram = f"RAM {gigabytes(memory.ram.used_bytes)}/{gigabytes(memory.ram.total_bytes)} GB"
    engine = f"engine {gigabytes(memory.engine_bytes)} GB" if memory.engine_bytes >= _WORTH_SAYING else ""
    return [f"{ram}  {engine}", ram] if engine else [ram]


def _device(device: DeviceMemory, ascii_only: bool | None) -> str:
    """``GPU0 ▇▇▇▇▁▁▁▁ 18.4/80.0 GB 34%``; None leaves the bar out."""
    name = device.name.replace("cuda:", "GPU")
    figures = f"{gigabytes(device.used_bytes)}/{gigabytes(device.total_bytes)} GB"
    if ascii_only is None:
        return f"{name} {figures}"
    used = round(_BAR_CELLS * device.used_bytes / device.total_bytes) if device.total_bytes else 0
    full, rest = ("#", ".") if ascii_only else ("▇", "▁")
    busy = f" {device.utilization}%" if device.utilization is not None else ""
    return f"{name} {full * used}{rest * (_BAR_CELLS - used)} {figures}{busy}"


def _clock(elapsed: int) -> str:
    return f"{elapsed} s" if elapsed < 60 else seconds(elapsed)
