"""The header of a GGUF file, read in one pass that is bounded by the file's size and by caps.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The file is read, not mapped: a mapped file that
shrinks or lies on a lost network share would end the process with SIGBUS.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import prod
from typing import Any

from msgspec import Struct, structs

from modeldeck.backend.catalog.files import ModelFolder, Unreadable, read_at
from modeldeck.backend.catalog.gguf_types import FILE_TYPES, FLOAT_TYPES, TENSOR_TYPES

MAX_HEADER = 128 * 2**20
"""Bytes; the largest vocabularies of 2025 make headers of 20 MB."""
MAX_KEYS = 65_536
MAX_TENSORS = 1_000_000
MAX_STRINGS = 2_000_000
"""In all arrays together; the largest vocabularies with their merges have 0.8 million."""
_MAX_TEXT = 2**16
_MAX_KEPT = 4096
"""Items of an array that are kept: one for each layer. Of longer ones only the length is."""
_MAX_KEPT_IN_ALL = 2**16
"""Items of all arrays together that are kept."""
_MAX_TAGS = 64
_MAX_ELEMENTS = 2**62
_FIRST_READ = 2**21

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
_U64 = struct.Struct("<Q")
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


class _Broken(Exception):
    """The rest of the sentence that begins with the file's name."""


class _Cursor:
    """Reads forward through the head of a file, and takes more of it in when the buffer ends."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.size = size
        self.position = 0
        self._descriptor = descriptor
        self._buffer = read_at(descriptor, 0, min(size, _FIRST_READ))
        self._strings = 0
        self._kept = 0

    def _reach(self, end: int) -> None:
        """Have the buffer hold everything before ``end``."""
        if end > self.size:
            raise _Broken("is cut off in its header")
        if end > MAX_HEADER:
            raise _Broken(f"has a header of more than {MAX_HEADER // 2**20} MB")
        if end > len(self._buffer):
            wanted = min(self.size, MAX_HEADER, max(end, 4 * len(self._buffer)))
            self._buffer += read_at(self._descriptor, len(self._buffer), wanted - len(self._buffer))
            if end > len(self._buffer):
                raise _Broken("is cut off in its header")

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        begin = self.position
        end = begin + layout.size
        if end > len(self._buffer):
            self._reach(end)
        self.position = end
        return layout.unpack_from(self._buffer, begin)

    def skip(self, length: int) -> int:
        """Pass over bytes without taking them in; where they begin."""
        begin = self.position
        if length > self.size - begin:
            raise _Broken("is cut off in its header")
        self.position = begin + length
        return begin

    def text(self) -> str:
        """A string; of a very long one only the beginning."""
        (length,) = self.unpack(_U64)
        begin = self.skip(length)
        end = begin + min(length, _MAX_TEXT)
        self._reach(end)
        return self._buffer[begin:end].decode("utf-8", "replace")

    def may_keep(self, count: int) -> bool:
        """Whether an array is short enough, and those before it were few enough, to take in its items."""
        self._kept += count if count <= _MAX_KEPT else 0
        return count <= _MAX_KEPT and self._kept <= _MAX_KEPT_IN_ALL

    def skip_strings(self, count: int) -> None:
        """Pass over an array of strings, each of which says how long it is."""
        self._strings += count
        if count * 8 > self.size - self.position:
            raise _Broken("is cut off in its header")
        if self._strings > MAX_STRINGS:
            raise _Broken(f"has more than {MAX_STRINGS:,} strings in its header")
        length_of = _U64.unpack_from
        position = self.position
        while count:
            buffer = self._buffer
            try:
                while count:
                    position += 8 + length_of(buffer, position)[0]
                    count -= 1
            except (struct.error, OverflowError):
                self._reach(position + 8)
        self.position = position
        self._reach(position)


def read_gguf_header(folder: ModelFolder, name: str) -> GgufHeader:
    """Read and check one header against the size of its file. Raises Unreadable, whatever the file holds."""
    with folder.open(name) as (descriptor, size):
        cursor = _Cursor(descriptor, size)
        try:
            return _header(cursor)
        except _Broken as error:
            raise Unreadable(f"{name} {error}") from error


def _header(cursor: _Cursor) -> GgufHeader:
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


def _counts(cursor: _Cursor) -> tuple[int, int]:
    """How many tensors and keys follow."""
    if cursor.size < _HEAD.size:
        raise _Broken("is cut off or is not a GGUF file")
    magic, version, tensors, keys = cursor.unpack(_HEAD)
    if magic != b"GGUF":
        raise _Broken("is not a GGUF file")
    if version and not version & 0xFFFF:
        raise _Broken("is a big-endian GGUF file, which cannot be loaded here")
    if version not in (2, 3):
        raise _Broken(f"is GGUF version {version}; versions 2 and 3 can be read")
    # The smallest key takes 13 bytes and the smallest tensor 24, so that counts which lie are refused at once.
    if keys > MAX_KEYS or tensors > MAX_TENSORS or keys * 13 + tensors * 24 > cursor.size:
        raise _Broken("is cut off, or counts more in its header than it can hold")
    return tensors, keys


def _value(cursor: _Cursor, key: str) -> object:
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
            raise _Broken("has an array of an unknown kind in its header")
        return count
    if kind not in _SCALARS:
        raise _Broken("has a value of an unknown kind in its header")
    return cursor.unpack(_SCALARS[kind])[0]


class _Tensors(Struct):
    """What the list of tensors says."""

    by_type: dict[int, int]
    expert_elements: int = 0
    has_output: bool = False


def _tensors(cursor: _Cursor, count: int, alignment: int) -> _Tensors:
    """Add up the tensors. Checks that the file is long enough for every one."""
    found = _Tensors({})
    end = 0
    for _ in range(count):
        name = cursor.text()
        (dimensions,) = cursor.unpack(_U32)
        if dimensions > 8:
            raise _Broken("has a tensor of more than eight dimensions")
        elements = prod(cursor.unpack(_U64)[0] for _ in range(dimensions))
        kind, offset = cursor.unpack(_ARRAY_HEAD)
        if elements > _MAX_ELEMENTS:
            raise _Broken("has a tensor of an absurd shape")
        if kind not in TENSOR_TYPES:
            raise _Broken(f"has a tensor of the unknown type {kind}")
        _, block, size = TENSOR_TYPES[kind]
        end = max(end, offset + elements // block * size)
        found.by_type[kind] = found.by_type.get(kind, 0) + elements
        found.expert_elements += elements if "_exps." in name else 0
        found.has_output = found.has_output or name == "output.weight"
    data = -(-cursor.position // alignment) * alignment
    if data + end > cursor.size:
        raise _Broken(f"is cut off: {data + end - cursor.size:,} bytes are missing")
    return found


def _integer(values: dict[str, object], key: str) -> int | None:
    value = values.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _text(values: dict[str, object], key: str) -> str | None:
    value = values.get(key)
    return value if isinstance(value, str) and value.strip() else None
