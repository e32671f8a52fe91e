"""The question before a load that would end something: what goes for it, as things stand while nobody answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modeldeck.backend.estimate.planning import Room
from modeldeck.backend.models import LoadRequest, ModelInfo
from modeldeck.backend.text import clean_name
from modeldeck.tui.fitting import Fitting

if TYPE_CHECKING:
    from textual.screen import Screen

    from modeldeck.backend.pipeline_manager import PipelineManager
    from modeldeck.tui.screens.confirm import Confirm


class ReplacingQuestion:
    """Asked once for each load; only what the user was told of may go."""

    def __init__(
        self, screen: Screen[Any], manager: PipelineManager, fitting: Fitting, name_of: Callable[[str], str]
    ) -> None:
        self._screen = screen
        self._manager = manager
        self._fitting = fitting
        self._name_of = name_of
        self._worded = Room()
        """The plan that the question says."""
        self._open: tuple[Confirm, ModelInfo, LoadRequest] | None = None

    def ask(self, model: ModelInfo, request: LoadRequest, then: Callable[[Room], None]) -> None:
        """Say what would go; ``then`` gets the plan when that may be."""
        from modeldeck.tui.screens.confirm import Confirm

        def answered(yes: bool | None) -> None:
            room = self._fitting.room(model, request)
            if yes and set(self._worded.unload_ids).issuperset(room.unload_ids):
                then(room)
            elif yes:
                self.ask(model, request, then)  # memory has become shorter since

        question = Confirm("Replace a model", self._words(model, request), f"Load {clean_name(model.name)}")
        self._open = (question, model, request)
        self._screen.app.push_screen(question, answered)

    def keep_true(self) -> None:
        """What was asked about may have ended while nobody answered."""
        if self._open is not None and self._open[0].is_attached:
            question, model, request = self._open
            question.ask(self._words(model, request))

    def _words(self, model: ModelInfo, request: LoadRequest) -> str:
        from modeldeck.tui.fit_words import replacing_words  # nothing is asked before the first frame

        loading = self._manager.request if self._manager.load_running else None
        stops = self._name_of(loading.model_id) if loading is not None else ""
        self._worded = room = self._fitting.room(model, request)
        needs = self._fitting.estimate(model, request, credit=room.credit)
        return replacing_words(model, stops, room, needs, self._name_of)
