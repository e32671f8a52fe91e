"""The words and figures of the deck: the shelf, a row, the status line, what was typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from modeldeck.backend.download_messages import DownloadProgress
from modeldeck.backend.estimate.figures import Verdict
from modeldeck.backend.memory import DeviceMemory, MemoryReading
from modeldeck.backend.models import LoadStage, ModelInfo, ModelSource, ModelStatus
from modeldeck.backend.protocol import LoadProgress
from modeldeck.tui.engine_view import EngineView
from modeldeck.tui.screens.add_dialog import HubModel, what_was_typed
from modeldeck.tui.shelf_order import Order, SortColumn
from modeldeck.tui.shelf_row import ShelfRow
from modeldeck.tui.status_line import StatusFacts, status_line
from modeldeck.tui.widgets.model_row import fit_cell, model_line, title_line

NAMES = st.text(min_size=1, max_size=60)


def model(name: str, number: int = 0) -> ModelInfo:
    return ModelInfo(id=f"{number}", name=name, path="/x", source=ModelSource.FOLDER, architecture="llama")


@given(NAMES, st.integers(10, 200), st.booleans(), st.booleans(), st.sampled_from([None, *Verdict]))
def test_a_row_has_exactly_the_width_and_no_control_character(
    name: str, width: int, favourite: bool, indented: bool, verdict: Verdict | None
) -> None:
    row = ShelfRow(model(name), favourite=favourite, indented=indented, verdict=verdict)
    line = model_line(row, "●", width)
    assert cell_len(line) == width
    for column in SortColumn:
        assert cell_len(title_line(width, Order(column))) == width
    assert not [char for char in line if ord(char) < 32]


@pytest.mark.parametrize("width", [40, 60, 64, 80, 160])
def test_the_sign_of_the_fit_stands_below_its_title_and_where_its_colour_goes(width: int) -> None:
    titles = title_line(width, Order())
    line = model_line(ShelfRow(model("a"), verdict=Verdict.DOES_NOT_FIT), " ", width)
    assert line[fit_cell(width)] == "✗"
    assert titles[fit_cell(width)] == "t"
    assert model_line(ShelfRow(model("a"), verdict=Verdict.TIGHT), " ", width)[fit_cell(width)] == "~"


def test_an_arrow_marks_the_title_that_is_sorted_by() -> None:
    assert "▾Params" in title_line(80, Order(SortColumn.PARAMETERS))
    assert "▴Params" in title_line(80, Order(SortColumn.PARAMETERS, reverse=True))
    assert "^Name" in title_line(80, Order(SortColumn.NAME), ascii_only=True)
    assert "▾Context" in title_line(80, Order(SortColumn.CONTEXT))
    assert not {"▾", "▴"} & set(title_line(80, Order()))


def test_rows_are_ascii_where_the_user_asks_for_it() -> None:
    row = ShelfRow(model("a" * 99), favourite=True, indented=True, verdict=Verdict.FITS)
    assert model_line(row, "*", 80, ascii_only=True).isascii()
    assert model_line(row, "*", 80, ascii_only=True).startswith("+* - aaa")


RAM = DeviceMemory(name="ram", label="RAM", used_bytes=3_200_000_000, total_bytes=24_000_000_000, utilization=None)
GPUS = tuple(
    DeviceMemory(name=f"cuda:{n}", label="H100", used_bytes=18_400_000_000, total_bytes=80_000_000_000, utilization=34)
    for n in range(2)
)
MEMORY = MemoryReading(devices=(), ram=RAM, engine_bytes=600_000_000, problem="")
ON_GPUS = MemoryReading(devices=GPUS, ram=RAM, engine_bytes=600_000_000, problem="")
LOADED = EngineView(ModelStatus.LOADED, "q", "Qwen3-8B", "cuda:0", "bf16 4bit")
LOADING = EngineView(ModelStatus.LOADING, "l", "Llama-3.3-70B")
HALF = LoadProgress(1, LoadStage.READING_WEIGHTS, 53_600_000_000, 141_100_000_000, "bytes")


@given(
    st.sampled_from(list(ModelStatus)),
    st.text(max_size=80),
    st.text(max_size=200),
    st.integers(1, 250),
    st.sampled_from([None, MEMORY, ON_GPUS]),
    st.sampled_from([None, 61.2]),
    st.sampled_from(["", "org/name"]),
    st.sampled_from([None, 1, 59, 61, 7200]),
)
def test_the_status_line_is_never_wider_than_the_window(
    status: ModelStatus,
    name: str,
    error: str,
    width: int,
    memory: MemoryReading | None,
    speed: float | None,
    download: str,
    left: int | None,
) -> None:
    view = EngineView(status, "id", name, "cpu", "bf16", error)
    facts = StatusFacts(view, HALF, 2.9e9, left, memory=memory, speed=speed, download_name=download)
    assert status_line(facts, width).cell_length <= width


@pytest.mark.parametrize(
    ("facts", "width", "expected"),
    [
        (StatusFacts(EngineView()), 80, " ○ NOT LOADED · enter loads the highlighted model"),
        (StatusFacts(LOADED, memory=MEMORY, speed=61.2), 80, " ● LOADED Qwen3-8B · cuda:0 · bf16 4bit"),
        (StatusFacts(LOADED, memory=ON_GPUS, speed=61.2), 80, " ● LOADED Qwen3-8B · cuda:0 · bf16 4bit"),
        (
            StatusFacts(LOADING, progress=HALF, elapsed=42, memory=MEMORY),
            120,
            " ◐ LOADING Llama-3.3-70B · reading weights 37% · 53.6 of 141.1 GB · 42 s so far · esc cancels",
        ),
        (
            StatusFacts(EngineView(), download_name="org/name", download=DownloadProgress(1, 10**9, 4 * 10**9)),
            100,
            " ↓ DOWNLOADING org/name · 25% · 1.0 of 4.0 GB · 0 s · esc cancels",
        ),
    ],
)
def test_what_the_status_line_says(facts: StatusFacts, width: int, expected: str) -> None:
    assert status_line(facts, width).plain.startswith(expected)


READING = StatusFacts(LOADING, progress=HALF, rate=2.9e9, seconds_left=31, elapsed=19, memory=ON_GPUS)


@pytest.mark.parametrize(
    ("width", "words"),
    [
        (160, "37% · 53.6 of 141.1 GB · 2.9 GB/s · 19 s so far · about 31 s left · esc cancels  GPU0 18.4/80.0 GB"),
        (124, "37% · 53.6 of 141.1 GB · 2.9 GB/s · 19 s so far · about 31 s left · esc cancels"),
        (110, "37% · 53.6 of 141.1 GB · 2.9 GB/s · about 31 s left · esc cancels"),
        (100, "37% · 53.6 of 141.1 GB · about 31 s left · esc cancels"),
        (80, "37% · about 31 s left · esc cancels"),
        (70, "37% · about 31 s left"),
        (60, "37%"),
    ],
)
def test_a_load_loses_its_least_words_first_and_memory_before_them(width: int, words: str) -> None:
    line = " ".join(status_line(READING, width).plain.split()).replace("cancels GPU", "cancels  GPU")
    assert line == f"◐ LOADING Llama-3.3-70B · reading weights {words}"


def test_a_load_of_which_nothing_is_known_says_how_long_it_runs() -> None:
    facts = StatusFacts(LOADING, progress=LoadProgress(1, LoadStage.WARMING_UP), elapsed=125, memory=MEMORY)
    assert "warming up · 2 min 05 s so far · esc cancels" in status_line(facts, 80).plain


@pytest.mark.parametrize(
    ("seconds_left", "words"),
    [(1, "1 s"), (59, "59 s"), (61, "1 min 00 s"), (64, "1 min 05 s"), (740, "12 min"), (3720, "1 h 02 min")],
)
def test_an_estimate_has_no_more_digits_than_it_deserves(seconds_left: int, words: str) -> None:
    facts = StatusFacts(LOADING, progress=HALF, seconds_left=seconds_left)
    assert f" · about {words} left · " in status_line(facts, 120).plain


@pytest.mark.parametrize(
    "progress", [LoadProgress(1, LoadStage.WARMING_UP), LoadProgress(1, LoadStage.MOVING, 9, 9, "bytes")]
)
def test_a_rate_from_a_moment_ago_is_not_shown_beside_what_reads_nothing(progress: LoadProgress) -> None:
    assert "/s" not in status_line(StatusFacts(LOADING, progress=progress, rate=2.9e9), 160).plain


def test_eighty_columns_keep_state_model_memory_and_speed() -> None:
    line = status_line(StatusFacts(LOADED, memory=ON_GPUS, speed=61.2), 80).plain
    assert "LOADED Qwen3-8B" in line
    assert "GPU0 18.4/80.0 GB" in line
    assert "61.2 tok/s" in line


@pytest.mark.parametrize("memory", [MEMORY, ON_GPUS], ids=["RAM", "GPUs"])
def test_eighty_columns_keep_memory_and_speed_beside_a_long_name(memory: MemoryReading) -> None:
    view = EngineView(ModelStatus.LOADED, "q", "Meta-Llama-3.1-70B-Instruct-abliterated-v2-Q4_K_M", "cuda:0", "bf16")
    line = status_line(StatusFacts(view, memory=memory, speed=61.2), 80).plain
    assert "LOADED Meta-Llama-3.1-70B" in line
    assert ("GPU0 18.4/80.0 GB" if memory.devices else "RAM 3.2/24.0 GB") in line
    assert "61.2 tok/s" in line


def test_a_wide_window_shows_every_gpu_with_its_bar() -> None:
    line = status_line(StatusFacts(LOADED, memory=ON_GPUS, speed=61.2), 160).plain
    assert "GPU0 ▇▇▁▁▁▁▁▁ 18.4/80.0 GB 34%  GPU1 ▇▇▁▁▁▁▁▁" in line


def test_a_failure_always_says_where_the_rest_stands() -> None:
    view = EngineView(ModelStatus.FAILED, "l", "Llama-3.3-70B", error="needs 152.3 GB, 80.0 GB are free " * 5)
    assert status_line(StatusFacts(view), 80).plain.endswith("e shows why ")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("org/name", HubModel("org/name")),
        (" gpt2 ", HubModel("gpt2")),
        ("org/name@v1.0", HubModel("org/name", "v1.0")),
        ("https://huggingface.co/org/name", HubModel("org/name")),
        ("https://huggingface.co/org/name/tree/main", HubModel("org/name")),
        ("hf.co/org/name", HubModel("org/name")),
        ("/models/x", Path("/models/x")),
        ("model.gguf", Path.cwd() / "model.gguf"),
        ("a/b/c", Path.cwd() / "a/b/c"),
        ("./x", Path.cwd() / "x"),
    ],
)
def test_what_was_typed_is_a_path_or_a_hub_id(typed: str, expected: Path | HubModel) -> None:
    assert what_was_typed(typed) == expected


@pytest.mark.parametrize("typed", ["", "  ", "org name", "-x/y", "org/na\u202eme", "org/[b]name", "x?y"])
def test_what_is_neither_is_refused_with_a_sentence(typed: str) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        what_was_typed(typed)
