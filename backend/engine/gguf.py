"""GGUF files, read by transformers, without the time that it spends on reading the same thing again.

Profiled with transformers 5.23 and gguf 0.19 on a file with 49,152 tokens: of 29 s, 15 s went into three parses of the
same header (one numpy view for every string of the vocabulary), 7 s into building one table of tensor names 397 times,
and 4 s into the weights. For the length of one load, the two names that ``load_gguf_checkpoint`` imports from ``gguf``
are replaced by ones that remember. A name that a later version no longer has is left alone, and costs only time.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

import gguf
import numpy as np
from gguf import GGUFReader, GGUFValueType
from transformers import modeling_gguf_pytorch_utils

from modeldeck.backend.engine.progress import Progress
from modeldeck.backend.models import LoadStage

_STRING_LENGTH = struct.Struct("<Q")
_ARRAY_HEADER = struct.Struct("<IQ")


class QuickReader(GGUFReader):
    """A ``GGUFReader`` that takes arrays in one step instead of one numpy view (or two) for each element.

    Values of an array are plain ``bytes`` for strings and 1-tuples for numbers, which is all that
    ``transformers.integrations.ggml._gguf_parse_value`` needs.
    """

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> tuple[int, list[Any], list[int], list[Any]]:
        if int(raw_type) != GGUFValueType.ARRAY or self.byte_order != "I":
            return super()._get_field_parts(orig_offs, raw_type)
        data: Any = self.data
        raw = memoryview(data)
        item_type, count = _ARRAY_HEADER.unpack_from(raw, orig_offs)
        start = orig_offs + _ARRAY_HEADER.size
        if count > len(raw) - start:
            raise ValueError(f"the file is damaged: a list of {count} values in {len(raw)} bytes")
        if item_type == GGUFValueType.STRING:
            values, end = _strings(raw, start, count)
        elif (dtype := self.gguf_scalar_to_np.get(GGUFValueType(item_type))) is not None:
            end = start + count * np.dtype(dtype).itemsize
            values = [(value,) for value in np.frombuffer(raw[start:end], dtype).tolist()]
        else:
            return super()._get_field_parts(orig_offs, raw_type)
        types = [GGUFValueType.ARRAY] + ([GGUFValueType(item_type)] if count else [])
        return end - orig_offs, values, list(range(count)), types


def _strings(raw: memoryview, start: int, count: int) -> tuple[list[Any], int]:
    values = []
    for _ in range(count):
        (length,) = _STRING_LENGTH.unpack_from(raw, start)
        start += _STRING_LENGTH.size
        if length > len(raw) - start:
            raise ValueError("the file is damaged: a string goes on beyond its end")
        values.append(bytes(raw[start : start + length]))
        start += length
    return values, start


@contextmanager
def quick_gguf(progress: Progress) -> Iterator[None]:
    """While this holds, GGUF files are parsed once each, and their weights report how far they are."""
    readers = functools.cache(QuickReader)
    with ExitStack() as replaced:
        _replace(replaced, gguf, "GGUFReader", lambda path: readers(os.fspath(path)))
        if (names := getattr(gguf, "get_tensor_name_map", None)) is not None:
            _replace(replaced, gguf, "get_tensor_name_map", functools.cache(names))
        _replace(replaced, modeling_gguf_pytorch_utils, "tqdm", lambda tensors, **_: _reported(tensors, progress))
        yield


def _replace(until: ExitStack, module: ModuleType, name: str, value: object) -> None:
    """Set ``module.name`` until the stack is closed; a module that has no such name is left alone."""
    if hasattr(module, name):
        until.callback(setattr, module, name, getattr(module, name))
        setattr(module, name, value)


def _reported(tensors: Iterable[Any], progress: Progress) -> Iterator[Any]:
    """Stands in for the bar over the tensors of the file, which goes past the hook for all other bars."""
    tensors = list(tensors)
    progress.stage(LoadStage.READING_WEIGHTS, sum(int(tensor.n_bytes) for tensor in tensors), "bytes")
    for tensor in tensors:
        yield tensor
        progress.advance(int(tensor.n_bytes))
