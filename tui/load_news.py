"""What becomes of loads and unloads, told once each, also where nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import structs

from modeldeck.backend.errors import NotEnoughMemory
from modeldeck.backend.estimate.figures import DEFAULT_CONTEXT
from modeldeck.backend.manager_state import Reason
from modeldeck.backend.models import LoadedModel, ModelInfo, ModelStatus
from modeldeck.backend.text import clean_name
from modeldeck.tui.fitting import Fitting
from modeldeck.tui.format import minutes
from modeldeck.tui.freed_words import freed_words, missing_sentence
from modeldeck.tui.messages import EngineChanged
from modeldeck.tui.template_watch import TemplateWatch

if TYPE_CHECKING:
    from textual.notifications import SeverityLevel
    from textual.screen import Screen

    from modeldeck.backend.manager_state import Failure, Unloaded
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
        self._templates = TemplateWatch(services)
        self._loaded_told: LoadedModel | None = None
        self._failure_told: Failure | None = None
        self.advice = ""
        """What is known beside the error about the last failure: the figures, and what to press; often empty."""

    def tell(self) -> None:
        """Say what is new; call it whenever the manager has changed."""
        self._tell_failure()
        loaded = self._manager.loaded
        if loaded is not None and loaded != self._loaded_told:
            self._screen.run_worker(self._tell_template(loaded), group="template", exit_on_error=False)
        self._loaded_told = loaded

    def tell_unloaded(self, gone: Unloaded) -> None:
        """What came back is for the log; what did not, and what nobody asked for, is worth a word more."""
        name = clean_name(self._name_of(gone.request.model_id))
        self._log.append(f"Unloaded {name}{': ' if gone.freed else ''}{freed_words(gone.freed)}.")
        if gone.reason is Reason.ASKED and len(self._manager.residents):  # else the status line says it
            self._notify(f"{name} is unloaded: {freed_words(gone.freed) or 'its memory is back'}.", "information")
        elif gone.reason is Reason.IDLE:
            idle = minutes(gone.request.idle_minutes)
            self._notify(f"{name} was unloaded: no reply for {idle} min.", "information")
        elif gone.reason is Reason.SHORT:
            self._notify(f"Memory ran out, so {name} was unloaded; the load is tried once more.", "warning")
        if missing := missing_sentence(gone.freed):
            self._log.append(missing)
            self._notify(missing, "warning")

    async def _tell_template(self, loaded: LoadedModel) -> None:
        name = self._name_of(loaded.model_id)
        if news := await self._templates.news(loaded, self._find(loaded.model_id), name):
            self._log.append(news)
            self._notify(news, "warning")

    def _notify(self, said: str, severity: SeverityLevel) -> None:
        self._screen.notify(said, severity=severity, timeout=12, markup=False)

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
        front = self._manager.front
        if front is not None and front.request != failure.request:  # else the status line says it
            before = f", and {clean_name(self._name_of(front.model_id))}"
            what = before if front.model_id != failure.request.model_id else " with these options and"
            becomes = "is loaded again" if front.status is ModelStatus.LOADING else "stays loaded"
            self._notify(f"{name} failed{what} {becomes}. {clean_name(str(error), 300)} e shows why.", "error")
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
