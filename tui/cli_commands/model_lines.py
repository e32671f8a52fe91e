"""What ``show`` prints of a model: a label and a value a line, and only what is known."""

from __future__ import annotations

from collections.abc import Iterator

from modeldeck.backend.lookalikes import odd_letters
from modeldeck.backend.model_shape import AdapterShape, ModelShape
from modeldeck.backend.models import ModelFormat, ModelInfo
from modeldeck.tui.format import moment, parameters, size, whole

_LAYER_WORDS = {
    "full_attention": "full attention",
    "sliding_attention": "sliding window",
    "chunked_attention": "chunked attention",
    "linear_attention": "constant state",
    "conv": "short convolution",
    "hybrid": "attention with constant state",
    "indexed_attention": "indexed attention",
    "dummy": "without a cache",
}
_MODALITIES = {
    "text": "text",
    "image-text": "images and text",
    "audio-text": "sound and text",
    "any": "images, sound and text",
    "encoder": "text, and nothing comes out (encoder)",
}


def model_lines(model: ModelInfo) -> Iterator[tuple[str, str]]:
    """Everything that is known, in the order in which people ask for it; untrusted text is not cleaned here."""
    yield from _what_it_is(model)
    if model.adapter is not None:
        yield from _adapter(model.adapter)
    if model.shape is not None:
        yield from shape_lines(model.shape)
    yield from _files(model)
    for problem in model.problems:
        yield "problem", problem


def shape_lines(shape: ModelShape) -> Iterator[tuple[str, str]]:
    """The sizes of the network."""
    if shape.layers is not None:
        yield "layers", f"{whole(shape.layers)}{_kinds(shape)}"
    if shape.hidden_size is not None:
        width = f", {whole(shape.intermediate_size)} in between" if shape.intermediate_size is not None else ""
        yield "hidden size", f"{whole(shape.hidden_size)}{width}"
    if shape.attention_heads is not None:
        yield "heads", _heads(shape)
    if shape.kv_lora_rank is not None:
        rope = f" and {whole(shape.qk_rope_head_dim)} of positions" if shape.qk_rope_head_dim is not None else ""
        yield "latent (MLA)", f"rank {whole(shape.kv_lora_rank)}{rope}"
    if shape.sliding_window is not None:
        yield "window", f"{whole(shape.sliding_window)} tokens"
    if shape.state_elements is not None:
        yield "state", f"{whole(shape.state_elements)} elements a layer"
    if shape.experts is not None:
        active = f", {whole(shape.active_experts)} for each token" if shape.active_experts is not None else ""
        yield "experts", f"{whole(shape.experts)}{active}"
    if shape.vocabulary is not None:
        tied = ", embeddings tied to the output" if shape.tied_embeddings else ""
        yield "vocabulary", f"{whole(shape.vocabulary)} tokens{tied}"


def _what_it_is(model: ModelInfo) -> Iterator[tuple[str, str]]:
    yield "name", model.name
    if odd := odd_letters(model.name):
        yield "beware", f"its name {odd}"
    yield "id", model.id
    yield "path", model.path
    yield "source", model.source.value
    if model.revision is not None:
        yield "revision", f"{model.revision} ({', '.join(model.refs)})" if model.refs else model.revision
    yield "format", model.format.value if model.format else "no weights"
    if model.base_model is not None:
        yield "base model", model.base_model
    if model.architecture is not None:
        both = model.architecture_class not in (None, model.architecture)
        yield "architecture", f"{model.architecture} ({model.architecture_class})" if both else model.architecture
    if model.modality != "text":
        yield "takes", _MODALITIES.get(model.modality, model.modality)
    if model.parameters is not None:
        active = f", {parameters(model.active_parameters)} active" if model.active_parameters is not None else ""
        yield "parameters", f"{parameters(model.parameters)}{active}"
    if model.dtype is not None:
        yield "dtype", model.dtype
    if model.quantization is not None:
        more = f" ({model.quantization_details})" if model.quantization_details else ""
        yield "quantization", f"{model.quantization}{more}"
    if model.context_length is not None:
        yield "context", f"{whole(model.context_length)} tokens"
    if model.format is not ModelFormat.ADAPTER:
        yield "chat template", "yes" if model.has_chat_template else "no: prompts are completed as plain text"
    yield "remote code", "needed, allow it with --trust-remote-code" if model.needs_remote_code else "not needed"
    if model.format is ModelFormat.PICKLE:
        yield "weights", "pickled, a form that can hold code: allow them with --allow-pickles"
    if model.licence is not None:
        yield "licence", model.licence
    if model.tags:
        yield "tags", ", ".join(model.tags)


def _adapter(adapter: AdapterShape) -> Iterator[tuple[str, str]]:
    rank = f", rank {adapter.rank}" if adapter.rank is not None else ""
    alpha = f", alpha {adapter.alpha:g}" if adapter.alpha is not None else ""
    yield "adapter", f"{adapter.kind}{rank}{alpha}"
    if adapter.targets:
        yield "changes", ", ".join(adapter.targets)


def _files(model: ModelInfo) -> Iterator[tuple[str, str]]:
    if model.size_bytes:
        yield "size", size(model.size_bytes)
    if model.file_count:
        yield "on disk", f"{size(model.disk_bytes)} in {_files_word(model.file_count)}"
    elif model.disk_bytes:
        yield "on disk", size(model.disk_bytes)
    if model.last_used is not None:
        yield "last used", moment(model.last_used)


def _files_word(count: int) -> str:
    return "1 file" if count == 1 else f"{whole(count)} files"


def _kinds(shape: ModelShape) -> str:
    kinds = [f"{whole(count)} {_LAYER_WORDS.get(kind, kind)}" for kind, count in shape.layer_types.items()]
    return f" ({', '.join(kinds)})" if kinds else ""


def _heads(shape: ModelShape) -> str:
    text = whole(shape.attention_heads or 0)
    if shape.kv_heads is not None and shape.kv_heads != shape.attention_heads:
        text += f", {whole(shape.kv_heads)} for keys and values"
    return f"{text}, {whole(shape.head_dim)} wide" if shape.head_dim is not None else text
