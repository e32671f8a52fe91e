"""How each model was loaded last, where that was not as the settings say: one small file, and no harm if it is lost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from modeldeck.config.atomic import write_atomically
from modeldeck.config.settings import (
    AttentionName,
    Device,
    DeviceMapName,
    DtypeName,
    IdleMinutes,
    QuantizationName,
)
from modeldeck.config.shared_file import locked, name_aside

MOST = 300
"""Models that are remembered; those that were loaded least recently go first."""
_MAX_BYTES = 4 * 2**20
_Row = TypeVar("_Row")
ContextLimit = Annotated[int, Meta(ge=1, le=10_000_000)]


class LoadOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of a load. That a model's own code may run is never kept: it is asked for each time."""

    device: Device
    dtype: DtypeName
    quantization: QuantizationName
    attention: AttentionName = "auto"
    idle_minutes: IdleMinutes = 0.0
    double_quantization: bool = True
    compute_dtype: DtypeName = "auto"
    device_map: DeviceMapName = "auto"
    memory_limits: dict[str, Annotated[int, Meta(ge=0)]] = {}  # msgspec copies an empty default
    cpu_offload: bool = True
    context_limit: ContextLimit | None = None
    adapter: str | None = None
    adapter_bytes: Annotated[int, Meta(ge=0)] = 0


class RememberedLoads:
    """Options by the id of the model, kept between runs.

    A row that a newer version wrote is not used, and stays. A file that cannot be read counts as none, and is kept
    aside before another takes its place.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._options: dict[str, LoadOptions] | None = None

    def get(self, model_id: str) -> LoadOptions | None:
        """How this model was loaded last. Reads the small file when it is asked first."""
        if self._options is None:
            self._options = _understood(self._read()[0])
        return self._options.get(model_id)

    def put(self, model_id: str, options: LoadOptions | None) -> None:
        """Remember the options, or with None that there are none of its own. Blocking.

        Raises OSError, or UnicodeEncodeError for an id that is no text, when it cannot be written down; it is then
        remembered until the program ends.
        """
        with self._lock:
            self._options = _with(self._options or {}, model_id, options)
            with locked(self._path):
                before, damaged = self._read()  # with what another instance has written meanwhile
                newest = _with(before, model_id, None if options is None else msgspec.to_builtins(options))
                self._options = _understood(newest)
                if list(newest.items()) != list(before.items()):
                    text = msgspec.json.format(msgspec.json.encode(newest)).decode() + "\n"
                    path = Path(os.path.realpath(self._path))
                    write_atomically(path, text, keep_old_as=name_aside(path) if damaged else None)

    def _read(self) -> tuple[dict[str, Any], bool]:
        """The rows of the file, and whether it is there and holds none."""
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(_MAX_BYTES), type=dict[str, Any]), False
        except (FileNotFoundError, NotADirectoryError):
            return {}, False
        except (OSError, ValueError, RecursionError):
            return {}, True


def _understood(rows: Mapping[str, Any]) -> dict[str, LoadOptions]:
    """Those that this version can use."""
    known = {}
    for model_id, row in rows.items():
        with suppress(ValueError):
            known[model_id] = msgspec.convert(row, LoadOptions)
    return known


def _with(known: Mapping[str, _Row], model_id: str, row: _Row | None) -> dict[str, _Row]:
    """All of them after this load, the newest last."""
    kept = {each: its for each, its in known.items() if each != model_id}
    if row is not None:
        kept[model_id] = row
    return dict(list(kept.items())[-MOST:])
