from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeck.backend.estimate.figures import Verdict
from modeldeck.backend.model_shape import ModelShape
from modeldeck.backend.models import ModelFormat
from modeldeck.tui.filter_words import HINT, parse
from modeldeck.tui.shelf_row import ShelfRow
from tests.unit.tui.shelves import info, row

_GB = 10**9

ROWS = (
    row("Qwen3-8B", architecture="qwen3", architecture_class="Qwen3ForCausalLM", parameters=8_200_000_000,
        dtype="bfloat16", size_bytes=16 * _GB, context_length=40_960, licence="apache-2.0", tags=("chat", "thinking")),
    row("Llama-70B-AWQ", architecture="llama", parameters=70_600_000_000, quantization="awq", size_bytes=40 * _GB,
        context_length=131_072),
    row("tiny", architecture="gpt2", parameters=500_000_000, dtype="float32", size_bytes=_GB, context_length=1024),
    row("Mixtral", architecture="mixtral", parameters=141_000_000_000, shape=ModelShape(experts=8),
        size_bytes=282 * _GB, context_length=32_768),
    row("smol", format=ModelFormat.GGUF, parameters=135_000_000, quantization="Q8_0", size_bytes=145_000_000),
    row("gptq8", parameters=1_000_000_000, quantization="gptq", size_bytes=1_050_000_000),
    row("eyes", modality="image-text", dtype="float8_e4m3fn"),
    row("lora", format=ModelFormat.ADAPTER, base_model="Qwen3-8B"),
    row("half", problems=("model.safetensors is missing.",)),
)  # fmt: skip


def shown(text: str, rows: tuple[ShelfRow, ...] = ROWS) -> list[str]:
    return [each.model.name for each in parse(text).keep(rows)]


ALL = shown("")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("qwen", ["Qwen3-8B"]),
        ("FORCAUSAL apache", ["Qwen3-8B"]),
        ("think bf16", ["Qwen3-8B"]),
        ("folder qwen", ["Qwen3-8B"]),
        (">7b", ["Qwen3-8B", "Llama-70B-AWQ", "Mixtral"]),
        (">7B <100b", ["Qwen3-8B", "Llama-70B-AWQ"]),
        (">=500m <3b", ["tiny", "gptq8"]),
        (">500m <3b", ["gptq8"]),
        ("=500m", ["tiny"]),
        (">10gb", ["Qwen3-8B", "Llama-70B-AWQ", "Mixtral"]),
        ("<0.2gb", ["smol"]),
        ("<200MB", ["smol"]),
        ("ctx>32k", ["Qwen3-8B", "Llama-70B-AWQ"]),
        ("ctx>=32k", ["Qwen3-8B", "Llama-70B-AWQ", "Mixtral"]),
        ("ctx<2048", ["tiny"]),
        ("4bit", ["Llama-70B-AWQ"]),
        ("8bit", ["smol", "gptq8", "eyes"]),
        ("gguf", ["smol"]),
        ("safetensors >7b", ["Qwen3-8B", "Llama-70B-AWQ", "Mixtral"]),
        ("adapter", ["lora"]),
        ("broken", ["half"]),
        ("moe", ["Mixtral"]),
        ("vision", ["eyes"]),
        ("-safetensors", ["smol", "lora"]),
        ("->7b -broken -gguf", ["tiny", "gptq8"]),
        ("-qwen >7b", ["Llama-70B-AWQ", "Mixtral"]),
        ("zzz", []),
        ("fitz", []),
    ],
)
def test_what_each_word_shows(text: str, expected: list[str]) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize(
    "text", [">", "<", ">=", ">7", ">10g", "ctx", "ctx>", "ctx>=", "-", "->", "->7", "=", "  ", "> -", "<1."]
)
def test_what_is_only_begun_hides_nothing(text: str) -> None:
    assert shown(text) == ALL


@pytest.mark.parametrize("word", [">abc", "ctx>many", "-<7q", ">7kb2"])
def test_what_looks_like_a_comparison_and_is_none_is_told(word: str) -> None:
    assert parse(f"qwen {word}").odd == (word,)
    assert not parse("qwen >7b <9gb ctx>32k -gguf >").odd


def test_what_the_deck_knows_can_be_asked_for() -> None:
    rows = tuple(ShelfRow(info(name)) for name in ("a", "b", "c", "d", "e"))
    rows[0].favourite = True
    rows[1].recent = 3
    rows[2].loaded = True
    for each, verdict in zip(rows, (Verdict.FITS, Verdict.TIGHT, Verdict.OFFLOADS, Verdict.DOES_NOT_FIT), strict=False):
        each.verdict = verdict
    assert shown("fav", rows) == ["a"]
    assert shown("recent", rows) == ["b"]
    assert shown("loaded", rows) == ["c"]
    assert shown("fits", rows) == ["a", "b"]
    assert shown("tight", rows) == ["b"]
    assert shown("offloads", rows) == ["c"]
    assert shown("-fits", rows) == ["c", "d"]  # what is not worked out yet is neither
    assert parse("a -fits").by_verdict
    assert not parse("a fit").by_verdict


@given(st.text(max_size=40) | st.text(alphabet="<>=-.ctxkmgb0123456789 fits", max_size=20))
def test_no_text_raises(text: str) -> None:
    assert len(parse(text).keep(ROWS)) <= len(ROWS)


@given(
    st.lists(st.text(min_size=1, max_size=60), max_size=30),
    st.text(alphabet=string.ascii_letters.replace("c", "") + " ", max_size=10),
)
def test_exactly_the_models_that_have_every_word_are_shown(model_names: list[str], text: str) -> None:
    rows = [ShelfRow(info(name, id=str(number), architecture="llama")) for number, name in enumerate(model_names)]
    expected = [
        r for r in rows if all(w in f"{r.model.name}\nllama\n?\nfolder".casefold() for w in text.casefold().split())
    ]
    assert parse(text).keep(rows) == expected


def test_every_word_of_the_hint_is_one_that_counts() -> None:
    known = {"fits", "4bit", "gguf", ">7b", "<9gb", "ctx>32k", "fav", "-word"}
    assert set(HINT.partition(": ")[2].split()) == known
    for word in known - {"-word"}:
        assert shown(word) != ALL
