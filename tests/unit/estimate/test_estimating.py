"""Verdicts, grounds, credit and measurements."""

from __future__ import annotations

from time import perf_counter

import pytest
from msgspec.structs import replace

from modeldeck.backend.estimate.estimating import estimate
from modeldeck.backend.estimate.figures import Verdict
from modeldeck.backend.estimate.suggesting import suggest
from modeldeck.backend.measurements import MeasuredLoad, Measurement
from modeldeck.backend.memory_reading import DeviceProcess
from modeldeck.backend.model_shape import ModelShape
from modeldeck.backend.models import ModelFormat, Quantization
from tests.unit.estimate.samples import GB, LLAMA_8B, asked, machine


@pytest.mark.parametrize(
    ("free", "quantization", "verdict"),
    [
        (24, "none", Verdict.FITS),
        (20, "none", Verdict.TIGHT),
        (16, "none", Verdict.OFFLOADS),
        (16, "4bit", Verdict.FITS),
        (5, "4bit", Verdict.DOES_NOT_FIT),  # bitsandbytes refuses to offload
    ],
)
def test_verdicts_on_one_gpu(free: int, quantization: str, verdict: Verdict) -> None:
    found = estimate(LLAMA_8B, asked(quantization=quantization), machine(free * GB, total=24 * GB))
    assert found.verdict is verdict, found
    assert sum(need.weights_bytes for need in found.devices) <= 16.1 * GB


def test_a_gpu_that_is_named_takes_everything_or_does_not_fit() -> None:
    found = estimate(LLAMA_8B, asked("cuda:1"), machine(80 * GB, 10 * GB))
    assert [need.device for need in found.devices] == ["cuda:1", "ram"]
    assert found.verdict is Verdict.DOES_NOT_FIT
    assert estimate(LLAMA_8B, asked("cuda:3"), machine(80 * GB)).verdict is Verdict.UNKNOWN


def test_without_a_gpu_auto_means_the_ram() -> None:
    found = estimate(LLAMA_8B, asked(), machine(ram_free=64 * GB))
    assert [need.device for need in found.devices] == ["ram"]
    assert found.verdict is Verdict.FITS
    assert estimate(LLAMA_8B, asked("cpu"), machine(80 * GB, ram_free=8 * GB)).verdict is Verdict.DOES_NOT_FIT


def test_two_gpus_share_the_cache_as_they_share_the_layers() -> None:
    found = estimate(LLAMA_8B, asked(), machine(24 * GB, 24 * GB))
    assert [need.device for need in found.devices if need.holds_model] == ["cuda:0", "cuda:1"]
    assert sum(need.cache_bytes for need in found.devices) == pytest.approx(2**30, abs=2)
    assert sum(need.weights_bytes for need in found.devices) == pytest.approx(16.06 * GB, rel=0.001)


def test_a_longer_conversation_needs_more_and_never_more_than_the_model_can_have() -> None:
    short, long = (
        estimate(LLAMA_8B, asked(), machine(80 * GB), context_tokens=tokens).devices[0] for tokens in (8192, 65_536)
    )
    assert (short.cache_bytes, long.cache_bytes) == (2**30, 8 * 2**30)
    assert estimate(LLAMA_8B, asked(), machine(80 * GB), context_tokens=10**9).context_tokens == 131_072


def test_the_model_that_would_be_unloaded_is_credited() -> None:
    full = machine(4 * GB)
    assert estimate(LLAMA_8B, asked("cuda:0"), full).verdict is Verdict.DOES_NOT_FIT
    credited = estimate(LLAMA_8B, asked("cuda:0"), full, credit={"cuda:0": 40 * GB})
    assert credited.verdict is Verdict.FITS
    assert credited.devices[0].credit_bytes == 40 * GB
    assert "Unloading the model before it gives back 40.0 GB of cuda:0." in credited.grounds


def test_other_processes_are_named_and_our_own_are_not() -> None:
    others = (
        DeviceProcess(pid=77, user="ann", name="python", used_bytes=12 * GB),
        DeviceProcess(pid=78, user="us", name="engine", used_bytes=GB, ours=True),
    )
    grounds = estimate(LLAMA_8B, asked(), machine(60 * GB, processes=others)).grounds
    assert "python (pid 77, ann) holds 12.0 GB of cuda:0." in grounds
    assert not any("engine (pid" in ground for ground in grounds)


