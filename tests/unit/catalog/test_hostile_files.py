"""Whatever a file holds, ``read_model`` says what it is, raises nothing, and is done at once."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from time import process_time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeldeck.backend.catalog import safetensors_header
from modeldeck.backend.catalog.catalog import read_model
from modeldeck.backend.catalog.gguf_types import TENSOR_TYPES
from modeldeck.backend.catalog.messages import ModelRead
from modeldeck.backend.catalog.scanner.scanner import _bounded
from modeldeck.backend.models import ModelInfo, ModelSource
from modeldeck.backend.protocol import decode_event, encode
from tests.unit.catalog.trees import (
    CONFIG,
    TENSORS,
    gguf_bytes,
    gguf_key,
    model_folder,
    safetensors_bytes,
    string,
)


def short(value: object) -> str:
    """A test's id; the values themselves run to 100,000 characters."""
    return repr(value if not isinstance(value, bytes) else value[:40])[:60]


MOST_SECONDS = 2.0
"""Of processor time for one model; a reader that walks a count it was given would need years."""

reuse_the_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=60
)


def read(path: Path) -> ModelInfo:
    begin = process_time()
    row = read_model(path, ModelSource.FOLDER)
    assert process_time() - begin < MOST_SECONDS
    assert all(problem.endswith(".") and "\n" not in problem for problem in row.problems)
    return row


def read_gguf_bytes(tmp_path: Path, data: bytes) -> ModelInfo:
    file = tmp_path / "x.gguf"
    file.write_bytes(data)
    return read(file)


def read_safetensors(tmp_path: Path, data: bytes) -> ModelInfo:
    model = model_folder(tmp_path / "m")
    (model / "model.safetensors").write_bytes(data)
    return read(model)


def header(tensors: object, data: int = 0) -> bytes:
    text = json.dumps(tensors).encode() if not isinstance(tensors, bytes) else tensors
    return struct.pack("<Q", len(text)) + text + bytes(data)


@given(data=st.binary(max_size=300))
@reuse_the_folder
def test_s8_s9_random_bytes(tmp_path: Path, data: bytes) -> None:
    assert read_gguf_bytes(tmp_path, data).problems
    assert read_gguf_bytes(tmp_path, b"GGUF\x03\0\0\0" + data).problems
    assert read_safetensors(tmp_path, data).problems
    read_safetensors(tmp_path, header(data, 8))
    (tmp_path / "m" / "config.json").write_bytes(data)
    read(tmp_path / "m")


@given(position=st.integers(0, 10**6), byte=st.integers(0, 255))
@reuse_the_folder
def test_s8_s9_one_byte_changed(tmp_path: Path, position: int, byte: int) -> None:
    for data, reader in ((gguf_bytes(), read_gguf_bytes), (safetensors_bytes(TENSORS), read_safetensors)):
        changed = bytearray(data)
        changed[position % len(changed)] = byte
        reader(tmp_path, bytes(changed))


def test_s8_s9_every_truncation_is_noticed(tmp_path: Path) -> None:
    whole = gguf_bytes()
    assert read_gguf_bytes(tmp_path, whole).problems == ()
    last = whole[:-12]  # the padding behind the last tensor may be absent
    for length in range(len(last) - 20):
        assert read_gguf_bytes(tmp_path, whole[:length]).problems, length
    whole = safetensors_bytes(TENSORS)
    for length in range(len(whole)):
        assert read_safetensors(tmp_path, whole[:length]).problems, length


def gguf_with(keys: bytes, count: int = 1, tensors: int = 0) -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", 3, tensors, count) + keys


