"""The state of the manager: what it is, how it may change, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from modeldeck.backend.errors import BackendError
from modeldeck.backend.measurements import Measurement
from modeldeck.backend.models import TRANSITIONS, LoadedModel, LoadRequest, ModelStatus
from modeldeck.backend.protocol import LoadProgress
from modeldeck.backend.unloading import Freed, ReadMemory


@dataclass(frozen=True, slots=True)
class Failure:
    """A load that failed, or a model that was lost."""

    request: LoadRequest
    error: BackendError


class ManagerState:
    """What everyone may read of a ``PipelineManager``, which alone changes it."""

    def __init__(self) -> None:
        self.on_change: Callable[[], None] | None = None
        """Called on the loop after a change of status, progress, ``generating`` or ``spare_error``; must not raise."""
        self.on_measured: Callable[[Measurement], None] | None = None
        """Called on the loop with what an engine really took, after a load and after each reply; must not raise."""
        self.read_memory: ReadMemory | None = None
        """How the manager sees that the memory of an engine is back; without it nobody looks. Must not raise."""
        self._status = ModelStatus.NOT_LOADED
        self._request: LoadRequest | None = None
        self._loaded: LoadedModel | None = None
        self._error: BackendError | None = None
        self._failure: Failure | None = None
        self._freed: tuple[Freed, ...] = ()
        self._progress: LoadProgress | None = None
        self._copies_written = 0

    @property
    def status(self) -> ModelStatus:
        """Where the manager stands; changes only as ``models.TRANSITIONS`` allows."""
        return self._status

    @property
    def request(self) -> LoadRequest | None:
        """What is being loaded, is loaded, or failed."""
        return self._request

    @property
    def loaded(self) -> LoadedModel | None:
        """What the engine holds, while the status is LOADED."""
        return self._loaded

    @property
    def error(self) -> BackendError | None:
        """Why the status is FAILED."""
        return self._error

    @property
    def failure(self) -> Failure | None:
        """What failed last, until something is loaded or unloaded on purpose; also where the model before is back."""
        return self._failure

    @property
    def freed(self) -> tuple[Freed, ...]:
        """What the last unload gave back; empty once something is loaded, and where nobody could look."""
        return self._freed

    @property
    def progress(self) -> LoadProgress | None:
        """The newest progress, while the status is LOADING."""
        return self._progress

    @property
    def copies_written(self) -> int:
        """How many prepared copies of GGUF models engines have written since the start; ``on_change`` tells of each."""
        return self._copies_written

    def _copy_written(self) -> None:
        self._copies_written += 1
        self._changed()

    def _measured(self, measurement: Measurement) -> None:
        if self.on_measured is not None and measurement.peaks:
            self.on_measured(measurement)

    def _set_status(self, status: ModelStatus, error: BackendError | None = None) -> None:
        if status not in TRANSITIONS[self._status]:
            raise RuntimeError(f"{self._status} cannot become {status}")
        self._status = status
        self._error = error
        if error is not None and self._request is not None:
            self._failure = Failure(self._request, error)
        self._progress = None
        if status is not ModelStatus.LOADED:
            self._loaded = None
        if status is ModelStatus.NOT_LOADED:
            self._request = None
        self._changed()

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()