def test_what_was_measured_here_is_preferred_for_conversations_of_that_length() -> None:
    measured = Measurement(
        load=MeasuredLoad.of(asked(), "cuda:0"),
        peaks={"cuda:0": 30 * GB},
        context_tokens=8000,
        cache_bytes=8000 * 128 * 1024,
    )
    found = estimate(LLAMA_8B, asked(), machine(80 * GB), measured=measured, context_tokens=8000)
    assert found.measured_bytes == found.devices[0].needed_bytes == 30 * GB
    assert found.grounds[0] == "Measured here: 30.0 GB at the peak of a conversation of 8,000 tokens."
    for more in (1, 500, 8000):
        longer = estimate(LLAMA_8B, asked(), machine(80 * GB), measured=measured, context_tokens=8000 + more)
        prefill = more * (4096 * 12 + 3 * 14336 * 2)
        assert longer.devices[0].needed_bytes == 30 * GB + more * 128 * 1024 + prefill


def test_a_low_measurement_takes_nothing_off_the_weights_of_a_gpu() -> None:
    load = MeasuredLoad.of(asked(), "cuda:0")
    measured = Measurement(load=load, peaks={"cuda:0": 10 * GB}, context_tokens=8192)
    gpu, _ = estimate(LLAMA_8B, asked(), machine(80 * GB), measured=measured).devices
    assert gpu.weights_bytes == pytest.approx(16.06 * GB, rel=0.001)


def test_a_measurement_on_other_devices_is_left_alone() -> None:
    measured = Measurement(
        load=MeasuredLoad.of(asked(), "cuda:0"), peaks={"cuda:0": GB, "cuda:1": GB}, context_tokens=8000
    )
    found = estimate(LLAMA_8B, asked(), machine(80 * GB), measured=measured)
    assert found.measured_bytes is None
    assert not any("Measured" in ground for ground in found.grounds)


def test_files_that_tell_too_little_are_unknown_and_a_cache_that_is_not_known_is_said() -> None:
    bare = replace(LLAMA_8B, weights=(), parameters=None, format=ModelFormat.PICKLE, dtype=None, load_dtype=None)
    assert estimate(bare, asked(), machine(80 * GB)).verdict is Verdict.UNKNOWN
    shapeless = estimate(replace(LLAMA_8B, shape=None), asked(), machine(80 * GB))
    assert shapeless.verdict is Verdict.TIGHT  # at best
    assert any("cache" in ground and "not counted" in ground for ground in shapeless.grounds)


def test_attention_that_is_not_fused_is_counted_and_told() -> None:
    memory = machine(80 * GB)
    fused = estimate(LLAMA_8B, asked(), memory)
    eager = estimate(replace(LLAMA_8B, architecture="gemma2"), asked(), memory)
    more = eager.devices[0].working_bytes - fused.devices[0].working_bytes
    assert more == 32 * 8192 * 8192 * 6  # heads x tokens x tokens: 12.9 GB
    told = [ground for ground in eager.grounds if "no fused attention" in ground]
    assert len(told) == 1
    assert told[0] not in fused.grounds


def test_experts_that_stay_large_are_told() -> None:
    shape = ModelShape(layers=32, experts=8, active_experts=2, kv_heads=8, head_dim=128, hidden_size=4096)
    blocks = tuple(replace(block, linear_elements=0, other_elements=10**7) for block in LLAMA_8B.weights)
    moe = replace(LLAMA_8B, shape=shape, weights=blocks)
    assert any(
        "experts stay" in ground for ground in estimate(moe, asked(quantization="4bit"), machine(80 * GB)).grounds
    )


def test_a_row_of_the_list_costs_less_than_a_millisecond() -> None:
    memory = machine(24 * GB, 24 * GB)
    start = perf_counter()
    for _ in range(100):
        estimate(LLAMA_8B, asked(), memory)
    assert (perf_counter() - start) / 100 < 0.001


