"""What the screen shows of the engine, taken from the manager in one go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from modeldeck.backend.models import Attention, LoadedModel, LoadRequest, ModelStatus
from modeldeck.backend.text import clean_name
from modeldeck.tui.format import seconds, size
from modeldeck.tui.freed_words import freed_words
from modeldeck.tui.marks import short_dtype
from modeldeck.tui.waiting_words import waiting_words

if TYPE_CHECKING:
    from modeldeck.backend.pipeline_manager import PipelineManager


@dataclass(frozen=True, slots=True)
class EngineView:
    """The state of the model in front, in words that are safe to draw."""

    status: ModelStatus = ModelStatus.NOT_LOADED
    model_id: str | None = None
    model_name: str = ""
    device: str = ""
    precision: str = ""
    """``bf16``, ``bf16 4bit``; with the attention where that was not left to the library, and the adapter."""
    error: str = ""
    """Why the state is FAILED, as a sentence."""
    waiting: str = ""
    """What a load waits for, while it does."""
    pinned: bool = False
    """Whether it stays until it is unloaded by hand."""
    parked: str = ""
    """What it takes of the RAM while it is parked: ``2.1 GB in RAM``."""
    way_back: str = ""
    """How long the last way back to its GPU took, while it is parked."""
    others: str = ""
    """The other models that are held, with their numbers: ``2 Llama-3-8B, 3 SmolLM2``."""
    freed: str = ""
    """What the last unload gave back, while nothing is loaded."""

    @classmethod
    def of(cls, manager: PipelineManager, name_of: Callable[[str], str], advice: str = "") -> EngineView:
        """What the manager says now; ``name_of`` gives the name to a model's id.

        ``advice`` takes the place of the error's own sentence, where figures say more.
        """
        front = manager.front
        if front is None or front.status is ModelStatus.NOT_LOADED:
            return cls(status=manager.status, freed=freed_words(manager.freed))
        request, loaded = front.request, front.loaded
        parked = front.status is ModelStatus.PARKED
        others = [one for one in manager.residents if one is not front]
        return cls(
            status=manager.status,
            model_id=request.model_id,
            model_name=clean_name(name_of(request.model_id)),
            device=clean_name(loaded.device) if loaded else "",
            precision=_precision(loaded, request) if loaded else "",
            waiting=waiting_words(manager.waiting) if manager.waiting is not None else "",
            pinned=front.pinned,
            parked=f"{size(front.parked.moved_bytes)} in RAM" if parked and front.parked else "",
            way_back=f"back in {seconds(front.woken.seconds)} last time" if parked and front.woken else "",
            others=", ".join(f"{one.number} {clean_name(name_of(one.model_id), 40)}" for one in others),
            error=clean_name(advice or str(manager.error), 500) if manager.error else "",
        )


def _precision(loaded: LoadedModel, request: LoadRequest) -> str:
    words = [short_dtype(loaded.dtype)]
    words += [loaded.quantization] if loaded.quantization != "none" else []
    words += [loaded.attention] if request.attention is not Attention.AUTO else []
    words += [f"+ {PurePath(request.adapter).name}"] if request.adapter else []
    return clean_name(" ".join(filter(None, words)))
