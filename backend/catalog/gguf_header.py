"""The header of a GGUF file, read in one pass that is bounded by the file's size and by caps.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The file is read, not mapped: a mapped file that
shrinks or lies on a lost network share would end the process with SIGBUS.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import prod

from msgspec import Struct, structs

from modeldeck.backend.catalog.files import ModelFolder, Unreadable
from modeldeck.backend.catalog.gguf_cursor import U64, Broken, Cursor
from modeldeck.backend.catalog.gguf_types import FILE_TYPES, FLOAT_TYPES, TENSOR_TYPES

MAX_KEYS = 65_536
MAX_TENSORS = 1_000_000
_MAX_TAGS = 64
_MAX_ELEMENTS = 2**62

_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_U32 = struct.Struct("<I")
_HEAD = struct.Struct("<4sIQQ")
_ARRAY_HEAD = struct.Struct("<IQ")


class GgufHeader(Struct, frozen=True, kw_only=True):
    """What a GGUF file says about its model."""

    architecture: str | None
    name: str | None
    context_length: int | None
    """Tokens."""
    parameters: int
    quantization: str | None
    """``Q4_K_M``; None where the weights are plain floats."""
    dtype: str | None
    """Torch's word where the weights are plain floats, else None."""
    has_chat_template: bool
    vocabulary: int | None
    """Tokens in the vocabulary that the file carries."""
    parts: int
    """How many files the model is split into; 1 for nearly all."""
    file_bytes: int
    values: dict[str, object] = {}
    """Every key of the header: a scalar, a text (of a long one its beginning), a short array of numbers, the first
    of ``general.tags``, or of any other array its length."""
    elements_by_type: dict[int, int] = {}
    """Elements of all tensors of a type."""
    expert_elements: int = 0
    """Elements of routed experts."""
    has_output: bool = False
    """Whether there is an output head beside the embeddings."""


def read_gguf_header(folder: ModelFolder, name: str) -> GgufHeader:
    """Read and check one header against the size of its file. Raises Unreadable, whatever the file holds."""
    with folder.open(name) as (descriptor, size):
        cursor = Cursor(descriptor, size)
        try:
            return _header(cursor)
        except Broken as error:
            raise Unreadable(f"{name} {error}") from error


def _header(cursor: Cursor) -> GgufHeader:
    tensor_count, key_count = _counts(cursor)
    values: dict[str, object] = {}
    for _ in range(key_count):
        key = cursor.text()
        values[key] = _value(cursor, key)
    parts = _integer(values, "split.count") or 1
    tensors = _tensors(cursor, tensor_count, _integer(values, "general.alignment") or 32)
    architecture = _text(values, "general.architecture")
    return GgufHeader(
        architecture=architecture,
        name=_text(values, "general.name"),
        context_length=_integer(values, f"{architecture}.context_length"),
        parameters=sum(tensors.by_type.values()),
        quantization=_quantization(values, tensors.by_type),
        dtype=FLOAT_TYPES.get(_dominant(tensors.by_type)),
        has_chat_template=bool(_text(values, "tokenizer.chat_template")),
        vocabulary=_integer(values, "tokenizer.ggml.tokens"),
        parts=parts,
        file_bytes=cursor.size,
        values=values,
        elements_by_type=tensors.by_type,
        expert_elements=tensors.expert_elements,
        has_output=tensors.has_output,
    )


def joined(first: GgufHeader, others: Sequence[GgufHeader]) -> GgufHeader:
    """The header of a whole split model: the first part tells of the model, and all of them have tensors."""
    by_type: dict[int, int] = {}
    for header in (first, *others):
        for kind, elements in header.elements_by_type.items():
            by_type[kind] = by_type.get(kind, 0) + elements
    return structs.replace(
        first,
        parameters=sum(by_type.values()),
        quantization=_quantization(first.values, by_type),
        dtype=FLOAT_TYPES.get(_dominant(by_type)),
        file_bytes=first.file_bytes + sum(header.file_bytes for header in others),
        elements_by_type=by_type,
        expert_elements=first.expert_elements + sum(header.expert_elements for header in others),
        has_output=first.has_output or any(header.has_output for header in others),
    )


