"""AMD's devices, through a module that is there only where ROCm is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modeldeck.backend.amdsmi import AmdSmi
from modeldeck.backend.cgroups import Cgroups
from modeldeck.backend.memory import MemoryMonitor, MemoryReading, available_devices
from modeldeck.backend.nvml import Nvml
from tests.fakes.gpu_drivers import GB, FakeAmdSmi, FakePynvml, no_module

NO_NVIDIA = FakePynvml(failing={"nvmlInit": 12})
FIGURES = {
    "amdsmi_get_gpu_activity": "utilization",
    "amdsmi_get_temp_metric": "temperature",
    "amdsmi_get_power_info": "power_watts",
    "amdsmi_get_power_cap_info": "power_limit_watts",
}


def read(smi: Any, environ: dict[str, str] | None = None, ml: FakePynvml = NO_NVIDIA) -> MemoryReading:
    nowhere = Path("/nowhere")
    return MemoryMonitor([Nvml(lambda: ml), AmdSmi(lambda: smi)], Cgroups(nowhere, nowhere), environ or {}).read()


def test_everything_that_an_amd_gpu_says_is_read() -> None:
    reading = read(FakeAmdSmi())
    first = reading.devices[0]
    assert [device.name for device in reading.devices] == ["cuda:0", "cuda:1"]
    assert (first.label, first.used_bytes, first.total_bytes) == ("AMD Instinct MI300X 192 GB", GB, 196_592 * 2**20)
    assert (first.utilization, first.temperature) == (41, 55)
    assert (first.power_watts, first.power_limit_watts) == (301.0, 750.0)
    assert [(one.pid, one.used_bytes) for one in first.processes] == [(1, 5 * GB)]
    assert (reading.driver, reading.problem) == ("AMD 6.12.12", "")


@pytest.mark.parametrize("code", [2, None])
@pytest.mark.parametrize("call", FIGURES)
def test_f27_a_figure_that_fails_is_none_and_all_others_are_there(call: str, code: int | None) -> None:
    first = read(FakeAmdSmi({call: code})).devices[0]
    told = {name: getattr(first, name) is not None for name in FIGURES.values()}
    assert told == {name: name != FIGURES[call] for name in FIGURES.values()}


@pytest.mark.parametrize(
    "call",
    [
        "amdsmi_get_gpu_process_list",
        "amdsmi_get_gpu_asic_info",
        "amdsmi_get_gpu_device_uuid",
        "amdsmi_get_gpu_driver_info",
    ],
)
def test_f27_what_a_device_does_not_say_of_itself_takes_nothing_else_away(call: str) -> None:
    assert len(read(FakeAmdSmi({call: 10})).devices) == 2


@pytest.mark.parametrize("call", ["amdsmi_init", "amdsmi_get_processor_handles", "amdsmi_get_gpu_vram_usage"])
def test_f27_a_driver_that_does_not_work_is_told(call: str) -> None:
    reading = read(FakeAmdSmi({call: 34}))
    assert reading.devices == ()
    assert "(34)" in reading.problem
    assert reading.problem.isprintable()


def test_other_releases_count_in_other_units_and_leave_figures_out() -> None:
    odd = FakeAmdSmi(
        get_temp_metric=55_000,
        get_power_info={"current_socket_power": "N/A", "average_socket_power": 90},
        get_power_cap_info={"power_cap": 300},
        get_gpu_activity={"gfx_activity": "N/A"},
        get_gpu_process_list=["a handle", {"pid": "N/A"}, {"pid": 7}],
    )
    first = read(odd).devices[0]
    assert (first.temperature, first.power_watts, first.power_limit_watts, first.utilization) == (55, 90.0, 300.0, None)
    assert [(one.pid, one.used_bytes) for one in first.processes] == [(7, None)]


@pytest.mark.parametrize(
    ("environ", "count"),
    [
        ({"HIP_VISIBLE_DEVICES": "1"}, 1),
        ({"CUDA_VISIBLE_DEVICES": "1"}, 1),
        ({"HIP_VISIBLE_DEVICES": "0,1", "CUDA_VISIBLE_DEVICES": "1"}, 2),
        ({"ROCR_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "0"}, 1),
        ({"ROCR_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "1"}, 0),
        ({"ROCR_VISIBLE_DEVICES": ""}, 0),
    ],
)
def test_the_lists_of_visible_devices_are_read_as_rocm_reads_them(environ: dict[str, str], count: int) -> None:
    assert len(read(FakeAmdSmi(), environ).devices) == count
    assert len(available_devices([AmdSmi(FakeAmdSmi)], environ)) == count + 2


def test_amd_is_asked_only_where_nvidia_has_nothing() -> None:
    asked: list[str] = []

    def load() -> FakeAmdSmi:
        asked.append("amdsmi")
        return FakeAmdSmi()

    MemoryMonitor([Nvml(FakePynvml), AmdSmi(load)], environ={}).read()
    assert asked == []


def test_a_broken_nvidia_driver_beside_working_amd_gpus_is_no_problem() -> None:
    reading = read(FakeAmdSmi(), ml=FakePynvml(failing={"nvmlInit": 9}))
    assert (len(reading.devices), reading.problem) == (2, "")


def test_without_either_there_is_one_sentence() -> None:
    monitor = MemoryMonitor([Nvml(lambda: NO_NVIDIA), AmdSmi(no_module)], environ={})
    assert monitor.read().no_devices == "No NVIDIA or AMD driver answers on this machine, so models run on the CPU."
