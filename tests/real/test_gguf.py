"""The starter's GGUF file: loaded, copied while nobody waits, and the same model when it is loaded from the copy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modeldeck.backend.chat_messages import FinishReason
from modeldeck.backend.protocol import CopyWritten, EngineLog, LoadFinished
from tests.real.engine import Engine

QUESTION = "What is the capital of France?"
LIMIT = 20 * 2**30


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("copies")


@pytest.fixture(scope="module")
def first_reply(starter: Path, copies: Path, start_engine: Callable[..., Engine]) -> str:
    """Load from the file itself, reply while the copy is written, and wait until it is."""
    engine = start_engine(MODELDECK_GGUF_COPIES=str(copies))
    loaded = engine.load(starter, prepared_copy_limit_bytes=LIMIT)
    assert isinstance(loaded, LoadFinished), loaded
    assert loaded.model.context_length == 8192
    assert loaded.model.dtype == "float32"
    assert loaded.model.quantization == "none"
    assert any("dequantized" in note for note in loaded.model.notes)
    reply = engine.reply(QUESTION, max_new_tokens=24, do_sample=False)
    assert reply.stats is not None
    assert reply.stats.finish_reason is FinishReason.STOP
    while not any("prepared copy" in line for line in engine.logs):
        engine.until(EngineLog)
    assert "was written" in engine.logs[-1]
    assert engine.until(CopyWritten).gguf == str(starter)
    engine.hang_up()
    return reply.text


def test_the_starter_knows_the_capital_of_france(first_reply: str) -> None:
    assert "Paris" in first_reply
    assert "<|" not in first_reply


def test_the_copy_is_used_and_gives_the_same_tokens(
    first_reply: str, starter: Path, copies: Path, start_engine: Callable[..., Engine]
) -> None:
    engine = start_engine(MODELDECK_GGUF_COPIES=str(copies))
    loaded = engine.load(starter, prepared_copy_limit_bytes=LIMIT)
    assert isinstance(loaded, LoadFinished), loaded
    assert any("prepared copy" in note for note in loaded.model.notes)
    assert loaded.model.has_chat_template
    assert engine.reply(QUESTION, max_new_tokens=24, do_sample=False).text == first_reply
    assert not [line for line in engine.logs if "prepared copy" in line]
    engine.hang_up()


def test_the_quick_reader_reads_what_gguf_reads(starter: Path, libraries: None) -> None:
    from gguf import GGUFReader
    from transformers import integrations

    from modeldeck.backend.engine.gguf import QuickReader

    parse: Any = vars(integrations.ggml)["_gguf_parse_value"]  # what transformers reads the fields with
    slow, quick = GGUFReader(starter), QuickReader(starter)
    assert list(slow.fields) == list(quick.fields)
    for name, field in slow.fields.items():
        mine = quick.fields[name]
        assert field.types == mine.types
        assert [parse(mine.parts[i], mine.types) for i in mine.data[:500]] == [
            parse(field.parts[i], field.types) for i in field.data[:500]
        ]
        assert len(field.data) == len(mine.data)
    assert [(t.name, t.data_offset, tuple(t.shape)) for t in slow.tensors] == [
        (t.name, t.data_offset, tuple(t.shape)) for t in quick.tensors
    ]


def test_a_list_that_is_longer_than_the_file_is_refused_at_once(tmp_path: Path, libraries: None) -> None:
    from modeldeck.backend.engine.gguf import QuickReader

    key = b"tokenizer.ggml.tokens"
    header = b"GGUF" + (3).to_bytes(4, "little") + (0).to_bytes(8, "little") + (1).to_bytes(8, "little")
    entry = len(key).to_bytes(8, "little") + key + (9).to_bytes(4, "little")
    array = (8).to_bytes(4, "little") + (2**50).to_bytes(8, "little")
    (tmp_path / "hostile.gguf").write_bytes(header + entry + array)
    with pytest.raises(ValueError, match="damaged"):
        QuickReader(tmp_path / "hostile.gguf")
