"""What a model, as it is loaded, cannot do of what the generation settings ask, and why; without torch.

The engine holds to the same rules (``leave_out``), with what it knows better: the model's own class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec import UNSET, structs

from modeldeck.backend.model_shape import ModelShape
from modeldeck.backend.quantizers import HQQ, QUANTO
from modeldeck.config.generation import GenerationSettings

_STATES = frozenset(
    {"linear_attention", "conv", "hybrid", "heavily_compressed_attention", "compressed_sparse_attention"}
)
"""Kinds of layers that keep more than keys and values, in transformers' words."""
_OFFLOADED = frozenset({"offloaded", "offloaded_static"})
_STATE = "does not work with this kind of model (it keeps a running state)"
_WITH_BEAMS = "does not go together with Beams"
CACHES = ("dynamic", "static", "offloaded", "offloaded_static", "quantized")


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a model can be asked for; nothing known means everything."""

    rewinds: bool = True
    """Whether tokens can be taken back out of its memory; a state-space model cannot do that."""
    on_gpu: bool = True
    """Whether it runs on CUDA, where alone transformers offloads a cache."""
    quantizes: bool = True
    """Whether its cache can be quantized: full attention in all layers, and a package that does it."""

    @property
    def caches(self) -> tuple[str, ...]:
        """The implementations of the cache that work."""
        if not self.rewinds:
            return ("dynamic",)
        return tuple(cache for cache in CACHES if not self._why_no_cache(cache))

    @property
    def missing(self) -> frozenset[str]:
        """The settings that have no effect whatever they are."""
        names = set() if self.rewinds else {"prompt_lookup_num_tokens", "guidance_scale"}
        return frozenset(names | ({"cache_implementation"} if len(self.caches) == 1 else set()))

    def leave_out(self, settings: GenerationSettings) -> tuple[GenerationSettings, tuple[str, ...]]:
        """The settings without what cannot be done, and a sentence for each that was taken out."""
        out: dict[str, str] = {}
        lookup = bool(settings.prompt_lookup_num_tokens)
        guided = settings.guidance_scale is not UNSET and settings.guidance_scale > 1
        beams = settings.num_beams is not UNSET and settings.num_beams > 1
        cache = settings.cache_implementation
        if cache is not UNSET and (why := self._why_no_cache(cache)):
            out["cache_implementation"] = f"Cache {cache} {why}"
        elif cache == "quantized" and beams:
            out["cache_implementation"] = f"Cache {cache} {_WITH_BEAMS}"
        if guided and (why := _STATE if not self.rewinds else _WITH_BEAMS if beams else ""):
            out["guidance_scale"] = f"Guidance scale {why}"
        if lookup and (why := self._why_no_lookup(settings, guided)):
            out["prompt_lookup_num_tokens"] = f"Prompt lookup {why}"
        changes: dict[str, Any] = dict.fromkeys(out, UNSET)
        return structs.replace(settings, **changes), tuple(f"{why}, so it is left out" for why in out.values())

    def _why_no_lookup(self, settings: GenerationSettings, guided: bool) -> str:
        if not self.rewinds:
            return _STATE
        if settings.num_beams is not UNSET and settings.num_beams > 1:
            return _WITH_BEAMS
        if guided:
            return "does not go together with Guidance scale"
        if settings.cache_implementation is not UNSET and settings.cache_implementation != "dynamic":
            return f"does not go together with the {settings.cache_implementation} Cache"
        return ""

    def _why_no_cache(self, cache: str) -> str:
        if cache != "dynamic" and not self.rewinds:
            return _STATE
        if cache in _OFFLOADED and not self.on_gpu:
            return "needs the model on a GPU"
        if cache == "quantized" and not self.quantizes:
            return "needs full attention in all layers, and optimum-quanto or hqq"
        return ""


def abilities_of(shape: ModelShape | None, device: str | None) -> Abilities:
    """What a model with this shape can do on this device; looks at the disk for packages.

    ``device`` as ``LoadedModel`` says it; None while it is not loaded.
    """
    kinds = set(shape.layer_types) if shape is not None else set()
    installed = QUANTO.installed or HQQ.installed
    return Abilities(
        rewinds=not kinds & _STATES,
        on_gpu=device is None or "cuda" in device,
        quantizes=installed and kinds <= {"full_attention"},
    )
