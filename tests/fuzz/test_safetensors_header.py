"""The header of a safetensors file: facts that fit the file, or one sentence."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modeldeck.backend.catalog.files import ModelFolder, Unreadable
from modeldeck.backend.catalog.safetensors_header import DTYPES, read_safetensors_header
from tests.fuzz.broken import HUGE, broken_json, garbled
from tests.fuzz.profiles import fuzzed
from tests.fuzz.reading import modest, read
from tests.unit.catalog.trees import TENSORS, model_folder, safetensors_bytes

HEADER: dict[str, Any] = {
    "__metadata__": {"format": "pt"},
    "model.embed_tokens.weight": {"dtype": "BF16", "shape": [10, 4], "data_offsets": [0, 80]},
    "model.layers.0.self_attn.q_proj.qweight": {"dtype": "I32", "shape": [2], "data_offsets": [80, 88]},
    "model.layers.0.mlp.experts.3.up.weight": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [88, 92]},
    "lm_head.weight": {"dtype": "F4", "shape": [8], "data_offsets": [92, 96]},
}
_sizes = st.integers(0, 96) | st.sampled_from([-1, *HUGE])
_tensors = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*DTYPES, "F5_NEW", ""]),
        "shape": st.lists(_sizes, max_size=4),
        "data_offsets": st.tuples(_sizes, _sizes),
    }
)
_headers = st.dictionaries(st.sampled_from([*HEADER, "a", "\ud800", ""]), _tensors, max_size=4)


def _file(text: bytes, length: int | None = None) -> bytes:
    """The header with its length, or a lie in its place, and zeros for data."""
    return struct.pack("<Q", (len(text) if length is None else length) % 2**64) + text + bytes(96)


_files = (
    st.builds(_file, broken_json(HEADER), st.none() | _sizes)
    | _headers.map(lambda header: _file(json.dumps(header).encode()))
    | garbled(safetensors_bytes(TENSORS))
    | st.binary(max_size=300)
)


@given(data=_files)
@fuzzed
def test_a_header_is_facts_that_fit_the_file_or_one_sentence(data: bytes, tmp_path: Path) -> None:
    model = model_folder(tmp_path / "m")
    (model / "model.safetensors").write_bytes(data)
    told = "model.safetensors "
    try:
        with modest():
            header = read_safetensors_header(ModelFolder(str(model)), "model.safetensors")
    except Unreadable as error:
        told = str(error)
    else:
        assert header.file_bytes == len(data)
        assert all(0 <= tensor.stored_bytes <= len(data) for tensor in header.tensors)
    assert told.startswith("model.safetensors ")
    read(model)