def _dominant(by_type: dict[int, int]) -> int:
    """The type of most elements, or -1."""
    return max(by_type, key=by_type.__getitem__, default=-1)


def _quantization(values: dict[str, object], by_type: dict[int, int]) -> str | None:
    dominant = _dominant(by_type)
    if dominant == -1 or dominant in FLOAT_TYPES:
        return None
    return FILE_TYPES.get(_integer(values, "general.file_type") or 0) or TENSOR_TYPES[dominant][0]


def _counts(cursor: Cursor) -> tuple[int, int]:
    """How many tensors and keys follow."""
    if cursor.size < _HEAD.size:
        raise Broken("is cut off or is not a GGUF file")
    magic, version, tensors, keys = cursor.unpack(_HEAD)
    if magic != b"GGUF":
        raise Broken("is not a GGUF file")
    if version and not version & 0xFFFF:
        raise Broken("is a big-endian GGUF file, which cannot be loaded here")
    if version not in (2, 3):
        raise Broken(f"is GGUF version {version}; versions 2 and 3 can be read")
    # The smallest key takes 13 bytes and the smallest tensor 24, so that counts which lie are refused at once.
    if keys > MAX_KEYS or tensors > MAX_TENSORS or keys * 13 + tensors * 24 > cursor.size:
        raise Broken("is cut off, or counts more in its header than it can hold")
    return tensors, keys


def _value(cursor: Cursor, key: str) -> object:
    """One value; of a long array, and of one of texts, only its length."""
    (kind,) = cursor.unpack(_U32)
    if kind == _STRING:
        return cursor.text()
    if kind == _ARRAY:
        item, count = cursor.unpack(_ARRAY_HEAD)
        if item == _STRING and key == "general.tags" and count <= _MAX_TAGS and cursor.may_keep(count):
            return [cursor.text() for _ in range(count)]
        if item == _STRING:
            cursor.skip_strings(count)
        elif item in _SCALARS and cursor.may_keep(count):
            return [cursor.unpack(_SCALARS[item])[0] for _ in range(count)]
        elif item in _SCALARS:
            cursor.skip(count * _SCALARS[item].size)
        else:
            raise Broken("has an array of an unknown kind in its header")
        return count
    if kind not in _SCALARS:
        raise Broken("has a value of an unknown kind in its header")
    return cursor.unpack(_SCALARS[kind])[0]


class _Tensors(Struct):
    """What the list of tensors says."""

    by_type: dict[int, int]
    expert_elements: int = 0
    has_output: bool = False


def _tensors(cursor: Cursor, count: int, alignment: int) -> _Tensors:
    """Add up the tensors. Checks that the file is long enough for every one."""
    found = _Tensors({})
    end = 0
    for _ in range(count):
        name = cursor.text()
        (dimensions,) = cursor.unpack(_U32)
        if dimensions > 8:
            raise Broken("has a tensor of more than eight dimensions")
        elements = prod(cursor.unpack(U64)[0] for _ in range(dimensions))
        kind, offset = cursor.unpack(_ARRAY_HEAD)
        if elements > _MAX_ELEMENTS:
            raise Broken("has a tensor of an absurd shape")
        if kind not in TENSOR_TYPES:
            raise Broken(f"has a tensor of the unknown type {kind}")
        _, block, size = TENSOR_TYPES[kind]
        end = max(end, offset + elements // block * size)
        found.by_type[kind] = found.by_type.get(kind, 0) + elements
        found.expert_elements += elements if "_exps." in name else 0
        found.has_output = found.has_output or name == "output.weight"
    data = -(-cursor.position // alignment) * alignment
    if data + end > cursor.size:
        raise Broken(f"is cut off: {data + end - cursor.size:,} bytes are missing")
    return found


def _integer(values: dict[str, object], key: str) -> int | None:
    value = values.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _text(values: dict[str, object], key: str) -> str | None:
    value = values.get(key)
    return value if isinstance(value, str) and value.strip() else None
