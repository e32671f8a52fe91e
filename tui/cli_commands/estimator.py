"""What loads need against what is free now, for every command that says so."""

from __future__ import annotations

from pathlib import Path

from modeldeck.backend.estimate.estimating import estimate
from modeldeck.backend.estimate.figures import DEFAULT_CONTEXT, Estimate, Suggestion, Verdict
from modeldeck.backend.estimate.placement import first_device
from modeldeck.backend.estimate.suggesting import suggest
from modeldeck.backend.gguf_copies import GgufCopies
from modeldeck.backend.load_defaults import default_request
from modeldeck.backend.measurements import Measurements
from modeldeck.backend.memory import MemoryMonitor
from modeldeck.backend.models import LoadRequest, ModelFormat, ModelInfo
from modeldeck.tui.cli_commands.workspace import Workspace


class Estimator:
    """Reads the memory once, when it is made; nothing is loaded, so nothing could be unloaded first."""

    def __init__(self, workspace: Workspace) -> None:
        self._settings = workspace.settings
        self._memory = MemoryMonitor().read()
        self._measurements = Measurements(workspace.paths.measurements)
        self._copies = GgufCopies(workspace.paths.gguf_copies)

    def verdict(self, model: ModelInfo) -> Verdict | None:
        """Whether a model fits as the settings would load it; None for what cannot be loaded at all."""
        if not model.loadable:
            return None
        return self.estimate(model, default_request(self._settings, model), DEFAULT_CONTEXT).verdict

    def estimate(self, model: ModelInfo, request: LoadRequest, tokens: int) -> Estimate:
        """What this load needs for a conversation of so many tokens."""
        measured = self._measurements.find(request, first_device(request.device, self._memory))
        prepared = self._has_copy(model)
        return estimate(model, request, self._memory, context_tokens=tokens, measured=measured, prepared=prepared)

    def suggest(self, model: ModelInfo, request: LoadRequest, tokens: int) -> Suggestion:
        """What would fit instead."""
        return suggest(model, request, self._memory, context_tokens=tokens, prepared=self._has_copy(model))

    def _has_copy(self, model: ModelInfo) -> bool:
        return model.format is ModelFormat.GGUF and self._copies.find(Path(model.path)) is not None
