"""The stages that an engine tells."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modeldeck.backend.models import LoadStage
from modeldeck.backend.protocol import LoadProgress


def test_weights_that_are_gone_through_twice_are_read_once_and_then_moved(libraries: None) -> None:
    from transformers.utils import logging

    from modeldeck.backend.engine.progress import Progress, weights_reported

    told: list[LoadProgress] = []
    progress = Progress(told.append, 1)
    progress.stage(LoadStage.READING_TOKENIZER)
    progress.stage(LoadStage.READING_WEIGHTS, 30, "bytes")
    progress.advance(30)
    with weights_reported(progress, LoadStage.READING_WEIGHTS, {"a": 10, "b": 10}):
        for _ in logging.tqdm([("a", 1), ("b", 2)], desc="Loading weights"):
            pass
    assert list(dict.fromkeys(one.stage for one in told[1:])) == [LoadStage.READING_WEIGHTS, LoadStage.MOVING]
    for stage in (LoadStage.READING_WEIGHTS, LoadStage.MOVING):
        fractions = [one.fraction or 0.0 for one in told if one.stage is stage]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0


def test_a_load_that_begins_again_reads_its_weights_again(libraries: None) -> None:
    from modeldeck.backend.engine.progress import Progress

    told: list[LoadProgress] = []
    progress = Progress(told.append, 1)
    for _ in range(2):
        progress.stage(LoadStage.READING_CONFIG)
        progress.stage(LoadStage.READING_WEIGHTS, 30, "bytes")
    assert [one.stage for one in told] == [LoadStage.READING_CONFIG, LoadStage.READING_WEIGHTS] * 2


def test_a_file_that_leads_nowhere_is_left_to_whoever_needs_it(libraries: None, tmp_path: Path) -> None:
    from modeldeck.backend.engine.progress import Progress
    from modeldeck.backend.engine.residency import read_meanwhile

    (tmp_path / "consolidated.safetensors").symlink_to(tmp_path / "gone")
    with read_meanwhile(tmp_path, Progress(lambda _: None, 1)):
        pass


def test_weights_that_were_read_ahead_are_not_read_again_and_no_stage_goes_back(libraries: None) -> None:
    from modeldeck.backend.engine.progress import Progress

    told: list[LoadProgress] = []
    progress = Progress(told.append, 1)
    progress.stage(LoadStage.READING_CONFIG)
    progress.begin_reading(20)
    progress.stage(LoadStage.READING_TOKENIZER)
    progress.read(20)  # the disk is quicker than the tokenizer
    progress.end_reading()
    progress.stage(LoadStage.READING_WEIGHTS, 20, "bytes")
    progress.stage(LoadStage.WARMING_UP)
    order = [LoadStage.READING_CONFIG, LoadStage.READING_WEIGHTS, LoadStage.MOVING, LoadStage.WARMING_UP]
    assert list(dict.fromkeys(one.stage for one in told)) == order
    assert next(one.stage for one in reversed(told)) is LoadStage.WARMING_UP


def test_the_beginning_of_every_tensor_is_asked_for_before_the_rest_is_read(
    libraries: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import save_file

    from modeldeck.backend.engine import residency
    from modeldeck.backend.engine.progress import Progress, tensor_places

    if not hasattr(os, "posix_fadvise"):
        pytest.skip("this system cannot be told what will be needed")
    file = tmp_path / "model.safetensors"
    save_file({f"layers.{number}.weight": torch.zeros(5000) for number in range(3)}, file)
    done: list[int | str] = []
    preadv = os.preadv
    monkeypatch.setattr(residency, "_is_cold", lambda file: True)
    monkeypatch.setattr(os, "posix_fadvise", lambda number, start, length, advice: done.append(start))

    def reads(number: int, buffers: list[bytearray], start: int) -> int:
        done.append("read")
        return preadv(number, buffers, start)

    monkeypatch.setattr(os, "preadv", reads)
    with residency.read_meanwhile(tmp_path, Progress(lambda _: None, 1)):
        pass
    assert done == [*(begin for begin, _ in tensor_places(file).values()), "read"]


def test_weights_are_read_layer_by_layer(libraries: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from safetensors.torch import save_file

    from modeldeck.backend.engine import residency
    from modeldeck.backend.engine.progress import Progress, tensor_places

    names = [f"model.layers.{number}.weight" for number in (10, 2, 0)]
    file = tmp_path / "model.safetensors"
    save_file({name: torch.full((1024,), float(place)) for place, name in enumerate(names)}, file)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\xff" * 5000)
    read: list[tuple[str, int]] = []
    progress = Progress(lambda _: None, 1)
    monkeypatch.setattr(residency, "_CHUNK", 1024)
    monkeypatch.setattr(residency, "_READERS", 1)
    monkeypatch.setattr(residency, "_is_cold", lambda file: True)
    preadv = os.preadv
    place = {one.stat().st_ino: one.name for one in (file, broken)}

    def reads(number: int, buffers: list[bytearray], start: int) -> int:
        read.append((place[os.fstat(number).st_ino], start))
        return preadv(number, buffers, start)

    monkeypatch.setattr(os, "preadv", reads)
    with residency.read_meanwhile(tmp_path, progress):
        pass
    assert sorted(start for name, start in read if name == file.name) == list(range(0, file.stat().st_size, 1024))
    assert len(read) == len(set(read))
    places = tensor_places(file)
    middle = {name: read.index((file.name, sum(places[name]) // 2 // 1024 * 1024)) for name in names}
    assert middle[names[2]] < middle[names[1]] < middle[names[0]]
    assert sum(name == broken.name for name, _ in read) == 5  # whoever needs it will say what is wrong with it


def test_s8_a_header_that_lies_about_places_makes_no_work(libraries: None, tmp_path: Path) -> None:
    from modeldeck.backend.engine import residency

    file = tmp_path / "model.safetensors"
    file.write_bytes(bytes(5000))
    lies = {"layers.1": (2**70, 2**71), "layers.2": (-(2**70), 2**70), "layers.0": (10, -1)}
    residency._ask_for_beginnings(file, lies)
    assert residency._chunks_in_order({file: lies}) == [(file, 0)]


def test_what_transformers_does_once_in_a_process_is_done_before_a_load(libraries: None) -> None:
    from transformers import conversion_mapping

    assert conversion_mapping._checkpoint_conversion_mapping_cache is not None
