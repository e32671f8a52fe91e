"""The split that ``device_map="auto"`` makes, reckoned from sizes alone.

After ``get_balanced_memory`` and ``infer_auto_device_map`` of transformers 5.23 (``integrations/accelerate.py``):

- a single GPU is filled to nine tenths of what is free; of several, all but the last get the average share and a
  quarter more than the largest module;
- a quantizer takes another tenth away from every device, also from the RAM (``adjust_max_memory``);
- the first GPU, and the RAM, keep room for the largest module that is still to come;
- ``sequential`` leaves out the average, and a limit that was asked for counts like less memory;
- modules go in their order, and never back to a device that was left.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from msgspec import Struct

_SINGLE_GPU_SHARE = 0.9
_RAM_SHARE = 0.9
_QUANTIZED_SHARE = 0.9
_SLACK = 1.25


class Share(Struct):
    """What one device gets."""

    weight_bytes: int = 0
    layers: int = 0
    """How many layers, which keep their part of the cache."""
    has_head: bool = False
    """Whether the last module is there, and with it the logits."""


class Run(Struct, frozen=True, gc=False):
    """Equal modules behind one another."""

    module_bytes: int
    count: int
    is_layer: bool


def split(
    runs: Sequence[Run],
    gpu_free: Sequence[int],
    ram_free: int,
    *,
    quantized: bool,
    sequential: bool = False,
    limits: Sequence[int | None] = (),
) -> list[Share]:
    """The share of each GPU, of the RAM, and of what fits nowhere (transformers would write it to the disk).

    ``limits`` are the most bytes of each GPU and then of the RAM; None has no limit. ``sequential`` fills one GPU
    before the next.
    """
    capacities = _capacities(runs, gpu_free, ram_free, quantized, sequential, limits)
    shares = [Share() for _ in range(len(gpu_free) + 2)]
    device = 0
    for index, run in enumerate(runs):
        left = run.count
        while left:
            largest = max(later.module_bytes for later in runs[index:])
            reserved = largest if device in (0, len(gpu_free)) else 0
            fitting = _fitting(run, left, capacities[device] - reserved - shares[device].weight_bytes, device, shares)
            _put(shares[device], run, fitting)
            left -= fitting
            device += 1 if left else 0
    shares[device].has_head = True
    return shares


def _fitting(run: Run, left: int, room: float, device: int, shares: list[Share]) -> int:
    if device == len(shares) - 1 or not run.module_bytes:
        return left
    return max(0, min(left, int(room // run.module_bytes)))


def _put(share: Share, run: Run, count: int) -> None:
    share.weight_bytes += count * run.module_bytes
    share.layers += count if run.is_layer else 0


def _capacities(
    runs: Sequence[Run],
    gpu_free: Sequence[int],
    ram_free: int,
    quantized: bool,
    sequential: bool,
    limits: Sequence[int | None],
) -> list[float]:
    capacities: list[float] = [float(free) for free in gpu_free]
    if len(capacities) == 1:
        capacities[0] *= _SINGLE_GPU_SHARE
    capacities = [_within(room, limit) for room, limit in zip_longest(capacities, limits[: len(capacities)])]
    if len(capacities) > 1 and not sequential:
        total = sum(run.count * run.module_bytes for run in runs)
        average = total // len(capacities) + int(_SLACK * max(run.module_bytes for run in runs))
        capacities[:-1] = [min(average, free) for free in capacities[:-1]]
    capacities.append(_within(ram_free * _RAM_SHARE, limits[len(gpu_free)] if len(limits) > len(gpu_free) else None))
    return [capacity * (_QUANTIZED_SHARE if quantized else 1) for capacity in capacities] + [float("inf")]


def _within(room: float, limit: int | None) -> float:
    return room if limit is None else min(room, limit)
