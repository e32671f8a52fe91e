"""The header of a GGUF file: facts that fit the file, or one sentence."""

from __future__ import annotations

import struct
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from modeldeck.backend.catalog.files import ModelFolder, Unreadable
from modeldeck.backend.catalog.gguf_header import read_gguf_header
from modeldeck.backend.catalog.gguf_types import TENSOR_TYPES
from tests.fuzz.broken import WORDS, garbled
from tests.fuzz.profiles import fuzzed
from tests.fuzz.reading import modest, read
from tests.unit.catalog.trees import gguf_bytes, string

_U64 = st.integers(0, 300) | st.sampled_from([2**16, 2**31, 2**32, 2**50, 2**62, 2**63, 2**64 - 1])
_U32 = st.integers(0, 40) | st.sampled_from([2**16, 2**31, 2**32 - 1])
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_KEYS = (
    "general.architecture", "general.name", "general.alignment", "general.file_type", "general.tags", "split.count",
    "general.license", "llama.context_length", "llama.block_count", "llama.embedding_length", "llama.expert_count",
    "llama.attention.head_count", "llama.attention.head_count_kv", "llama.attention.sliding_window", "tokenizer.x",
    "llama.attention.key_length", "tokenizer.ggml.tokens", "tokenizer.chat_template", "llama.ssm.state_size", "",
)  # fmt: skip
_texts = st.sampled_from(["llama", "gemma3", "qwen3moe", "mamba", *WORDS]).map(
    lambda text: text.encode(errors="replace")
)
_strings = _texts.map(string) | st.builds(lambda text, length: struct.pack("<Q", length) + text, _texts, _U64)


def _scalars(kind: int, count: int = 1) -> st.SearchStrategy[bytes]:
    size = _SIZES[kind] * count
    return st.binary(min_size=size, max_size=size) | st.just(b"\xff" * size) | st.just((b"\x08" + bytes(7))[:size])


@st.composite
def _values(draw: st.DrawFn) -> bytes:
    """A value of a key; its kind and its counts may be lies."""
    kind = draw(st.sampled_from([*_SIZES, 8, 8, 9, 9, 77]))
    if kind == 8:
        return struct.pack("<I", 8) + draw(_strings)
    if kind != 9:
        return struct.pack("<I", kind) + (draw(_scalars(kind)) if kind in _SIZES else b"")
    item = draw(st.sampled_from([*_SIZES, 8, 9, 77]))
    real = draw(st.integers(0, 5))
    told = draw(st.just(real) | _U64)
    items = b"".join(
        draw(_strings if item == 8 else _scalars(item) if item in _SIZES else st.just(b"")) for _ in range(real)
    )
    return struct.pack("<IIQ", 9, item, told) + items


@st.composite
def _gguf_files(draw: st.DrawFn) -> bytes:
    keys = draw(st.lists(st.tuples(st.sampled_from(_KEYS), _values()), max_size=6))
    tensors = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["output.weight", "blk.0.ffn_up_exps.weight", "t", "token_embd.weight"]),
                st.lists(_U64, max_size=4),
                st.sampled_from(list(TENSOR_TYPES)) | _U32,
                st.just(0) | _U64,
            ),
            max_size=4,
        )
    )
    counts = [draw(st.just(len(part)) | _U64) for part in (tensors, keys)]
    data = struct.pack("<4sIQQ", b"GGUF", draw(st.sampled_from([3, 3, 3, 2, 1, 0, 0x03000000])), *counts)
    data += b"".join(string(name) + value for name, value in keys)
    for name, shape, kind, offset in tensors:
        length = draw(st.just(len(shape)) | _U32)
        data += string(name) + struct.pack(f"<I{len(shape)}QIQ", length, *shape, kind, offset)
    return data + bytes(draw(st.sampled_from([0, 32, 4096])))


@given(data=_gguf_files() | garbled(gguf_bytes()) | st.binary(max_size=300).map(lambda data: b"GGUF\x03\0\0\0" + data))
@fuzzed
def test_a_header_is_facts_that_fit_the_file_or_one_sentence(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(data)
    told = "x.gguf "
    try:
        with modest():
            header = read_gguf_header(ModelFolder(str(tmp_path)), "x.gguf")
    except Unreadable as error:
        told = str(error)
    else:
        assert header.file_bytes == len(data)
        assert header.parts > 0
        assert header.parameters <= 6 * len(data) * max(1, data.count(b"t")) + 2**10
    assert told.startswith("x.gguf ")
    read(file)