@pytest.mark.parametrize(
    "data",
    [
        gguf_with(string("a") + struct.pack("<IIQ", 9, 4, 2**50)),
        gguf_with(string("a") + struct.pack("<IIQ", 9, 8, 2**50)),
        gguf_with(string("a") + struct.pack("<IIQ", 9, 8, 2**64 - 1) + bytes(64)),
        gguf_with(string("a") + struct.pack("<IIQ", 9, 9, 5) + bytes(64)),
        gguf_with(string("a") + struct.pack("<IQ", 8, 2**63)),
        gguf_with(string("a") + struct.pack("<I", 77)),
        gguf_with(struct.pack("<Q", 2**64 - 1)),
        gguf_with(b"", count=2**64 - 1),
        gguf_with(b"", count=0, tensors=2**40),
        gguf_with(string("a") + struct.pack("<IIQ", 9, 8, 3) + struct.pack("<Q", 2**64 - 1) * 3),
        gguf_with(string("t") + struct.pack("<I", 2**31), count=0, tensors=1) + bytes(64),
        gguf_with(string("t") + struct.pack("<IQQIQ", 2, 2**63, 2**63, 0, 0), count=0, tensors=1),
        gguf_with(string("t") + struct.pack("<IQIQ", 1, 8, 999, 0), count=0, tensors=1),
        gguf_with(string("t") + struct.pack("<IQIQ", 1, 8, 0, 2**60), count=0, tensors=1),
        gguf_with(gguf_key("general.alignment", 2**32 - 1) + string("t") + struct.pack("<IQIQ", 1, 8, 0, 0), tensors=1),
        struct.pack("<4sIQQ", b"GGUF", 0x03000000, 0, 0),
        struct.pack("<4sIQQ", b"GGUF", 1, 0, 0),
        gguf_with(b"", count=0),
    ],
    ids=short,
)
def test_s9_ggufs_that_lie(tmp_path: Path, data: bytes) -> None:
    assert read_gguf_bytes(tmp_path, data).problems


def test_s9_endless_empty_strings_are_refused_by_their_number(tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(gguf_with(string("a") + struct.pack("<IIQ", 9, 8, 2**30)))
    with file.open("r+b") as opened:
        opened.truncate(2**34)  # 16 GiB without a byte on the disk
    assert read(file).problems == ("x.gguf has more than 2,000,000 strings in its header.",)


def test_s9_a_header_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(gguf_with(string("a") + struct.pack("<IIQ", 9, 0, 2**33), count=2))
    with file.open("r+b") as opened:
        opened.truncate(2**34)
    assert "header of more than" in read(file).problems[0]


TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "tensors",
    [
        {"a": {**TENSOR, "shape": [-2]}},
        {"a": {**TENSOR, "shape": [-1, -2]}},
        {"a": {**TENSOR, "shape": [2**62, 2**62, 0]}},
        {"a": {**TENSOR, "shape": [10**30]}},
        {"a": {**TENSOR, "shape": [3]}},
        {"a": {**TENSOR, "shape": "2"}},
        {"a": {**TENSOR, "shape": [2.5]}},
        {"a": {**TENSOR, "shape": None}},
        {"a": {**TENSOR, "data_offsets": [8, 0]}},
        {"a": {**TENSOR, "data_offsets": [-8, 0]}},
        {"a": {**TENSOR, "data_offsets": [0]}},
        {"a": {**TENSOR, "data_offsets": [2**50, 2**50 + 8]}},
        {"a": {"dtype": "F32"}},
        {"a": 5},
        {"a": None},
        [],
        5,
        b'{"a":' * 50_000,
        b"[" * 100_000,
        b'{"a": NaN}',
        b'{"a": {"dtype": "\\ud800", "shape": [], "data_offsets": [0, 0]}',
        b"",
        b"\xff\xfe",
    ],
    ids=short,
)
def test_s8_safetensors_that_lie(tmp_path: Path, tensors: object) -> None:
    row = read_safetensors(tmp_path, header(tensors, 8))
    assert row.problems
    assert row.parameters is None


def test_s8_a_safetensors_header_may_not_be_larger_than_the_cap(tmp_path: Path) -> None:
    model = model_folder(tmp_path / "m")
    with (model / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", 2**26))
        file.truncate(2**27)
    assert "has a header of 67,108,864 bytes" in read(model).problems[0]


def test_s8_a_safetensors_header_may_not_name_more_tensors_than_any_model_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safetensors_header, "MAX_TENSORS", 1)
    two = {name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for name in "ab"}
    assert read_safetensors(tmp_path, header(two)).problems == ("model.safetensors has a broken header.",)


