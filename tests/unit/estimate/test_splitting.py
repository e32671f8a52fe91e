"""The split over devices; tests/real holds it against the library's own."""

from __future__ import annotations

from modeldeck.backend.estimate.splitting import Run, Share, split

GB = 10**9
TEN_LAYERS = [Run(GB, 1, False), Run(GB, 10, True), Run(GB, 1, False)]


def test_everything_goes_to_the_one_gpu_that_has_room() -> None:
    gpu, ram, lost = split(TEN_LAYERS, [24 * GB], 64 * GB, quantized=False)
    assert gpu == Share(12 * GB, 10, has_head=True)
    assert (ram.weight_bytes, lost.weight_bytes) == (0, 0)


def test_a_single_gpu_is_filled_to_nine_tenths_with_room_for_the_largest_module() -> None:
    gpu, ram, _ = split(TEN_LAYERS, [10 * GB], 64 * GB, quantized=False)
    assert gpu == Share(8 * GB, 7)  # 9.0 less one that is kept free
    assert ram == Share(4 * GB, 3, has_head=True)


def test_a_quantizer_takes_another_tenth() -> None:
    gpu, _, _ = split(TEN_LAYERS, [10 * GB], 64 * GB, quantized=True)
    assert gpu.weight_bytes == 7 * GB  # 8.1 less one


def test_two_gpus_get_the_average_and_some_slack_and_the_last_one_the_rest() -> None:
    first, second, ram, _ = split(TEN_LAYERS, [24 * GB, 24 * GB], 64 * GB, quantized=False)
    assert first.weight_bytes == 6 * GB  # 6 + 1.25 x 1, less the one that the first GPU keeps free
    assert second == Share(6 * GB, 5, has_head=True)
    assert ram.weight_bytes == 0


def test_what_fits_nowhere_is_told() -> None:
    _, ram, lost = split(TEN_LAYERS, [4 * GB], 4 * GB, quantized=False)
    assert ram.weight_bytes == 2 * GB
    assert lost.weight_bytes == 8 * GB
