"""What becomes of loads and unloads, told once each, also where nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import structs

from modeldeck.backend.errors import NotEnoughMemory
from modeldeck.backend.estimate.figures import DEFAULT_CONTEXT
from modeldeck.backend.models import ModelInfo, ModelStatus
from modeldeck.backend.text import clean_name
from modeldeck.tui.fitting import Fitting
from modeldeck.tui.freed_words import freed_words, missing_sentence
from modeldeck.tui.messages import EngineChanged

if TYPE_CHECKING:
    from textual.screen import Screen

    from modeldeck.backend.manager_state import Failure
    from modeldeck.backend.unloading import Freed
    from modeldeck.tui.services import Services


class LoadNews:
    """Writes into the log and shows toasts; ``find`` gives the model to an id, ``name_of`` what people call it."""

    def __init__(
        self,
        screen: Screen[Any],
        services: Services,
        find: Callable[[str], ModelInfo | None],
        name_of: Callable[[str], str],
        fitting: Fitting,
    ) -> None:
        self._screen = screen
        self._manager = services.manager
        self._log = services.log
        self._memory = services.memory
        self._find = find
        self._name_of = name_of
        self._fitting = fitting
        self._freed_told: tuple[Freed, ...] = ()
        self._failure_told: Failure | None = None
        self.advice = ""
        """What is known beside the error about the last failure: the figures, and what to press; often empty."""

    def tell(self) -> None:
        """Say what is new; call it whenever the manager has changed."""
        self._tell_freed()
        self._tell_failure()

    def _tell_freed(self) -> None:
        """What came back is for the log; what did not is worth a word more."""
        freed = self._manager.freed
        if freed and freed is not self._freed_told:
            self._log.append(f"Unloaded: {freed_words(freed)}.")
            if missing := missing_sentence(freed):
                self._log.append(missing)
                self._screen.notify(missing, severity="warning", timeout=12, markup=False)
        self._freed_told = freed

    def _tell_failure(self) -> None:
        """At once, since the model before may take its time to come back."""
        failure = self._manager.failure
        if failure is self._failure_told:
            return
        self._failure_told, self.advice = failure, ""
        if failure is None:
            return
        name, error = clean_name(self._name_of(failure.request.model_id)), failure.error
        self._log.append(f"FAILED {name}: {clean_name(str(error), 2000)}")
        back = self._manager.request
        if back is not None and back != failure.request:  # else the status line says it
            before = f", and {clean_name(self._name_of(back.model_id))}"
            what = before if back.model_id != failure.request.model_id else " with these options and"
            said = f"{name} failed{what} is loaded again. {clean_name(str(error), 300)} e shows why."
            self._screen.notify(said, severity="error", timeout=12, markup=False)
        elif isinstance(error, NotEnoughMemory):
            self._screen.run_worker(self._advise(failure), group="advice", exclusive=True, exit_on_error=False)

    async def _advise(self, failure: Failure) -> None:
        """Look at the memory without the engine that failed, and say what it would take."""
        await self._memory.fresh()
        model = self._find(failure.request.model_id)
        if model is not None and self._manager.failure is failure and self._manager.status is ModelStatus.FAILED:
            self.advice = self._out_of_memory(model, failure)
            self._screen.post_message(EngineChanged())

    def _out_of_memory(self, model: ModelInfo, failure: Failure) -> str:
        from modeldeck.tui.fit_words import out_of_memory_words  # nothing fails before the first frame

        fit = self._fitting.fit(model, failure.request, DEFAULT_CONTEXT)
        if fit is None:
            return ""
        other, instead = fit.suggestion, None
        if other.dtype is not None and other.quantization is not None:
            chosen = structs.replace(failure.request, dtype=other.dtype, quantization=other.quantization)
            instead = self._fitting.estimate(model, chosen)
        return out_of_memory_words(fit, failure.request, instead)
