"""What the user sees of a load: stages, and how far each has come, a few times a second."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from transformers.utils import logging

from modeldeck.backend.models import LoadStage
from modeldeck.backend.protocol import LoadProgress

REPORT_INTERVAL = 0.06
"""Seconds between two reports of one stage."""
_MAX_HEADER = 100 * 2**20
UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What a header that is broken in any way raises."""
_IN_MEMORY = frozenset({LoadStage.READING_WEIGHTS, LoadStage.MOVING})
"""Stages after which the weights need not be read from the disk any more."""
_BEFORE_WEIGHTS = frozenset({LoadStage.READING_CONFIG, LoadStage.READING_TOKENIZER})


class Progress:
    """Reports the stages of one load; a report that comes too soon after the last is left out."""

    def __init__(self, send: Callable[[LoadProgress], None], request_id: int) -> None:
        self._send = send
        self._request_id = request_id
        self._stage = LoadStage.STARTING
        self._total = 0
        self._unit: Literal["", "bytes", "tensors"] = ""
        self._done = 0
        self._reported = 0.0
        self._lock = threading.Lock()  # weights are read by other threads
        self._reading: tuple[int, int] | None = None
        """Bytes that were read and that will be, while weights are read beside everything else."""
        self._was_read = False
        """Whether that is over."""

    def stage(self, stage: LoadStage, total: int = 0, unit: Literal["", "bytes", "tensors"] = "") -> None:
        """Begin a stage whose size is ``total``, or 0 where nobody can know it.

        Weights that are gone through again right after they were read are in memory by then: that is told as moving.
        """
        with self._lock:
            if stage is LoadStage.READING_CONFIG:
                self._was_read = False  # the load begins again
            in_memory = self._stage in _IN_MEMORY or self._reading is not None or self._was_read
            if stage is LoadStage.READING_WEIGHTS and in_memory:
                stage = LoadStage.MOVING
            self._stage, self._total, self._unit, self._done = stage, total, unit, 0
            self._report()

    def advance(self, amount: int) -> None:
        """Count so much more as done; the last report of a stage is never left out."""
        with self._lock:
            self._done = min(self._total, self._done + amount)
            if self._done >= self._total or monotonic() - self._reported >= REPORT_INTERVAL:
                self._report()

    def begin_reading(self, total: int) -> None:
        """So many bytes of weights are read from now on; other stages are told when that has ended."""
        with self._lock:
            self._reading = (0, total)
            self._report()

    def read(self, amount: int) -> None:
        """So many more bytes were read. Called by several threads."""
        with self._lock:
            if self._reading is not None:
                done, total = self._reading
                self._reading = (min(total, done + amount), total)
                if done + amount >= total:
                    self._report()
                    self._reading, self._was_read = None, True  # from here on the other stages take their time
                if done + amount >= total or monotonic() - self._reported >= REPORT_INTERVAL:
                    self._report()

    def end_reading(self) -> None:
        """Everything is read, or nobody needs it any more."""
        with self._lock:
            if self._reading is not None:
                self._reading, self._was_read = None, True
                self._report()

    def _report(self) -> None:
        self._reported = monotonic()
        if self._reading is not None:
            done, total = self._reading
            self._send(LoadProgress(self._request_id, LoadStage.READING_WEIGHTS, done, total, "bytes"))
        elif not (self._was_read and self._stage in _BEFORE_WEIGHTS):  # the stages that are told never go back
            self._send(LoadProgress(self._request_id, self._stage, self._done, self._total, self._unit))


@contextmanager
def weights_reported(progress: Progress, stage: LoadStage, sizes: Mapping[str, int]) -> Iterator[None]:
    """Report every bar that transformers draws over weights as this stage, in bytes where the names are known."""

    def hook(factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args and "weights" in str(kwargs.get("desc", "")):
            return _Bar(args[0], progress, stage, sizes)
        return factory(*args, **kwargs)

    before = logging.set_tqdm_hook(hook)  # public, and used by `transformers serve`
    try:
        yield
    finally:
        logging.set_tqdm_hook(before)


class _Bar:
    """Stands in for the bar over ``(parameter name, mapping)`` pairs; one step is one parameter assigned."""

    def __init__(self, items: Iterable[Any], progress: Progress, stage: LoadStage, sizes: Mapping[str, int]) -> None:
        self._items = list(items)
        self._progress = progress
        self._stage = stage
        self._sizes = sizes

    def __iter__(self) -> Iterator[Any]:
        total = sum(self._sizes.values())
        self._progress.stage(self._stage, total or len(self._items), "bytes" if total else "tensors")
        average = total // max(1, len(self._items)) if total else 1
        for item in self._items:
            yield item
            name = item[0] if isinstance(item, tuple) else ""
            self._progress.advance(self._sizes.get(name, average))
        self._progress.advance(total)  # names that the file spells otherwise were counted by the average


def tensor_sizes(folder: Path) -> dict[str, int]:
    """Bytes of every tensor in the safetensors files of a folder, from their headers; empty where there is none."""
    sizes: dict[str, int] = {}
    for file in sorted(folder.glob("*.safetensors")):
        try:
            places = tensor_places(file)
        except UNREADABLE:
            return {}  # the library will say what is wrong with the file; the bar counts tensors meanwhile
        sizes.update({name: max(0, end - start) for name, (start, end) in places.items()})
    return sizes


def tensor_places(file: Path) -> dict[str, tuple[int, int]]:
    """Where each tensor of a safetensors file begins and ends, in bytes from the file's first.

    Raises one of ``UNREADABLE`` where the header is none.
    """
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > _MAX_HEADER:
            raise ValueError("the header is too long")
        header = json.loads(stream.read(length))
    places = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            places[name] = (8 + length + int(start), 8 + length + int(end))
    return places
