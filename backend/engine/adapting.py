"""A LoRA adapter on top of its base model, through peft, which is imported only then."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeldeck.backend.engine.failures import first_line, is_out_of_memory, trace
from modeldeck.backend.errors import LoadError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def refuse_impossible_adapter(adapter: str | None) -> None:
    """Raise LoadError before the weights are read, where the adapter cannot be put on any model."""
    if adapter is None:
        return
    if find_spec("peft") is None:
        raise LoadError(
            "An adapter needs peft, which is not installed where the engine runs: pip install peft; "
            "or load the model without it."
        )
    if not (Path(adapter) / "adapter_config.json").is_file():
        raise LoadError(f"There is no adapter at {adapter}; it may have been moved or deleted.")


def put_adapter(model: PreTrainedModel, adapter: str | None) -> None:
    """Put it on the model. Raises LoadError where it does not belong to it."""
    if adapter is None:
        return
    try:
        options: dict[str, Any] = {}
        if not (Path(adapter) / "adapter_model.safetensors").is_file():  # which the library does not ask of a folder
            options["use_safetensors"] = False
        model.load_adapter(adapter, **options)  # a folder, and the engine is offline
    except Exception as error:  # peft and torch raise nearly anything for one that does not fit
        if is_out_of_memory(error) or isinstance(error, LoadError):
            raise
        why = first_line(error)
        if "ignore_mismatched_sizes" in str(error):
            why = "its weights have other shapes, so it was made for another one."
        raise LoadError(f"The adapter does not fit this model: {why}", trace(error)) from error
