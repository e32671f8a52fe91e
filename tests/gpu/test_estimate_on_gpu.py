"""The estimate against device memory: the same limits as on a CPU (``python -m benchmarks estimate``)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from modeldeck.backend.catalog.catalog import read_model
from modeldeck.backend.chat_messages import GenerationStats
from modeldeck.backend.estimate.engine_cost import gpu_bytes
from modeldeck.backend.estimate.estimating import count_parts, estimate
from modeldeck.backend.memory import MemoryMonitor
from modeldeck.backend.models import LoadedModel, LoadRequest, ModelSource, Quantization
from modeldeck.backend.processes import resident_bytes
from modeldeck.backend.protocol import LoadFinished
from tests.gpu.conftest import gpu_count
from tests.real.engine import Engine

TOKENS = 200
WAYS = [("float32", "none"), ("bfloat16", "none"), ("bfloat16", "8bit"), ("bfloat16", "4bit")]
MIB = 2**20


def load(engine: Engine, path: Path, **options: Any) -> LoadedModel:
    finished = engine.load(path, **options)
    assert isinstance(finished, LoadFinished), finished
    return finished.model


def reply(engine: Engine) -> GenerationStats:
    stats = engine.reply("The quick brown fox jumps over the lazy dog.", max_new_tokens=TOKENS).stats
    assert stats is not None
    return stats


def used_bytes(index: int = 0) -> int:
    devices = MemoryMonitor().read().devices
    if len(devices) <= index:
        pytest.skip("the driver's memory figures cannot be read here")
    return devices[index].used_bytes


@pytest.mark.parametrize(("dtype", "quantization"), WAYS)
def test_weights_cache_and_peak(
    llama: Path, start_engine: Callable[..., Engine], dtype: str, quantization: str
) -> None:
    options: dict[str, Any] = {"device": "cuda:0", "dtype": dtype, "quantization": Quantization(quantization)}
    engine = start_engine()
    model = load(engine, llama, **options)
    assert model.device == "cuda:0"
    stats = reply(engine)
    tokens = stats.prompt_tokens + stats.new_tokens
    info = read_model(llama, ModelSource.FOLDER)
    request = LoadRequest(model_id="x", path=str(llama), **options)
    parts = count_parts(info, request, tokens, stats.prompt_tokens, on_cpu=False)
    assert parts is not None
    assert parts.weight_total == pytest.approx(model.weight_bytes, rel=0.01)
    assert parts.cache_total == pytest.approx(stats.cache_bytes, rel=0.02)
    memory = MemoryMonitor().read()
    if not memory.devices:
        pytest.skip("the driver's memory figures cannot be read here")
    found = estimate(info, request, memory, context_tokens=tokens, prompt_tokens=stats.prompt_tokens)
    gpu, ram = found.devices
    peak = stats.peaks["cuda:0"]
    # The context is 0.3 to 0.7 GiB by GPU and driver; for a model this small it is most of the figure.
    slack = 0.10 * peak + gpu_bytes(request.quantization) // 2
    assert gpu.peak_bytes == pytest.approx(peak, abs=slack), (gpu.peak_bytes / MIB, peak / MIB)
    resident = resident_bytes(engine.process.pid, Path("/proc"))
    assert ram.needed_bytes == pytest.approx(resident, rel=0.35), (ram.needed_bytes / MIB, resident / MIB)


def test_the_end_of_the_engine_gives_the_devices_memory_back(llama: Path, start_engine: Callable[..., Engine]) -> None:
    before = used_bytes()
    engine = start_engine()
    load(engine, llama, device="cuda:0")
    assert used_bytes() > before + 300 * MIB
    engine.process.kill()
    engine.process.wait(30)
    deadline = monotonic() + 10
    while used_bytes() > before + 20 * MIB and monotonic() < deadline:
        sleep(0.1)
    assert used_bytes() <= before + 20 * MIB


def test_only_visible_devices_are_used_and_they_are_counted_from_0(
    llama: Path, start_engine: Callable[..., Engine]
) -> None:
    last = gpu_count() - 1
    before = used_bytes(last)
    engine = start_engine(CUDA_VISIBLE_DEVICES=str(last))
    assert load(engine, llama, device="auto").device == "cuda:0"
    assert used_bytes(last) > before + 300 * MIB


def test_bitsandbytes_leaves_the_choice_of_devices_alone(llama: Path, start_engine: Callable[..., Engine]) -> None:
    last = gpu_count() - 1
    engine = start_engine(CUDA_VISIBLE_DEVICES=str(last))
    model = load(engine, llama, device="cuda:0", quantization=Quantization.NF4)
    assert (model.device, model.quantization) == ("cuda:0", "4bit")
    assert reply(engine).new_tokens == TOKENS
