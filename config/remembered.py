"""How each model was loaded last, where that was not as the settings say: one small file, and no harm if it is lost."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Annotated

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
from modeldeck.config.shared_file import locked

MOST = 300
"""Models that are remembered; those that were loaded least recently go first."""
_MAX_BYTES = 4 * 2**20
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
    """Options by the id of the model, kept between runs. A file that cannot be read counts as none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._options: dict[str, LoadOptions] | None = None

    def get(self, model_id: str) -> LoadOptions | None:
        """How this model was loaded last. Reads the small file when it is asked first."""
        if self._options is None:
            self._options = self._read()
        return self._options.get(model_id)

    def put(self, model_id: str, options: LoadOptions | None) -> None:
        """Remember the options, or with None that there are none of its own. Blocking.

        Raises OSError, or UnicodeEncodeError for an id that is no text, when it cannot be written down; it is then
        remembered until the program ends.
        """
        with self._lock:
            self._options = _with(self._options or {}, model_id, options)
            with locked(self._path):
                before = self._read()  # with what another instance has written meanwhile
                self._options = newest = _with(before, model_id, options)
                if list(newest.items()) != list(before.items()):
                    write_atomically(self._path, msgspec.json.format(msgspec.json.encode(newest)).decode() + "\n")

    def _read(self) -> dict[str, LoadOptions]:
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(_MAX_BYTES), type=dict[str, LoadOptions])
        except (OSError, ValueError, RecursionError):
            return {}


def _with(known: dict[str, LoadOptions], model_id: str, options: LoadOptions | None) -> dict[str, LoadOptions]:
    """All of them after this load, the newest last."""
    kept = {each: its for each, its in known.items() if each != model_id}
    if options is not None:
        kept[model_id] = options
    return dict(list(kept.items())[-MOST:])