@pytest.mark.parametrize(
    ("ram_free", "prepared", "verdict"),
    [
        (8, False, Verdict.DOES_NOT_FIT),  # 8.03 billion parameters x 4 bytes go through the RAM
        (34.5, False, Verdict.TIGHT),
        (40, False, Verdict.FITS),
        (8, True, Verdict.FITS),
    ],
)
def test_a_gguf_file_is_unpacked_in_ram_before_it_goes_to_the_gpu(
    ram_free: float, prepared: bool, verdict: Verdict
) -> None:
    gguf = replace(LLAMA_8B, weights=(), format=ModelFormat.GGUF, dtype=None, load_dtype=None, size_bytes=5 * GB)
    found = estimate(gguf, asked("cuda:0"), machine(80 * GB, ram_free=int(ram_free * GB)), prepared=prepared)
    assert found.verdict is verdict
    gpu, ram = found.devices
    assert ram.needed_bytes / GB == pytest.approx(1.57 if prepared else 1.57 + 32.12 + 0.115, abs=0.01)
    assert any("unpacked in RAM" in ground for ground in found.grounds) is not prepared
    assert gpu.left_bytes > 40 * GB


def test_the_engine_itself_needs_ram_beside_a_gpu() -> None:
    found = estimate(LLAMA_8B, asked("cuda:0"), machine(80 * GB, ram_free=GB // 5))
    assert found.verdict is Verdict.DOES_NOT_FIT
    freed = estimate(LLAMA_8B, asked("cuda:0"), machine(80 * GB, ram_free=GB // 5), credit={"ram": 2 * GB})
    assert freed.verdict is Verdict.FITS


def test_the_ram_that_the_engine_needs_is_not_called_offloading() -> None:
    assert estimate(LLAMA_8B, asked(), machine(80 * GB)).verdict is Verdict.FITS
    offloaded = estimate(LLAMA_8B, asked(), machine(10 * GB))
    assert offloaded.verdict is Verdict.OFFLOADS
    assert offloaded.devices[-1].weights_bytes > 5 * GB


class TestSuggestions:
    def test_the_longest_conversation_is_the_last_that_fits(self) -> None:
        memory = machine(24 * GB)
        tokens = suggest(LLAMA_8B, asked("cuda:0"), memory).longest_context
        assert tokens is not None
        fits = (Verdict.FITS, Verdict.TIGHT)
        assert estimate(LLAMA_8B, asked("cuda:0"), memory, context_tokens=tokens).verdict in fits
        assert estimate(LLAMA_8B, asked("cuda:0"), memory, context_tokens=tokens + 256).verdict not in fits

    @pytest.mark.parametrize(("free", "best"), [(80, "none"), (17, "8bit"), (12, "4bit")])
    def test_the_best_options_are_the_most_faithful_that_fit(self, free: int, best: str) -> None:
        found = suggest(LLAMA_8B, asked("cuda:0", quantization="4bit"), machine(free * GB, total=24 * GB))
        assert found.quantization is Quantization(best)

    def test_nothing_fits_on_a_full_machine(self) -> None:
        found = suggest(LLAMA_8B, asked(), machine(GB, ram_free=GB))
        assert (found.quantization, found.dtype, found.longest_context) == (None, None, None)

    def test_what_is_stored_quantized_is_not_quantized_again(self) -> None:
        stored = replace(LLAMA_8B, quantization="awq")
        assert suggest(stored, asked("cuda:0"), machine(12 * GB)).quantization is None


def test_pages_of_the_file_that_nobody_needs_any_more_are_no_reason_against_a_load() -> None:
    """4-bit weights of a 16 GB file: the file's pages show in the peak, and the system takes them back."""
    found = estimate(LLAMA_8B, asked("cpu", quantization="4bit"), machine(ram_free=12 * GB))
    (need,) = found.devices
    assert need.peak_bytes > 16 * GB
    assert need.needed_bytes < 12 * GB
    assert need.reclaimable_bytes > 10 * GB
    assert found.verdict is Verdict.TIGHT  # 12 of 128 GB are free
