"""Which files of a model folder are its weights, as transformers 5.23 chooses them (``modeling_utils.py``)."""

from __future__ import annotations

import re

from msgspec import Struct

from modeldeck.backend.catalog.files import Missing, ModelFolder, Unreadable
from modeldeck.backend.catalog.json_file import read_json_object
from modeldeck.backend.catalog.safetensors_header import StoredTensor, read_safetensors_header
from modeldeck.backend.catalog.weight_blocks import count_parameters, weight_blocks
from modeldeck.backend.model_shape import ModelShape, WeightBlock
from modeldeck.backend.models import ModelFormat

MAX_INDEX = 32 * 2**20
"""Bytes of a ``*.index.json``; that of DeepSeek-V3 has 9 MB."""

_CHOICES = (
    ("model.safetensors", ModelFormat.SAFETENSORS),
    ("model.safetensors.index.json", ModelFormat.SAFETENSORS),
    ("pytorch_model.bin", ModelFormat.PICKLE),
    ("pytorch_model.bin.index.json", ModelFormat.PICKLE),
)
_NOT_WEIGHTS = re.compile(r"(adapter|optimizer|scheduler|scaler|rng_state|training_args|openvino|ggml|tokenizer|onnx)")
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.(safetensors|bin)")
_MAX_CONFIG = 4 * 2**20


class Weights(Struct, frozen=True, kw_only=True):
    """The weight files of one folder, as their headers describe them."""

    format: ModelFormat | None = None
    parameters: int | None = None
    dtype: str | None = None
    size_bytes: int = 0
    blocks: tuple[WeightBlock, ...] = ()
    """What they become in memory; empty where not every header could be read."""
    incomplete: str = ""
    """What is missing, a sentence without its full stop, or empty."""
    problems: tuple[str, ...] = ()
    """What else is wrong, likewise."""


class Network(Struct, frozen=True):
    """What config.json says that the headers do not: it decides which tensors are loaded, and as what."""

    architecture: str | None = None
    """``model_type``."""
    shape: ModelShape | None = None
    quantization: str | None = None
    """The method of a checkpoint that is stored quantized."""


def read_weights(
    folder: ModelFolder,
    network: Network = Network(),  # noqa: B008  # frozen
    *,
    headers: bool = True,
) -> Weights:
    """Find the weights and read their headers; whatever is wrong is said in the result.

    Without the headers there are the format and the bytes, and what is missing.
    """
    chosen = next(((name, kind) for name, kind in _CHOICES if name in folder), None)
    if chosen is None:
        return _unusual(folder, network, headers)
    name, kind = chosen
    if not name.endswith(".json"):
        return _read(folder, [name], kind, network, headers)
    try:
        index = read_json_object(folder, name, MAX_INDEX)
    except Missing as error:
        return Weights(format=kind, incomplete=str(error))
    except Unreadable as error:
        return Weights(format=kind, problems=(str(error),))
    shards = index.get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(shard, str) for shard in shards.values()):
        return Weights(format=kind, problems=(f"{name} does not say which files hold the weights",))
    return _read(folder, sorted(set(shards.values())), kind, network, headers)


def is_weights_name(name: str) -> bool:
    """Whether a file of this name may hold the weights of a model, and not those of an adapter or an optimizer."""
    return name.endswith((".safetensors", ".bin")) and not _NOT_WEIGHTS.match(name)


def _unusual(folder: ModelFolder, network: Network, headers: bool) -> Weights:
    """Weights under names that transformers does not look for, or none at all."""
    names = [name for name in folder.names if is_weights_name(name)]
    names = [name for name in names if name.endswith(".safetensors")] or names
    if not names:
        return Weights(incomplete=_none_here(folder))
    kind = ModelFormat.SAFETENSORS if names[0].endswith(".safetensors") else ModelFormat.PICKLE
    usual = _CHOICES[0 if kind is ModelFormat.SAFETENSORS else 2][0]
    found = _read(folder, names, kind, network, headers)
    if (shard := _SHARD.fullmatch(names[0])) is not None:
        count = sum(1 for name in names if name.startswith(shard[1] + "-") and f"-of-{shard[3]}." in name)
        lost = f"{usual}.index.json is missing"
        if count < int(shard[3]):
            lost = f"{int(shard[3]) - count} of {int(shard[3])} weight files and {usual}.index.json are missing"
        return _replaced(found, incomplete=lost)
    if len(names) > 1:
        return _replaced(found, problem=f"none of its {len(names)} weight files is called {usual}")
    return _replaced(found, problem=f"its weights are in {names[0]}; transformers looks for {usual}, so rename it")


