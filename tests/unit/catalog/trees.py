"""Models on disk, written by hand: headers that are right, with holes where the weights would be."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

from modeldeck.backend.catalog.gguf_types import TENSOR_TYPES
from modeldeck.backend.catalog.safetensors_header import DTYPES

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "max_position_embeddings": 2048}
TENSORS = {"embed": ("BF16", [10, 4]), "norm": ("F32", [4])}


def safetensors_bytes(tensors: Mapping[str, tuple[str, Sequence[int]]]) -> bytes:
    """A whole file, with zeros for data."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        size = prod(shape) * DTYPES[dtype][1] // 8
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def model_folder(path: Path, config: object = CONFIG, name: str = "model.safetensors") -> Path:
    """A folder that holds a small model of 44 parameters."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    (path / name).write_bytes(safetensors_bytes(TENSORS))
    return path


def string(text: bytes | str) -> bytes:
    """GGUF's string."""
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


GgufValue = str | int | Sequence[str] | Sequence[int]


def gguf_key(name: str, value: GgufValue) -> bytes:
    """A key of the header with a string, a whole number or a list of one of these."""
    if isinstance(value, str):
        return string(name) + struct.pack("<I", 8) + string(value)
    if isinstance(value, int):
        return string(name) + struct.pack("<II", 4, value)
    numbers = [item for item in value if isinstance(item, int)]
    if numbers:
        return string(name) + struct.pack(f"<IIQ{len(numbers)}I", 9, 4, len(numbers), *numbers)
    words = [item for item in value if isinstance(item, str)]
    return string(name) + struct.pack("<IIQ", 9, 8, len(words)) + b"".join(map(string, words))


def gguf_bytes(
    keys: Mapping[str, GgufValue] | None = None,
    tensors: Sequence[tuple[int, Sequence[int]]] = ((3, (32, 4)), (0, (8,))),
    version: int = 3,
    names: Sequence[str] = (),
) -> bytes:
    """A whole GGUF file; a tensor is its type's number and its shape, and called by ``names`` or ``t0``, ``t1``."""
    if keys is None:
        keys = {
            "general.architecture": "llama",
            "llama.context_length": 512,
            "general.file_type": 3,
            "tokenizer.ggml.tokens": ["a", "b", "c"],
            "tokenizer.chat_template": "{{ messages }}",
        }
    head = struct.pack("<4sIQQ", b"GGUF", version, len(tensors), len(keys))
    head += b"".join(gguf_key(name, value) for name, value in keys.items())
    offset = 0
    for index, (kind, shape) in enumerate(tensors):
        called = names[index] if index < len(names) else f"t{index}"
        head += string(called) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
        _, block, size = TENSOR_TYPES[kind]
        offset += -(-(prod(shape) // block * size) // 32) * 32
    return head + bytes(-len(head) % 32) + bytes(offset)


def gguf_file(path: Path, data: bytes | None = None) -> Path:
    """A small GGUF model."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gguf_bytes() if data is None else data)
    return path


def hub_repo(cache: Path, repo: str, files: Mapping[str, bytes], commit: str = COMMIT, ref: str = "main") -> Path:
    """A repository in the hub's cache, its files as links to blobs; the snapshot's folder."""
    root = cache / f"models--{repo.replace('/', '--')}"
    snapshot = root / "snapshots" / commit
    for folder in (root / "blobs", root / "refs", snapshot):
        folder.mkdir(parents=True, exist_ok=True)
    (root / "refs" / ref).write_text(commit)
    for name, data in files.items():
        blob = f"{abs(hash((repo, name, data))):x}"
        (root / "blobs" / blob).write_bytes(data)
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path(*[".."] * (2 + name.count("/"))) / "blobs" / blob)
    return snapshot


def hub_model(config: object = CONFIG) -> dict[str, bytes]:
    """The files of a small model."""
    return {"config.json": json.dumps(config).encode(), "model.safetensors": safetensors_bytes(TENSORS)}
