"""What unloading gives back."""

from __future__ import annotations

from msgspec.structs import replace

from modeldeck.backend.estimate.credit import credit_of
from modeldeck.backend.memory_reading import DeviceProcess
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


def test_a_gpu_gives_back_what_the_driver_says_of_our_engine() -> None:
    ours = DeviceProcess(pid=1, user="us", name="python", used_bytes=17 * GB, ours=True)
    others = DeviceProcess(pid=2, user="ann", name="python", used_bytes=9 * GB)
    assert credit_of(machine(40 * GB, processes=(others, ours)), LOADED) == {"cuda:0": 17 * GB}


def test_where_the_driver_says_nothing_the_engines_own_figure_counts() -> None:
    assert credit_of(machine(40 * GB), LOADED) == {"cuda:0": 18 * GB}
    assert credit_of(machine(79 * GB), LOADED) == {"cuda:0": GB}, "never more than is used"


def test_ram_gives_back_what_the_engine_has() -> None:
    memory = replace(machine(), engine_bytes=20 * GB)
    on_cpu = replace(LOADED, device="cpu", peaks={"ram": 20 * GB})
    assert credit_of(memory, on_cpu) == {"ram": 20 * GB}
    assert credit_of(replace(memory, engine_bytes=0), on_cpu) == {}


def test_without_a_model_there_is_nothing_to_give_back() -> None:
    assert credit_of(machine(40 * GB), None) == {}
