"""The stages that an engine tells."""

from __future__ import annotations

from pathlib import Path

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
