"""The state of the manager: what it is, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from modeldeck.backend.errors import BackendError
from modeldeck.backend.measurements import Measurement
from modeldeck.backend.models import LoadedModel, LoadRequest, ModelStatus
from modeldeck.backend.protocol import LoadProgress
from modeldeck.backend.residents import Resident, Residents
from modeldeck.backend.unloading import Freed, ReadMemory
from modeldeck.backend.waiting import Shortage


@dataclass(frozen=True, slots=True)
class Failure:
    """A load that failed, or a model that was lost."""

    request: LoadRequest
    error: BackendError


class Reason(StrEnum):
    """Why a model was unloaded."""

    ASKED = "asked for"
    ROOM = "made room"
    """For a load that said so before."""
    SHORT = "memory ran out"
    """In the middle of a load, which was then tried once more."""
    IDLE = "idle"
    """Its time-out has passed since its last reply."""


@dataclass(frozen=True, slots=True)
class Unloaded:
    """A model that is gone."""

    request: LoadRequest
    reason: Reason
    freed: tuple[Freed, ...]
    """Empty where nobody could look."""


class ManagerState:
    """What everyone may read of a ``PipelineManager``, which alone changes it."""

    def __init__(self) -> None:
        self.on_change: Callable[[], None] | None = None
        """Called on the loop after a change of status, progress, residents or ``spare_error``; must not raise."""
        self.on_measured: Callable[[Measurement], None] | None = None
        """Called on the loop with what an engine really took, after a load and after each reply; must not raise."""
        self.on_unloaded: Callable[[Unloaded], None] | None = None
        """Called on the loop when a model is gone and its memory was looked for; must not raise."""
        self.read_memory: ReadMemory | None = None
        """How the manager sees that the memory of an engine is back; without it nobody looks. Must not raise."""
        self.residents = Residents()
        """The models that are held; those who read it change nothing."""
        self._loading: Resident | None = None
        self._lost: Resident | None = None
        self._failure: Failure | None = None
        self._freed: tuple[Freed, ...] = ()
        self._progress: LoadProgress | None = None
        self._waiting: Shortage | None = None
        self._copies_written = 0

    @property
    def front(self) -> Resident | None:
        """The model that the status is about: one that loads, else one that goes, else the current, else one lost."""
        if self._loading is not None:
            return self._loading
        leaving = next((one for one in self.residents if one.status is ModelStatus.UNLOADING), None)
        return leaving or self.residents.current or self._lost

    @property
    def status(self) -> ModelStatus:
        """Where the model in front stands."""
        return self.front.status if self.front is not None else ModelStatus.NOT_LOADED

    @property
    def request(self) -> LoadRequest | None:
        """What is being loaded, is loaded, or failed."""
        return self.front.request if self.front is not None else None

    @property
    def error(self) -> BackendError | None:
        """Why the status is FAILED."""
        return self.front.error if self.front is not None else None

    @property
    def loaded(self) -> LoadedModel | None:
        """What replies come from: the current model, parked or not, also while another one is loaded or unloaded."""
        current = self.residents.current
        return current.loaded if current is not None and current.holds else None

    @property
    def generating(self) -> bool:
        """Whether any engine is writing a reply."""
        return any(one.generating for one in self.residents)

    @property
    def failure(self) -> Failure | None:
        """What failed last, until something is loaded or unloaded on purpose; also where a model before is back."""
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
    def waiting(self) -> Shortage | None:
        """What the load waits for, while it has not begun for that reason; its status is LOADING even so."""
        return self._waiting

    @property
    def copies_written(self) -> int:
        """How many prepared copies of GGUF models engines have written since the start; ``on_change`` tells of each."""
        return self._copies_written

    @property
    def model_pids(self) -> tuple[int, ...]:
        """The engines that hold models and the one that is loading."""
        engines = [*self.residents, *([self._loading] if self._loading is not None else [])]
        return tuple(one.pid for one in engines if one.pid is not None)

    @property
    def paths_in_use(self) -> tuple[str, ...]:
        """Of the models that engines hold or load."""
        engines = [*self.residents, *([self._loading] if self._loading is not None else [])]
        paths = [path for one in engines for path in (one.request.path, one.request.adapter)]
        return tuple(path for path in paths if path is not None)

    def _copy_written(self) -> None:
        self._copies_written += 1
        self._changed()

    def _measured(self, measurement: Measurement) -> None:
        if self.on_measured is not None and measurement.peaks:
            self.on_measured(measurement)

    def _fail(self, resident: Resident, error: BackendError) -> None:
        """Keep why a load failed or a model was lost."""
        self._failure = Failure(resident.request, error)
        self._lost = resident if self.residents.current is None else None
        self._changed()

    def _forget_failure(self) -> None:
        self._failure = self._lost = None

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()
