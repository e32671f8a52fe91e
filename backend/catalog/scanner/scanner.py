"""Scans, tells what is new, then looks for changes; one request at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Lock
from time import monotonic
from typing import assert_never

import msgspec

from modeldeck.backend.catalog.catalog import Catalog, read_model
from modeldeck.backend.catalog.finding import ModelAmbiguous, ModelNotFound
from modeldeck.backend.catalog.index import IndexEntry, Witness, read_index, read_witness, write_index, write_witness
from modeldeck.backend.catalog.messages import (
    FindModel,
    ModelMissing,
    ModelRead,
    ModelsFound,
    Reading,
    ReadModel,
    Scan,
    ScanFinished,
)
from modeldeck.backend.catalog.places import Places, Spot
from modeldeck.backend.catalog.scanner.life import SignOfLife
from modeldeck.backend.catalog.scanner.outbox import MAX_ROW, Outbox
from modeldeck.backend.catalog.scanner.tracked_reader import TrackedReader
from modeldeck.backend.catalog.scanner.watch import Watch
from modeldeck.backend.json_numbers import has_absurd_number
from modeldeck.backend.models import ModelInfo
from modeldeck.backend.protocol import EngineEvent
from modeldeck.backend.text import clean_name, clean_text

CatalogRequest = Scan | FindModel | ReadModel
POLL_SECONDS = 2.0
"""Between two looks for changes; a look and the scan after it leave room to spare of the 5 s that are promised."""
MOST_POLL_SECONDS = 30.0
_SHARE = 20
"""A look takes at most one part in so many of the time; on a slow file system it is rarer instead."""


class Scanner:
    """What the process does with its main thread."""

    def __init__(self, send: Callable[[EngineEvent], None], requests: Queue[CatalogRequest], saving: Lock) -> None:
        self._send = send
        self._requests = requests
        self._saving = saving
        self._life = SignOfLife(self._tell_spot)
        self._outbox = Outbox(lambda rows: send(ModelsFound(self._request_id, rows)))
        self._request_id = 0
        self._scan: Scan | None = None
        self._reader: TrackedReader | None = None
        self._known: dict[str, ModelInfo] | None = None
        """Rows by their keys, from the index and the last scan; None before either."""
        self._told: dict[str, ModelInfo] | None = None
        """What the other side shows, by id; None before the first scan."""
        self._saved: list[tuple[str, str]] = []
        self._entries: dict[str, IndexEntry] = {}
        """Of the index file, where it is of the same places, by the ids of their rows."""
        self._stamp = ""
        """Of the index file, once its witness is there, too."""
        self._vouched_for = False
        """Whether the rows stand as the index has them, and nobody has walked the places yet."""

    def run(self) -> None:
        """Answer requests, and look for changes in between, for ever."""
        self._life.start()
        pause = POLL_SECONDS
        while True:
            try:
                request = self._requests.get(timeout=None if self._scan is None else pause)
            except Empty:
                pause = self._look_for_changes()
            else:
                self._answer(request)
                pause = POLL_SECONDS
            self._life.idle()

    def _answer(self, request: CatalogRequest) -> None:
        self._request_id = request.request_id
        match request:
            case Scan():
                self._scan = request
                self._life.cautious = request.cautious
                self._look(request)
            case FindModel():
                self._life.cautious = request.cautious
                self._find(request)
            case ReadModel():
                self._send(_read(request))
            case _:
                assert_never(request)

    def _look_for_changes(self) -> float:
        """Returns how long to wait until the next look."""
        started = monotonic()
        if self._scan is not None and self._reader is not None and (self._vouched_for or self._reader.changed()):
            self._look(self._scan)
        return min(MOST_POLL_SECONDS, max(POLL_SECONDS, _SHARE * (monotonic() - started)))

    def _look(self, scan: Scan) -> None:
        """One whole scan; tells what differs from what the other side shows."""
        first = self._told is None
        told = self._load(scan.places, scan.index, scan.stamp)
        if first and told and self._stands(scan, told):
            return
        reader = TrackedReader(self._known or {}, scan.skipped, self._life, glance=first and not self._known)
        catalog = _catalog(scan.places, reader)
        seen: dict[str, ModelInfo] = {}
        self._outbox.begin()
        self._glance_over(catalog, told, seen)
        self._read_rest(reader, seen)
        self._outbox.flush()
        looked_in = () if seen else catalog.looked_in()
        gone = tuple(model_id for model_id in told if model_id not in seen)
        with self._saving:
            complete = first and not told
            left_alone = tuple(skip.spot.path for skip in scan.skipped if not skip.spot.is_model)
            self._send(ScanFinished(scan.request_id, gone, complete, looked_in, left_alone))
            self._told, self._reader, self._vouched_for = seen, reader, False
            self._entries = _entries(seen, reader) | self._kept(seen, scan.places.left_alone(left_alone))
            self._known = reader.rows | {entry.key: entry.model for entry in self._entries.values() if entry.key}
            self._save(scan, reader)

    def _stands(self, scan: Scan, told: dict[str, ModelInfo]) -> bool:
        """Whether nothing has changed since the index was written, as its witness says; then that is told at once.

        The places are walked all the same, a moment later: when a model was used last is not in the witness.
        """
        witness = read_witness(Path(os.fsdecode(scan.index)), scan.stamp)
        reader = TrackedReader(self._known or {}, scan.skipped, self._life)
        reader.watch = Watch(witness)
        if not witness or scan.skipped or reader.changed():
            return False
        self._told, self._reader, self._vouched_for = told, reader, True
        self._stamp = scan.stamp
        self._send(ScanFinished(scan.request_id))
        return True

    def _glance_over(self, catalog: Catalog, told: dict[str, ModelInfo], seen: dict[str, ModelInfo]) -> None:
        """Tell every row that is new or changed."""
        for row in catalog.scan():
            before = told.get(row.id)
            if before is not None and before == row:
                seen[row.id] = before
            else:
                seen[row.id], size = _bounded(row)
                self._outbox.add(seen[row.id], size)

    def _read_rest(self, reader: TrackedReader, seen: dict[str, ModelInfo]) -> None:
        """Tell what the headers have to say; a row that the list has another for is none of it."""
        for row in reader.read_rest():
            before = seen.get(row.id)
            if before is not None and before.path == row.path and before != row:
                seen[row.id], size = _bounded(row)
                self._outbox.add(seen[row.id], size)

    def _load(self, places: Places, path: bytes, stamp: str = "") -> dict[str, ModelInfo]:
        """What the other side shows by now; the first time, that is the index if it has the same."""
        if self._told is not None:
            return self._told
        index = read_index(Path(os.fsdecode(path))) if path else None
        entries = list(index.entries()) if index is not None else []
        self._known = {entry.key: entry.model for entry in entries if entry.key}
        if index is None or index.places != places:
            return {}
        self._entries = {entry.model.id: entry for entry in entries}
        if not stamp or index.stamp != stamp:
            return {}
        self._saved = [(entry.key, entry.model.id) for entry in entries]
        return {entry.model.id: entry.model for entry in entries}

    def _kept(self, seen: Mapping[str, ModelInfo], left_alone: Callable[[str], bool]) -> dict[str, IndexEntry]:
        """What the index has of folders that were left alone: they are not read again as soon as those answer."""
        others = {model_id: entry for model_id, entry in self._entries.items() if model_id not in seen}
        return {model_id: entry for model_id, entry in others.items() if left_alone(entry.model.path)}

    def _save(self, scan: Scan, reader: TrackedReader) -> None:
        """Keep the rows for the next start, if they are others than those in the file."""
        entries = list(self._entries.values())
        saved = [(entry.key, entry.model.id) for entry in entries]
        path = Path(os.fsdecode(scan.index))
        unwatched = reader.watch.young or bool(scan.skipped)
        if not scan.index or (saved == self._saved and (self._stamp or unwatched)):
            return
        with suppress(OSError, ValueError):  # a full disk, or names that are not text: the next start reads again
            stamp = write_index(path, scan.places, entries)
            self._saved, self._stamp = saved, ""
            if not unwatched:
                write_witness(path, Witness(stamp, reader.watch.known))
                self._stamp = stamp

    def _find(self, request: FindModel) -> None:
        if self._known is None:
            self._load(request.places, request.index)
        reader = TrackedReader(self._known or {}, request.skipped, self._life)
        try:
            model = _catalog(request.places, reader).find(os.fsdecode(request.text))
        except ModelNotFound as error:
            self._send(ModelMissing(request.request_id, str(error), isinstance(error, ModelAmbiguous)))
        else:
            self._send(ModelRead(request.request_id, _bounded(model)[0]))

    def _tell_spot(self, spot: Spot) -> None:
        self._outbox.flush()
        self._send(Reading(self._request_id, spot))


def _catalog(places: Places, reader: TrackedReader) -> Catalog:
    folders = [Path(os.fsdecode(folder)) for folder in places.folders]
    return Catalog(folders, Path(os.fsdecode(places.hub_cache)), places.starter, reader)


def _entries(rows: Mapping[str, ModelInfo], reader: TrackedReader) -> dict[str, IndexEntry]:
    return {row.id: IndexEntry(reader.keys.get(row.id, ""), row) for row in rows.values()}


def _read(request: ReadModel) -> ModelRead | ModelMissing:
    path = Path(os.fsdecode(request.path))
    shown = clean_name(str(path), 200)
    try:
        path.stat()  # exists() raises for some of what can be wrong, and says False for the rest
    except FileNotFoundError:
        return ModelMissing(request.request_id, f"{shown} is not there.")
    except OSError as error:
        return ModelMissing(request.request_id, f"{shown} cannot be read: {error.strerror or error}.")
    except ValueError as error:  # a NUL character
        return ModelMissing(request.request_id, f"{shown} is no path: {error}.")
    return ModelRead(request.request_id, _bounded(read_model(path, request.source))[0])


def _bounded(row: ModelInfo) -> tuple[ModelInfo, int]:
    """The row, or what is left of it where it could not be sent, and its bytes."""
    try:
        text = msgspec.json.encode(row)
        size = MAX_ROW + 1 if has_absurd_number(text) else len(text)
        problem = "Its header describes more than any model has, so it was given up."
    except UnicodeEncodeError:
        size, problem = MAX_ROW + 1, "Its files hold text that is not valid Unicode."
    if size <= MAX_ROW:
        return row, size
    path = clean_text(row.path)
    left = ModelInfo(
        id=clean_text(row.id), name=clean_name(row.name), path=path, source=row.source, problems=(problem,)
    )
    return left, 4096
