"""What is known about a model, in groups of labelled figures: only what is known, and each with its unit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from modeldeck.backend.estimate.figures import DeviceNeed, Estimate, Verdict
from modeldeck.backend.lookalikes import odd_letters
from modeldeck.backend.model_shape import ModelShape
from modeldeck.backend.models import ModelFormat, ModelInfo
from modeldeck.tui import format as fmt

Row = tuple[str, str]
"""A label and what stands beside it."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that belong together."""

    title: str
    rows: tuple[Row, ...]


def groups(model: ModelInfo) -> list[Group]:
    """Everything that the files tell."""
    titled = (
        ("Identity", _identity(model)),
        ("Weights", _weights(model)),
        ("Network", _network(model)),
        ("Files", _files(model)),
    )
    return [Group(title, tuple(_known(rows))) for title, rows in titled]


def estimate_group(estimate: Estimate) -> Group:
    """The verdict in words, and for each device what is needed against what is free."""
    verdict = "not known whether it fits" if estimate.verdict is Verdict.UNKNOWN else estimate.verdict.value
    rows = [("Verdict", f"{verdict}, for a conversation of {fmt.tokens(estimate.context_tokens)}")]
    for need in estimate.devices:
        rows += [("RAM" if need.device == "ram" else need.device, _needed(need)), ("", _left(need))]
    return Group("Estimate", tuple(rows))


def _known(rows: Iterable[tuple[str, str | None]]) -> Iterable[Row]:
    return ((label, value) for label, value in rows if value)


def _identity(model: ModelInfo) -> Iterable[tuple[str, str | None]]:
    used = fmt.moment(model.last_used) if model.last_used else None
    return (
        ("Beware", f"its name {odd}" if (odd := odd_letters(model.name)) else None),
        ("Id", model.id),
        ("Path", model.path),
        ("Found in", model.source.value),
        ("Revision", " · ".join(part for part in (model.revision, ", ".join(model.refs)) if part)),
        ("Base model", model.base_model),
        ("Licence", model.licence),
        ("Tags", ", ".join(model.tags)),
        ("Last used", used),
    )


def _weights(model: ModelInfo) -> Iterable[tuple[str, str | None]]:
    kind = model.format.value if model.format is not None else "no weights found"
    if model.format is ModelFormat.PICKLE:
        kind = "pickle: it could run code while it loads"
    counted = None
    if model.parameters:
        active = f", {fmt.parameters(model.active_parameters)} of them active" if model.active_parameters else ""
        counted = f"{fmt.parameters(model.parameters)} ({fmt.whole(model.parameters)}){active}"
    return (
        ("Format", kind),
        ("Parameters", counted),
        ("Stored as", model.dtype),
        ("Quantization", _quantization(model) if model.format is not None else None),
        ("Size", fmt.size(model.size_bytes) if model.size_bytes else None),
    )


def _quantization(model: ModelInfo) -> str:
    return ", ".join(part for part in (model.quantization, model.quantization_details) if part) or "none"


def _network(model: ModelInfo) -> Iterable[tuple[str, str | None]]:
    built = f" ({model.architecture_class})" if model.architecture_class else ""
    return (
        ("Architecture", f"{model.architecture}{built}" if model.architecture else model.architecture_class),
        ("Takes", None if model.modality == "text" else _modality(model.modality)),
        ("Context length", fmt.tokens(model.context_length) if model.context_length is not None else None),
        *(_shape(model.shape) if model.shape is not None else ()),
    )


def _modality(modality: str) -> str:
    if modality == "encoder":
        return "text, and generates none"
    return "text, images, sound" if modality == "any" else modality.replace("-", " and ")


def _shape(shape: ModelShape) -> Iterable[tuple[str, str | None]]:
    heads = _count(shape.attention_heads)
    if heads and shape.kv_heads is not None and shape.kv_heads != shape.attention_heads:
        heads += f", {fmt.whole(shape.kv_heads)} for keys and values"
    kinds = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in shape.layer_types.items())
    experts = _count(shape.experts)
    if experts and shape.active_experts:
        experts += f" in a layer, {fmt.whole(shape.active_experts)} for each token"
    ranks = [
        (name, value)
        for name, value in (("keys and values", shape.kv_lora_rank), ("queries", shape.q_lora_rank))
        if value
    ]
    vocabulary = (
        f"{fmt.tokens(shape.vocabulary)}{', embeddings tied' if shape.tied_embeddings else ''}"
        if shape.vocabulary
        else None
    )
    return (
        ("Layers", " · ".join(part for part in (_count(shape.layers), kinds) if part)),
        ("Hidden size", _count(shape.hidden_size)),
        ("Feed-forward", _count(shape.intermediate_size)),
        ("Attention heads", heads),
        ("Head dimension", _count(shape.head_dim)),
        ("Latent ranks", ", ".join(f"{fmt.whole(value)} for {name}" for name, value in ranks)),
        ("Sliding window", fmt.tokens(shape.sliding_window) if shape.sliding_window else None),
        ("Experts", experts),
        ("State size", _count(shape.state_size)),
        ("Vocabulary", vocabulary),
    )  # fmt: skip


def _files(model: ModelInfo) -> Iterable[tuple[str, str | None]]:
    count = f"{fmt.whole(model.file_count)} file{'s' if model.file_count != 1 else ''}" if model.file_count else ""
    disk = f"{fmt.size(model.disk_bytes)} on disk" if model.disk_bytes else ""
    return (
        ("Files", ", ".join(part for part in (count, disk) if part)),
        ("Chat template", "yes" if model.has_chat_template else "no: replies are plain completions"),
        ("Remote code", "needed: loads only if you allow it" if model.needs_remote_code else "not needed"),
        ("Pickled weights", "yes: loads only if you allow it" if model.format is ModelFormat.PICKLE else ""),
    )


def _count(value: int | None) -> str:
    return fmt.whole(value) if value is not None else ""


def _needed(need: DeviceNeed) -> str:
    parts = (
        ("weights", need.weights_bytes),
        ("cache", need.cache_bytes),
        ("working", need.working_bytes),
        ("engine", need.engine_bytes),
    )
    return f"needs {fmt.size(need.needed_bytes)} = " + " + ".join(
        f"{name} {fmt.size(value)}" for name, value in parts if value
    )


def _left(need: DeviceNeed) -> str:
    credit = f" + {fmt.size(need.credit_bytes)} from unloading" if need.credit_bytes else ""
    left = need.left_bytes
    rest = f"{fmt.size(left)} would be left" if left >= 0 else f"{fmt.size(-left)} too little"
    return f"free {fmt.size(need.free_bytes)}{credit} of {fmt.size(need.total_bytes)}, {rest}"
