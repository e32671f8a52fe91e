"""What loads took is kept between runs, bounded, and never trusted blindly."""

from __future__ import annotations

import stat
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from modeldeck.backend import kept_rows
from modeldeck.backend.chat_messages import FinishReason, GenerationStats
from modeldeck.backend.load_defaults import default_request
from modeldeck.backend.measurements import MeasuredLoad, Measurement, Measurements, measured_load, measured_reply
from modeldeck.backend.models import LoadedModel, LoadRequest, ModelInfo, ModelSource
from modeldeck.config.settings import Settings
from modeldeck.config.shared_file import locked

REQUEST = LoadRequest(model_id="org/model@1", path="/models/a", dtype="bfloat16")
LOADED = LoadedModel(
    model_id="org/model@1",
    device="cpu",
    dtype="bfloat16",
    quantization="none",
    context_length=None,
    weight_bytes=1,
    parameters=1,
    has_chat_template=False,
    seconds=1.0,
    peaks={"ram": 700},
)
STATS = GenerationStats(
    prompt_tokens=30,
    new_tokens=70,
    first_token_seconds=0.1,
    seconds=1.0,
    finish_reason=FinishReason.LENGTH,
    peaks={"ram": 900},
    cache_bytes=50,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "measured.json"


def test_a_load_and_then_a_reply_are_kept_and_found_by_another_run(file: Path) -> None:
    kept = Measurements(file)
    kept.keep(measured_load(REQUEST, LOADED))
    kept.keep(measured_reply(REQUEST, LOADED, STATS))
    found = Measurements(file).find(REQUEST, "ram")
    assert found is not None
    assert (found.peak_bytes, found.context_tokens, found.cache_bytes) == (900, 100, 50)
    assert file.stat().st_mode & 0o077 == 0


def test_the_highest_peak_and_the_longest_conversation_stay(file: Path) -> None:
    kept = Measurements(file)
    kept.keep(measured_reply(REQUEST, LOADED, STATS))
    kept.keep(measured_reply(REQUEST, LOADED, replace(STATS, new_tokens=10, peaks={"ram": 800}, cache_bytes=20)))
    found = kept.find(REQUEST, "cpu")
    assert found is not None
    assert (found.peak_bytes, found.context_tokens, found.cache_bytes) == (900, 100, 50)


def test_another_way_to_load_is_another_measurement(file: Path) -> None:
    kept = Measurements(file)
    kept.keep(measured_load(REQUEST, LOADED))
    for other in (replace(REQUEST, dtype="float32"), replace(REQUEST, model_id="org/model@2")):
        assert kept.find(other, "cpu") is None
    assert kept.find(REQUEST, "cuda:0") is None


def test_a_load_on_other_devices_replaces_what_was_known(file: Path) -> None:
    kept = Measurements(file)
    split = replace(LOADED, device="cuda:0+cuda:1", peaks={"cuda:0": 5, "cuda:1": 6})
    kept.keep(measured_load(REQUEST, replace(LOADED, device="cuda:0", peaks={"cuda:0": 11})))
    kept.keep(measured_load(REQUEST, split))
    found = kept.find(REQUEST, "cuda:0")
    assert found is not None
    assert found.peaks == {"cuda:0": 5, "cuda:1": 6}


def test_only_so_many_are_kept_and_the_oldest_go(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_rows, "MAX_ROWS", 3)
    kept = Measurements(file)
    for number in range(5):
        kept.keep(measured_load(replace(REQUEST, model_id=f"m{number}"), LOADED))
    again = Measurements(file)
    assert [number for number in range(5) if again.find(replace(REQUEST, model_id=f"m{number}"), "cpu")] == [2, 3, 4]


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '[{"load":{}}]', "\x00" * 40])
def test_a_file_that_cannot_be_read_counts_as_empty_and_is_written_anew(file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text)
    kept = Measurements(file)
    assert kept.find(REQUEST, "cpu") is None
    kept.keep(measured_load(REQUEST, LOADED))
    assert Measurements(file).find(REQUEST, "cpu") is not None


def test_absurd_figures_are_not_believed(file: Path) -> None:
    kept = Measurements(file)
    absurd = Measurement(load=MeasuredLoad.of(REQUEST, "cpu"), peaks={"ram": 2**60}, context_tokens=1)
    kept.keep(absurd)
    assert Measurements(file).find(REQUEST, "cpu") is None


def test_a_folder_that_cannot_be_written_is_told_and_the_run_remembers(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    kept = Measurements(tmp_path / "state" / "measured.json")
    with pytest.raises(OSError, match="state"):
        kept.keep(measured_load(REQUEST, LOADED))
    assert kept.find(REQUEST, "cpu") is not None
    assert (tmp_path / "state").is_file()


def test_f23_two_instances_keep_what_the_other_measured(file: Path) -> None:
    one, other = Measurements(file), Measurements(file)
    requests = [replace(REQUEST, model_id=name) for name in "abc"]
    assert (one.find(REQUEST, "cpu"), other.find(REQUEST, "cpu")) == (None, None)
    for kept, request in zip((one, other, one), requests, strict=True):
        kept.keep(measured_load(request, LOADED))
    assert all(Measurements(file).find(request, "cpu") for request in requests)
    assert one.find(requests[1], "cpu") is not None
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_f23_a_file_that_another_instance_holds_is_told_and_written_with_the_next_peak(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Measurements(file)
    first, second = REQUEST, replace(REQUEST, model_id="b")
    monkeypatch.setattr(kept_rows, "locked", partial(locked, seconds=0.0))
    with locked(file), pytest.raises(OSError, match="another modeldeck"):
        kept.keep(measured_load(first, LOADED))
    assert kept.find(first, "cpu") is not None
    kept.keep(measured_load(second, LOADED))
    assert all(Measurements(file).find(request, "cpu") for request in (first, second))


def test_another_model_in_the_same_folder_is_not_measured(file: Path) -> None:
    def asked(size_bytes: int) -> LoadRequest:
        info = ModelInfo(id="/m/a", name="a", path="/m/a", source=ModelSource.FOLDER, size_bytes=size_bytes)
        return default_request(Settings(), info)

    kept = Measurements(file)
    kept.keep(measured_load(asked(2 * 10**9), LOADED))
    assert kept.find(asked(2 * 10**9), "cpu") is not None
    assert kept.find(asked(16 * 10**9), "cpu") is None