def test_metadata_may_hold_what_it_likes(tmp_path: Path) -> None:
    tensors = {"__metadata__": {"shape": "wide", "dtype": "x", "data_offsets": "y"}, "a": TENSOR}
    row = read_safetensors(tmp_path, header(tensors, 8))
    assert (row.parameters, row.dtype, row.problems) == (2, "float32", ())


def test_an_unknown_dtype_is_no_fault(tmp_path: Path) -> None:
    row = read_safetensors(tmp_path, header({"a": {**TENSOR, "dtype": "F5_NEW"}}, 8))
    assert (row.dtype, row.problems) == ("F5_NEW", ())


@pytest.mark.parametrize(
    "config",
    [b"[" * 100_000, b"", b"\xff", b'{"n_ctx": 1' + b"0" * 5000 + b"}", b'{"model_type": "\\ud800"}', b"null"],
    ids=short,
)
def test_s23_configs_that_are_none(tmp_path: Path, config: bytes) -> None:
    model = model_folder(tmp_path / "m")
    (model / "config.json").write_bytes(config)
    (model / "tokenizer_config.json").write_bytes(config)
    row = read(model)
    assert row.context_length is None
    json.dumps(row.architecture).encode()


def test_a_config_with_nan_is_read_as_transformers_reads_it(tmp_path: Path) -> None:
    model = model_folder(tmp_path / "m")
    (model / "config.json").write_text(json.dumps({**CONFIG, "rope": float("nan"), "clamp": float("inf")}))
    assert (read(model).architecture, read(model).problems) == ("llama", ())


@pytest.mark.parametrize(
    "index", [b"{", b"{}", b'{"weight_map": {}}', b'{"weight_map": {"a": 5}}', b'{"weight_map": []}']
)
def test_an_index_that_names_no_files(tmp_path: Path, index: bytes) -> None:
    model = model_folder(tmp_path / "m", name="other.safetensors")
    (model / "model.safetensors.index.json").write_bytes(index)
    assert read(model).problems


def test_s12_an_index_cannot_point_out_of_its_folder(tmp_path: Path) -> None:
    model_folder(tmp_path / "victim")
    model = model_folder(tmp_path / "m", name="other.safetensors")
    index = {"weight_map": {"a": "../victim/model.safetensors", "b": "/etc/passwd"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    assert read(model).problems[0].startswith("2 of 2 weight files are missing")


@pytest.mark.parametrize("kind", sorted(TENSOR_TYPES))
def test_every_type_of_tensor_is_named_and_measured(tmp_path: Path, kind: int) -> None:
    row = read_gguf_bytes(tmp_path, gguf_bytes({"general.architecture": "x"}, [(kind, (256, 2))]))
    assert (row.parameters, row.problems) == (512, ())
    assert row.dtype or row.quantization == TENSOR_TYPES[kind][0]


@pytest.mark.parametrize(
    ("file_type", "tensors", "expected"),
    [
        (15, [(12, (256, 4)), (14, (256, 1))], (None, "Q4_K_M")),
        (1024, [(12, (256, 4)), (14, (256, 1))], (None, "Q4_K")),
        (1, [(1, (256, 4)), (0, (256, 1))], ("float16", None)),
        (15, [(30, (256, 4)), (0, (256, 1))], ("bfloat16", None)),
    ],
)
def test_the_file_type_names_the_mix_and_the_tensors_decide(
    tmp_path: Path, file_type: int, tensors: list[tuple[int, tuple[int, int]]], expected: tuple[str | None, str | None]
) -> None:
    row = read_gguf_bytes(tmp_path, gguf_bytes({"general.file_type": file_type}, tensors))
    assert (row.dtype, row.quantization) == expected


def test_sizes_that_no_figure_holds_are_given_up_before_they_are_sent(tmp_path: Path) -> None:
    endless = {"dtype": "F5_NEW", "shape": [2**62], "data_offsets": [0, 0]}
    row = read_safetensors(tmp_path, header(dict.fromkeys("abcd", endless)))
    assert row.parameters is not None
    assert row.parameters >= 2**63
    kept = _bounded(row)[0]
    assert kept.problems == ("Its header describes more than any model has, so it was given up.",)
    assert decode_event(encode(ModelRead(1, kept))) == ModelRead(1, kept)
