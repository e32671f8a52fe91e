"""Puts the status into words for a given width: what matters least goes first when room is short.

``ascii = true`` needs nothing here: AsciiFilter redraws the marks and the bars.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from textual.content import Content

from modeldeck.backend.models import ModelStatus
from modeldeck.tui.bars import bar, sparkline
from modeldeck.tui.engine_view import EngineView
from modeldeck.tui.format import gigabytes, percent, seconds, size, size_of, tokens_per_second, whole
from modeldeck.tui.marks import status_mark
from modeldeck.tui.memory_history import MemoryHistory

if TYPE_CHECKING:
    from modeldeck.backend.download_messages import DownloadProgress
    from modeldeck.backend.memory import DeviceMemory, MemoryReading
    from modeldeck.backend.protocol import LoadProgress

_STYLES = {
    ModelStatus.NOT_LOADED: "$text-muted",
    ModelStatus.LOADING: "bold $text-accent",
    ModelStatus.LOADED: "bold $text-success",
    ModelStatus.PARKING: "bold $text-accent",
    ModelStatus.PARKED: "$text-muted",
    ModelStatus.WAKING: "bold $text-accent",
    ModelStatus.UNLOADING: "bold $text-accent",
    ModelStatus.FAILED: "bold $text-error",
}
_WORTH_SAYING = 50_000_000
"""Bytes; what shows as 0.0 GB says nothing."""
_BAR_CELLS = 8
_WORTH_WORRYING = 10
"""Seconds; a load that moves tells of it several times in a second."""
_TREND_SECONDS = 10
_SEPARATOR = " · "
_Pair = tuple[Content, Content]


class _Word(NamedTuple):
    """A piece of the line."""

    text: str
    rank: int
    """By its worth, from 0; the last ones go first."""


@dataclass(frozen=True, slots=True)
class StatusFacts:
    """Everything that the line may show."""

    engine: EngineView
    progress: LoadProgress | None = None
    rate: float | None = None
    """Bytes per second of the weights that are gone through."""
    seconds_left: int | None = None
    """Of the load; an estimate."""
    download: DownloadProgress | None = None
    download_name: str = ""
    elapsed: int = 0
    idle: int = 0
    """Seconds in which the load has made no progress; small ones are nothing to speak of."""
    download_elapsed: int = 0
    memory: MemoryReading | None = None
    history: MemoryHistory | None = None
    """Of the memory; only wide windows have room for it."""
    speed: float | None = None


def status_line(facts: StatusFacts, width: int) -> Content:
    """The line, at most ``width`` cells. State and model always stay; the rest is left out from the least on."""
    if facts.engine.status is ModelStatus.FAILED and not facts.download_name:
        return _failed_line(facts.engine, width)
    rights = _right_sides(facts)
    lefts = _left_sides(facts)
    status, preferred = facts.engine.status, []
    if status is ModelStatus.LOADED and not facts.download_name:
        preferred = _with_memory(lefts, rights, width)
    elif status is ModelStatus.LOADING:  # the line is its progress, and memory has what room that leaves
        preferred = [(left, right) for left in lefts for right in rights]
    for left, right in (*preferred, *_richest_first(lefts, rights)):
        gap = width - left.cell_length - right.cell_length - 2
        if gap >= (2 if right.plain else 0):
            return Content.assemble(" ", left, " " * gap, right, " ")
    return Content.assemble(" ", lefts[-1]).truncate(width, ellipsis=True)


def _with_memory(lefts: list[Content], rights: list[Content], width: int) -> list[_Pair]:
    """Pairs that keep memory and speed: words go first, then the end of a long name, but never below half the line."""
    kept = [right for right in rights if "GB" in right.plain]
    if not kept:
        return []
    room = max(width // 2, width - min(right.cell_length for right in kept) - 4)
    return [(left, right) for left in (*lefts, lefts[-1].truncate(room, ellipsis=True)) for right in kept]


def _failed_line(engine: EngineView, width: int) -> Content:
    """The sentence takes all the room there is; where the rest of it stands is always said."""
    state = f"{status_mark(engine.status, ascii_only=False)} {engine.status.value}"
    head = Content.assemble(" ", (state, _STYLES[engine.status]), " ", engine.model_name)
    where = Content("  e shows why ")
    said = Content.assemble(head, _SEPARATOR, engine.error)
    room = max(0, width - where.cell_length)
    said = said.truncate(room, ellipsis=True)
    return Content.assemble(said, " " * (room - said.cell_length), where).truncate(width)


def _richest_first(lefts: list[Content], rights: list[Content]) -> list[_Pair]:
    """All pairs; the right side shrinks before the left does, but never vanishes before the left is at its least."""
    pairs = [(left, right) for left in lefts for right in rights[:-1]]
    return [*pairs, *((left, rights[-1]) for left in lefts)]


def _left_sides(facts: StatusFacts) -> list[Content]:
    """The state and what belongs to it, from the most words to the fewest."""
    if facts.download_name and facts.engine.status not in {ModelStatus.LOADING, ModelStatus.UNLOADING}:
        head, words = _download_words(facts)
    else:
        status = facts.engine.status
        state = Content.styled(f"{status_mark(status, ascii_only=False)} {status.value}", _STYLES[status])
        head = Content.assemble(state, " ", facts.engine.model_name) if facts.engine.model_name else state
        words = _state_words(facts)
    return [Content(_SEPARATOR).join([head, *map(Content, some)]) for some in _fewer_and_fewer(words)]


def _fewer_and_fewer(words: list[_Word]) -> Iterator[list[str]]:
    """All of them, then without the one that is worth least, and so on to none; they keep their order."""
    by_worth = sorted(words, key=lambda word: word.rank)
    for count in range(len(words), -1, -1):
        kept = by_worth[:count]
        yield [word.text for word in words if word in kept]


def _in_order(texts: Iterable[str]) -> list[_Word]:
    """The last ones go first."""
    return [_Word(text, rank) for rank, text in enumerate(texts)]


def _state_words(facts: StatusFacts) -> list[_Word]:
    engine = facts.engine
    match engine.status:
        case ModelStatus.LOADING if engine.waiting:
            return _in_order([engine.waiting, _clock(facts.elapsed), "esc cancels"])
        case ModelStatus.LOADING:
            return _loading_words(facts)
        case ModelStatus.LOADED:
            held = f"also {engine.others}" if engine.others else ""
            return _in_order(word for word in (engine.device, engine.precision, "pinned" * engine.pinned, held) if word)
        case ModelStatus.PARKED:
            return _in_order(word for word in (engine.parked, "z wakes it", engine.way_back) if word)
        case ModelStatus.PARKING | ModelStatus.WAKING | ModelStatus.UNLOADING:
            return _in_order([_clock(facts.elapsed)])
        case ModelStatus.FAILED:
            still = [f"{engine.others} still held"] if engine.others else []
            return _in_order([engine.error, "e shows why", *still])
        case ModelStatus.NOT_LOADED:
            return _in_order([*([engine.freed] if engine.freed else []), "enter loads the highlighted model"])


def _loading_words(facts: StatusFacts) -> list[_Word]:
    """Stage, figures, times, key. How long it will take is worth more than how long it has taken."""
    progress, known = facts.progress, facts.seconds_left is not None
    words = [_Word(f"{_clock(facts.elapsed)} so far", 6 if known else 1)]
    if facts.idle >= _WORTH_WORRYING:
        words.append(_Word(f"no progress for {facts.idle} s", 0))
    elif facts.seconds_left is not None:
        words.append(_Word(f"about {_rounded(facts.seconds_left)} left", 2))
    words.append(_Word("esc cancels", 3))
    if progress is None:
        return words
    fraction = progress.fraction
    stage = progress.stage.value if fraction is None else f"{progress.stage.value} {percent(fraction)}"
    figures = [_Word(stage, 0)]
    if progress.unit == "bytes" and progress.total:
        figures.append(_Word(size_of(progress.done, progress.total), 4))
    elif progress.unit and progress.total:
        figures.append(_Word(f"{whole(progress.done)} of {whole(progress.total)} {progress.unit}", 4))
    if facts.rate is not None and progress.unit == "bytes" and progress.done < progress.total:
        figures.append(_Word(f"{size(facts.rate)}/s", 5))
    return [*figures, *words]


def _download_words(facts: StatusFacts) -> tuple[Content, list[_Word]]:
    state = Content.styled("↓ DOWNLOADING", "bold $text-accent")
    words = []
    if (progress := facts.download) is not None:
        if progress.total_bytes:
            words.append(percent(progress.done_bytes / progress.total_bytes))
            words.append(size_of(progress.done_bytes, progress.total_bytes))
        if progress.note:
            words.append(progress.note)
    words += [_clock(facts.download_elapsed), "esc cancels"]
    return Content.assemble(state, " ", facts.download_name), _in_order(words)


def _right_sides(facts: StatusFacts) -> list[Content]:
    """Memory and speed, from the most to nothing at all."""
    speed = tokens_per_second(facts.speed) if facts.speed else ""
    memories = _memory_words(facts.memory, facts.history) if facts.memory is not None else [""]
    sides = ["   ".join(word for word in (memory, speed) if word) for memory in memories]
    return [Content(side) for side in dict.fromkeys([*sides, speed, ""])]


def _memory_words(memory: MemoryReading, history: MemoryHistory | None) -> list[str]:
    if memory.devices:
        trends = "  ".join(f"{_device(device)}{_trend(device, history)}" for device in memory.devices)
        bars = "  ".join(_device(device) for device in memory.devices)
        figures = "  ".join(_figures(device) for device in memory.devices)
        fullest = max(memory.devices, key=lambda device: device.used_bytes)
        return list(dict.fromkeys([trends, bars, figures, _figures(fullest)]))
    ram = f"RAM {gigabytes(memory.ram.used_bytes)}/{gigabytes(memory.ram.total_bytes)} GB"
    engine = f"engine {gigabytes(memory.engine_bytes)} GB" if memory.engine_bytes >= _WORTH_SAYING else ""
    return [f"{ram}  {engine}", ram] if engine else [ram]


def _device(device: DeviceMemory) -> str:
    """``GPU0 ▇▇▇▇▁▁▁▁ 18.4/80.0 GB 34%``."""
    busy = f" {device.utilization}%" if device.utilization is not None else ""
    return _figures(device, f"{''.join(bar(device.used_share, _BAR_CELLS))} ") + busy


def _figures(device: DeviceMemory, drawn: str = "") -> str:
    name = device.name.replace("cuda:", "GPU")
    return f"{name} {drawn}{gigabytes(device.used_bytes)}/{gigabytes(device.total_bytes)} GB"


def _trend(device: DeviceMemory, history: MemoryHistory | None) -> str:
    """How busy it was in the last seconds; the room is kept from the start, so that nothing moves."""
    if history is None or device.utilization is None:
        return ""
    return f" {sparkline(history.busy(device.name), _TREND_SECONDS, _TREND_SECONDS)}"


def _clock(elapsed: int) -> str:
    return f"{elapsed} s" if elapsed < 60 else seconds(elapsed)


def _rounded(left: int) -> str:
    """An estimate with no more digits than it deserves: ``31 s``, ``2 min 05 s``, ``14 min``."""
    if left < 60:
        return f"{left} s"
    return seconds(5 * round(left / 5)) if left < 600 else seconds(60 * round(left / 60)).removesuffix(" 00 s")
