"""The header of a safetensors file: shapes and dtypes of every tensor, without reading any of them.

The format: 8 bytes little-endian length, then that many bytes of JSON ``{name: {dtype, shape, data_offsets}}``,
then the data (https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from modeldeck.backend.catalog.files import ModelFolder, Unreadable, read_at

MAX_HEADER = 25_000_000
"""Bytes; as huggingface_hub 2.4 limits it (``SAFETENSORS_MAX_HEADER_LENGTH``)."""
MAX_TENSORS = 1_000_000
_MAX_ELEMENTS = 2**62
_FIRST_READ = 2**17

DTYPES: Mapping[str, tuple[str, int]] = {
    "F64": ("float64", 64),
    "F32": ("float32", 32),
    "F16": ("float16", 16),
    "BF16": ("bfloat16", 16),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8),
    "F8_E5M2": ("float8_e5m2", 8),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
    "F8_E8M0": ("float8_e8m0fnu", 8),
    "F6_E2M3": ("float6_e2m3", 6),
    "F6_E3M2": ("float6_e3m2", 6),
    "F4": ("float4_e2m1fn", 4),
    "C64": ("complex64", 64),
    "I64": ("int64", 64),
    "I32": ("int32", 32),
    "I16": ("int16", 16),
    "I8": ("int8", 8),
    "U64": ("uint64", 64),
    "U32": ("uint32", 32),
    "U16": ("uint16", 16),
    "U8": ("uint8", 8),
    "BOOL": ("bool", 8),
}
"""The format's dtypes: torch's word for each, and its bits."""


class StoredTensor(Struct, frozen=True, gc=False):
    """One tensor as its header describes it."""

    name: str
    dtype: str
    """In torch's words; the format's own where torch has none."""
    shape: tuple[int, ...]
    elements: int
    """The product of the shape."""
    stored_bytes: int


class SafetensorsHeader(Struct, frozen=True):
    """What the header of one file says about its tensors."""

    tensors: tuple[StoredTensor, ...]
    file_bytes: int


class _Tensor(Struct):
    dtype: str = ""
    shape: tuple[int, ...] = ()
    data_offsets: tuple[int, ...] = ()


_decoder = msgspec.json.Decoder(dict[str, _Tensor])


def read_safetensors_header(folder: ModelFolder, name: str) -> SafetensorsHeader:
    """Read and check one header against the size of its file. Raises Unreadable, whatever the file holds."""
    with folder.open(name) as (descriptor, size):
        head = read_at(descriptor, 0, min(size, _FIRST_READ))
        length = int.from_bytes(head[:8], "little")
        if size < 8 or length > size - 8:
            raise Unreadable(f"{name} is cut off or is not a safetensors file")
        if length > MAX_HEADER:
            raise Unreadable(f"{name} has a header of {length:,} bytes, more than the {MAX_HEADER:,} that are allowed")
        text = head[8 : 8 + length]
        if len(text) < length:
            text += read_at(descriptor, len(head), length - len(text))
    try:
        return _summary(name, _tensors(text), size, size - 8 - length)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{name} has a broken header") from error


def _tensors(text: bytes) -> dict[str, _Tensor]:
    """Raises ValueError (msgspec's errors are ValueErrors) or RecursionError."""
    try:
        tensors = _decoder.decode(text)
    except msgspec.ValidationError:  # "__metadata__" may hold anything under the names of our fields
        entries = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        entries.pop("__metadata__", None)
        tensors = {name: msgspec.json.decode(raw, type=_Tensor) for name, raw in entries.items()}
    tensors.pop("__metadata__", None)
    if len(tensors) > MAX_TENSORS:
        raise ValueError("too many tensors")
    return tensors


def _summary(name: str, tensors: dict[str, _Tensor], size: int, data: int) -> SafetensorsHeader:
    found: list[StoredTensor] = []
    end = 0
    for label, tensor in tensors.items():
        count = 1
        for length in tensor.shape:
            if length < 0:
                raise ValueError("negative shape")
            count *= length
            if count > _MAX_ELEMENTS:
                raise ValueError("absurd shape")
        begin, stop = tensor.data_offsets  # raises ValueError unless there are two
        known = DTYPES.get(tensor.dtype)
        if not 0 <= begin <= stop or (known is not None and (count * known[1] + 7) // 8 != stop - begin):
            raise ValueError("offsets that do not fit the shape")
        word = known[0] if known else tensor.dtype
        found.append(StoredTensor(label, word, tensor.shape, count, stop - begin))
        end = max(end, stop)
    if end > data:
        raise Unreadable(f"{name} is cut off: {end - data:,} bytes are missing")
    return SafetensorsHeader(tuple(found), size)
