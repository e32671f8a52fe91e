"""The parts of a load, counted once, before they are dealt out to devices."""

from __future__ import annotations

from msgspec import Struct

from modeldeck.backend.estimate.loading_peak import Extra
from modeldeck.backend.estimate.splitting import Run, Share
from modeldeck.backend.models import LoadRequest, ModelInfo


class Parts(Struct, frozen=True, kw_only=True):
    """Bytes of one load."""

    model: ModelInfo
    request: LoadRequest
    dtype: str
    """That the floating-point weights will have."""
    runs: list[Run]
    """The modules in their order."""
    unpacked: bool
    """Packed weights of the checkpoint are counted as plain ones."""
    weight_total: int
    cache_total: int | None
    """None where the files do not tell."""
    working: int
    extra: Extra
    """Of a load on the CPU."""
    gpu_passing: int
    """Of a load on a GPU."""
    ram_passing: int
    """Of a load on a GPU, in RAM."""
    context_tokens: int

    @property
    def layers(self) -> int:
        """How many layers the network has."""
        return sum(run.count for run in self.runs if run.is_layer)

    def whole_share(self) -> Share:
        """Everything on one device."""
        return Share(self.weight_total, self.layers, has_head=True)
