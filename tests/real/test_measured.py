"""The engine says what it really takes, and the estimate said so before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modeldeck.backend.catalog.catalog import read_model
from modeldeck.backend.estimate.estimating import count_parts
from modeldeck.backend.models import LoadedModel, LoadRequest, ModelSource, Quantization
from modeldeck.backend.protocol import LoadFinished
from tests.real.engine import Engine, running_engine


@pytest.fixture
def engine(environment: dict[str, str], tmp_path: Path) -> Iterator[Engine]:
    with running_engine(tmp_path, environment) as started:
        yield started


def resident(engine: Engine, field: str) -> int:
    lines = Path(f"/proc/{engine.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def loaded(engine: Engine, path: Path, **options: Any) -> LoadedModel:
    finished = engine.load(path, device="cpu", **options)
    assert isinstance(finished, LoadFinished), finished
    return finished.model


def test_peaks_are_the_processs_own_and_grow_with_a_reply(llama: Path, engine: Engine) -> None:
    before = resident(engine, "VmRSS")
    peak = loaded(engine, llama).peaks["ram"]
    assert before <= peak <= resident(engine, "VmHWM")
    stats = engine.reply("Hello there", max_new_tokens=20).stats
    assert stats is not None
    assert peak <= stats.peaks["ram"] <= resident(engine, "VmHWM")


@pytest.mark.parametrize("quantization", ["none", "8bit", "4bit"])
def test_weights_and_cache_are_those_of_the_estimate(llama: Path, engine: Engine, quantization: str) -> None:
    model = loaded(engine, llama, quantization=Quantization(quantization))
    stats = engine.reply("Hello there", max_new_tokens=20).stats
    assert stats is not None
    request = LoadRequest(model_id="x", path=str(llama), device="cpu", quantization=Quantization(quantization))
    parts = count_parts(read_model(llama, ModelSource.FOLDER), request, stats.prompt_tokens + stats.new_tokens - 1)
    assert parts is not None
    assert parts.weight_total == pytest.approx(model.weight_bytes, rel=0.01)
    assert parts.cache_total == stats.cache_bytes
