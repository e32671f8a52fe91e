"""What unloading gives back."""

from __future__ import annotations

from msgspec.structs import replace

from modeldeck.backend.estimate.credit import added, held_by
from modeldeck.backend.memory_reading import DeviceProcess, EngineMemory
from modeldeck.backend.models import LoadedModel
from tests.unit.estimate.samples import GB, machine

LOADED = LoadedModel(
    model_id="a",
    device="cuda:0",
    dtype="bfloat16",
    quantization="none",
    context_length=None,
    weight_bytes=16 * GB,
    parameters=1,
    has_chat_template=False,
    seconds=1.0,
    peaks={"cuda:0": 18 * GB},
)


def test_a_gpu_gives_back_what_the_driver_says_of_this_engine() -> None:
    this = DeviceProcess(pid=1, user="us", name="python", used_bytes=17 * GB, ours=True)
    its_child = DeviceProcess(pid=11, user="us", name="python", used_bytes=GB, ours=True)
    another = DeviceProcess(pid=2, user="us", name="python", used_bytes=9 * GB, ours=True)
    memory = machine(40 * GB, processes=(another, this, its_child))
    assert held_by(memory, 1, LOADED) == {"cuda:0": 17 * GB}
    assert held_by(replace(memory, engines=(EngineMemory(1, 0, (1, 11)),)), 1, LOADED) == {"cuda:0": 18 * GB}


def test_where_the_driver_says_nothing_the_engines_own_figure_counts() -> None:
    assert held_by(machine(40 * GB), 1, LOADED) == {"cuda:0": 18 * GB}
    assert held_by(machine(79 * GB), 1, LOADED) == {"cuda:0": GB}, "never more than is used"


def test_ram_gives_back_what_this_engine_has() -> None:
    memory = replace(machine(), engines=(EngineMemory(1, 20 * GB), EngineMemory(2, 3 * GB)))
    on_cpu = replace(LOADED, device="cpu", peaks={"ram": 20 * GB})
    assert held_by(memory, 1, on_cpu) == {"ram": 20 * GB}
    assert held_by(memory, 3, on_cpu) == {}


def test_several_give_back_what_they_have_together() -> None:
    assert added([{"cuda:0": 3, "ram": 1}, {}, {"cuda:0": 4, "cuda:1": 5}]) == {"cuda:0": 7, "cuda:1": 5, "ram": 1}
    assert added([]) == {}
