"""How long loads took is kept between runs and never trusted blindly; the file itself is that of ``KeptRows``."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from modeldeck.backend.load_times import PastLoads, StageTime
from modeldeck.backend.models import LoadRequest, Quantization
from modeldeck.backend.models import LoadStage as S

REQUEST = LoadRequest(model_id="org/model@1", path="/models/a")
TIMES = {S.STARTING: StageTime(4.0), S.READING_WEIGHTS: StageTime(10.0, 700)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "load_times.json"


def test_another_run_finds_them_for_the_same_load_alone(file: Path) -> None:
    PastLoads(file).keep(REQUEST, TIMES)
    past = PastLoads(file)
    assert past.find(REQUEST) == TIMES
    assert past.find(replace(REQUEST, idle_minutes=5.0)) == TIMES
    for other in (
        replace(REQUEST, model_id="b"),
        replace(REQUEST, quantization=Quantization.NF4),
        replace(REQUEST, device="cpu"),
        replace(REQUEST, dtype="float32"),
        replace(REQUEST, size_bytes=3),
    ):
        assert past.find(other) == {}


def test_the_newest_load_counts_for_half(file: Path) -> None:
    past = PastLoads(file)
    past.keep(REQUEST, TIMES)
    past.keep(REQUEST, {S.STARTING: StageTime(2.0), S.READING_WEIGHTS: StageTime(20.0, 700), S.MOVING: StageTime(1.0)})
    assert PastLoads(file).find(REQUEST) == {
        S.STARTING: StageTime(3.0),
        S.READING_WEIGHTS: StageTime(15.0, 700),
        S.MOVING: StageTime(1.0),
    }


def test_stages_that_went_through_something_else_are_forgotten(file: Path) -> None:
    past = PastLoads(file)
    past.keep(REQUEST, TIMES)
    past.keep(REQUEST, {S.READING_WEIGHTS: StageTime(1.0, 900)})
    assert past.find(REQUEST) == {S.READING_WEIGHTS: StageTime(1.0, 900)}


@pytest.mark.parametrize("seconds", ["-1.0", "1e300", "null", '"1"'])
def test_absurd_figures_are_not_believed(file: Path, seconds: str) -> None:
    PastLoads(file).keep(REQUEST, TIMES)
    file.write_text(file.read_text().replace("4.0", seconds))
    assert PastLoads(file).find(REQUEST) == {}


@pytest.mark.parametrize("text", ["", "[1]", '[{"load":{},"stages":{}}]', '[{"stages":{"dancing":{"seconds":1}}}]'])
def test_a_file_that_cannot_be_read_counts_as_empty_and_is_written_anew(file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text)
    past = PastLoads(file)
    assert past.find(REQUEST) == {}
    past.keep(REQUEST, TIMES)
    assert PastLoads(file).find(REQUEST) == TIMES