def _replaced(weights: Weights, *, incomplete: str = "", problem: str = "") -> Weights:
    return Weights(
        format=weights.format,
        dtype=weights.dtype,
        parameters=None if incomplete else weights.parameters,
        size_bytes=weights.size_bytes,
        blocks=() if incomplete else weights.blocks,
        incomplete=incomplete or weights.incomplete,
        problems=weights.problems + ((problem,) if problem else ()),
    )


def _none_here(folder: ModelFolder) -> str:
    other = next((name for name in folder.names if name.endswith((".h5", ".msgpack", ".pth", ".pt", ".onnx"))), None)
    if "adapter_config.json" in folder:
        return "it holds an adapter and no weights of its own"
    if other is not None:
        return f"it holds no safetensors or .bin weights, only {other}"
    return "it holds no weights (*.safetensors or *.bin)"


def _read(folder: ModelFolder, names: list[str], kind: ModelFormat, network: Network, headers: bool) -> Weights:
    """Read every header (or, of a pickle, only the size) and add them up."""
    missing: list[str] = []
    problems: list[str] = []
    size = 0
    tensors: dict[str, StoredTensor] = {}
    for name in names:
        try:
            if kind is ModelFormat.PICKLE or not headers:
                size += folder.size(name)
                continue
            header = read_safetensors_header(folder, name)
        except Missing:
            missing.append(name)
        except Unreadable as error:
            problems.append(str(error))
        else:
            size += header.file_bytes
            tensors.update((tensor.name, tensor) for tensor in header.tensors)
    whole = bool(tensors) and not missing and not problems
    bits = _packed_bits(folder, tensors) if whole else None
    return Weights(
        format=kind,
        parameters=count_parameters(tensors, network.shape, bits) if whole else None,
        dtype=_most_common_dtype(tensors),
        size_bytes=size,
        blocks=_blocks(tensors, network, bits) if whole else (),
        incomplete=_missing_sentence(missing, len(names)),
        problems=tuple(problems),
    )


def _blocks(tensors: dict[str, StoredTensor], network: Network, bits: int | None) -> tuple[WeightBlock, ...]:
    # Without the package ``kernels``, which modeldeck does not bring, transformers turns mxfp4 into bfloat16.
    unpacked = network.quantization == "mxfp4"
    return weight_blocks(tensors, network.architecture, network.shape, unpacked, bits)


def _most_common_dtype(tensors: dict[str, StoredTensor]) -> str | None:
    """The dtype of most bytes, in torch's words."""
    by_dtype: dict[str, int] = {}
    for tensor in tensors.values():
        by_dtype[tensor.dtype] = by_dtype.get(tensor.dtype, 0) + tensor.stored_bytes
    return max(by_dtype, key=by_dtype.__getitem__, default=None)


def _packed_bits(folder: ModelFolder, tensors: dict[str, StoredTensor]) -> int | None:
    """How many bits a packed value has, where config.json says so and somebody asks."""
    if not any(name.endswith((".qweight", ".weight_packed")) for name in tensors):
        return None
    try:
        details = read_json_object(folder, "config.json", _MAX_CONFIG).get("quantization_config")
    except Unreadable:
        return None
    found = details.get("bits") if isinstance(details, dict) else None
    groups = details.get("config_groups") if isinstance(details, dict) else None
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        found = found or (weights.get("num_bits") if isinstance(weights, dict) else None)
    return found if found in (1, 2, 4, 8, 16) else None


def _missing_sentence(missing: list[str], total: int) -> str:
    if not missing:
        return ""
    if total == 1:
        return f"{missing[0]} is missing"
    first = f"{missing[0]} is" if len(missing) == 1 else f"{missing[0]} and others are"
    return f"{len(missing)} of {total} weight files are missing: {first} not here"
