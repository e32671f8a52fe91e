"""NVIDIA's devices: what each call's failure leaves, MIG, old drivers, who holds the memory."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from modeldeck.backend import devices, gpu_reader
from modeldeck.backend.cgroups import Cgroups
from modeldeck.backend.memory import RETRY_SECONDS, DeviceProcess, MemoryMonitor, MemoryReading, available_devices
from modeldeck.backend.nvml import Nvml, short_label
from tests.fakes.gpu_drivers import CODES, GB, GPU_CALLS, FakePynvml

ME = os.getpid()
OPENING_CALLS = ("nvmlInit", "nvmlDeviceGetCount")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def monitor(ml: FakePynvml, clock: Clock | None = None, visible: str | None = None) -> MemoryMonitor:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    nowhere = Path("/nowhere")
    return MemoryMonitor([Nvml(lambda: ml)], Cgroups(nowhere, nowhere), environ, clock=clock or Clock())


def read(ml: FakePynvml, visible: str | None = None) -> MemoryReading:
    return monitor(ml, visible=visible).read([ME])


def test_everything_that_a_gpu_says_is_read() -> None:
    ml = FakePynvml()
    ml.run(ME, 3 * GB)
    first, second = read(ml).devices
    assert (first.name, first.label, first.uuid) == ("cuda:0", "H100 80 GB", "GPU-0aaa-bbb")
    assert (first.free_bytes, first.utilization, first.temperature) == (70 * GB, 7, 61)
    assert (first.power_watts, first.power_limit_watts) == (412.3, 700.0)
    assert [(process.pid, process.used_bytes, process.ours) for process in first.processes] == [(ME, 3 * GB, True)]
    assert (second.name, second.processes) == ("cuda:1", ())
    assert read(ml).driver == "NVIDIA 570.86.15"


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("call", OPENING_CALLS)
def test_f27_no_code_of_a_driver_that_does_not_start_ends_a_reading(call: str, code: int) -> None:
    reading = read(FakePynvml(failing={call: code}))
    assert reading.devices == ()
    assert reading.ram.total_bytes > 0
    if code == 12:
        assert (reading.problem, reading.no_devices[:30]) == ("", "No NVIDIA or AMD driver answer")
    else:
        assert reading.problem.startswith("NVML: ")
        assert reading.problem.endswith(f"({code})")


@pytest.mark.parametrize("code", [*CODES, None])
@pytest.mark.parametrize("call", GPU_CALLS)
def test_f27_a_figure_that_fails_is_none_and_all_others_are_there(call: str, code: int | None) -> None:
    ml = FakePynvml(failing={call: code})
    ml.run(ME, 3 * GB)
    reading = read(ml)
    found = reading.devices
    assert [device.used_bytes for device in found] == [10 * GB] * 2
    assert reading.problem == ""
    told = (found[0].utilization, found[0].power_watts, found[0].power_limit_watts)
    expected = {
        "nvmlDeviceGetUtilizationRates": (None, 412.3, 700.0),
        "nvmlDeviceGetPowerUsage": (7, None, 700.0),
        "nvmlDeviceGetEnforcedPowerLimit": (7, 412.3, None),
    }
    assert told == expected.get(call, (7, 412.3, 700.0))
    assert found[0].temperature in {60, 61}
    assert len(found[0].processes) == 1


@pytest.mark.parametrize("code", CODES)
def test_f27_a_gpu_whose_memory_cannot_be_read_is_told_and_the_others_go_on(code: int) -> None:
    reading = read(FakePynvml(failing={"nvmlDeviceGetMemoryInfo 0": code}))
    if code == 3:  # not supported: it has no memory of its own
        assert [device.shares_ram for device in reading.devices] == [True, False]
        assert reading.devices[0].total_bytes == reading.ram.total_bytes
        return
    assert [device.name for device in reading.devices] == ["cuda:1"]
    assert [one.name for one in reading.unreadable] == ["cuda:0"]
    assert f"({code})" in reading.unreadable[0].reason
    assert reading.problem == f"cuda:0: {reading.unreadable[0].reason}"


@pytest.mark.parametrize("visible", [None, "0,1", "GPU-1"])
@pytest.mark.parametrize("code", CODES)
def test_f27_a_gpu_that_is_lost_from_the_start_leaves_the_others_and_their_numbers(
    code: int, visible: str | None
) -> None:
    failing: dict[str, int | None] = {"nvmlDeviceGetHandleByIndex 0": code}
    reading = read(FakePynvml(failing=failing), visible)
    name = "cuda:0" if visible == "GPU-1" else "cuda:1"
    assert [(device.name, device.uuid) for device in reading.devices] == [(name, "GPU-1aaa-bbb")]
    assert [one.name for one in reading.unreadable] == ([] if visible == "GPU-1" else ["cuda:0"])
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert available_devices([Nvml(lambda: FakePynvml(failing=failing))], environ) == ("auto", name, "cpu")


def test_f27_gpus_that_are_all_lost_from_the_start_are_told_and_tried_again() -> None:
    clock, ml = Clock(), FakePynvml(failing={"nvmlDeviceGetHandleByIndex": 15})
    watch = monitor(ml, clock)
    assert watch.read().problem == "cuda:0: GPU is lost (15); cuda:1: GPU is lost (15)"
    ml.failing.clear()
    clock.now += RETRY_SECONDS
    assert len(watch.read().devices) == 2


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (18, "NVML: driver mismatch (18)"),
        (9, "NVML: driver not loaded (9)"),
        (4, "NVML: no permission (4)"),
        (999, "NVML: unknown error (999)"),
    ],
)
def test_f27_the_problem_is_said_in_plain_words(code: int, problem: str) -> None:
    assert read(FakePynvml(failing={"nvmlInit": code})).problem == problem
    assert available_devices([Nvml(lambda: FakePynvml(failing={"nvmlInit": code}))], {}) == ("auto", "cpu")


def test_f27_a_lost_gpu_is_left_alone_for_half_a_minute_and_then_asked_by_a_driver_started_anew() -> None:
    clock, ml = Clock(), FakePynvml(failing={"nvmlDeviceGetMemoryInfo 0": 15})
    watch = monitor(ml, clock)
    for _ in range(3):
        reading = watch.read()
        assert [device.name for device in reading.devices] == ["cuda:1"]
        assert reading.problem == "cuda:0: GPU is lost (15)"
    assert ml.called.count("nvmlDeviceGetMemoryInfo") == 1 + 3
    ml.failing.clear()
    assert watch.read().problem
    clock.now += RETRY_SECONDS
    assert len(watch.read().devices) == 2
    assert watch.read().problem == ""
    assert (ml.called.count("nvmlInit"), ml.called.count("nvmlShutdown")) == (2, 1)


def test_f27_both_lost_gpus_are_told() -> None:
    reading = read(FakePynvml(failing={"nvmlDeviceGetMemoryInfo 0": 15, "nvmlDeviceGetMemoryInfo 1": 16}))
    assert reading.problem == "cuda:0: GPU is lost (15); cuda:1: GPU must be reset (16)"


def test_f27_a_failure_that_passes_is_over_with_the_next_reading() -> None:
    ml = FakePynvml(failing={"nvmlDeviceGetMemoryInfo 0": 10})
    watch = monitor(ml)
    assert len(watch.read().devices) == 1
    ml.failing.clear()
    assert len(watch.read().devices) == 2


def test_finding_the_devices_leaves_nothing_open() -> None:
    """An NVML that is still open somewhere would not start anew, and a GPU that was reset would stay lost."""
    ml = FakePynvml()
    available_devices([Nvml(lambda: ml)], {})
    assert (ml.called.count("nvmlInit"), ml.called.count("nvmlShutdown")) == (1, 1)


def test_f27_a_driver_that_does_not_start_is_tried_again_every_half_minute() -> None:
    clock, ml = Clock(), FakePynvml(failing={"nvmlInit": 18})
    watch = monitor(ml, clock)
    assert [bool(watch.read().problem) for _ in range(3)] == [True] * 3
    assert ml.called.count("nvmlInit") == 1
    clock.now += RETRY_SECONDS
    ml.failing.clear()
    assert len(watch.read().devices) == 2


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["0", "1"]),
        ("", []),
        ("0", ["0"]),
        ("1,0", ["1", "0"]),
        (" 1 , 0 ", ["1", "0"]),
        ("0,7,1", ["0"]),
        ("-1", []),
        ("0,-1,1", ["0"]),
        ("0,0", []),
        ("GPU-1a", ["1"]),
        ("GPU-nope,0", []),
        ("MIG-known", ["M"]),
        ("MIG-unknown,0", []),
        ("garbage", []),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(visible: str | None, names: list[str]) -> None:
    reading = read(FakePynvml(), visible)
    uuids = [f"GPU-{name}aaa-bbb" if name.isdecimal() else "MIG-known" for name in names]
    assert [device.uuid for device in reading.devices] == uuids
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert available_devices([Nvml(FakePynvml)], environ) == (
        "auto",
        *(f"cuda:{index}" for index in range(len(names))),
        "cpu",
    )
    hidden = "The list of visible devices in the environment hides all 2 GPUs of this machine."
    assert reading.no_devices == ("" if names else hidden)


def test_f27_a_mig_instance_has_its_own_memory_and_the_temperature_of_its_gpu() -> None:
    (instance,) = read(FakePynvml(), "MIG-known").devices
    assert (instance.label, instance.total_bytes) == ("A100-SXM4 MIG 1g.5gb", 5 * GB)
    assert (instance.utilization, instance.temperature, instance.power_watts) == (None, 61, 412.3)


@pytest.mark.parametrize(("instances", "uuid"), [(["", "MIG-known"], "MIG-known"), ([], "GPU-0aaa-bbb")])
def test_f27_of_a_gpu_cut_into_instances_cuda_sees_the_first(instances: list[str], uuid: str) -> None:
    ml = FakePynvml(count=1)
    ml.instances = {"GPU-0aaa-bbb": instances}
    assert [device.uuid for device in read(ml).devices] == [uuid]


def test_a_process_that_computes_and_draws_is_counted_once_and_the_most_come_first() -> None:
    ml = FakePynvml()
    ml.run(ME, 2 * GB)
    ml.run(ME, 2 * GB, graphics=True)
    ml.run(1, 3 * GB, graphics=True)
    ml.run(2**22 + 1, None)
    processes = read(ml).devices[0].processes
    assert [(one.pid, one.used_bytes, one.ours) for one in processes] == [
        (1, 3 * GB, False),
        (ME, 2 * GB, True),
        (2**22 + 1, None, False),
    ]
    gone = DeviceProcess(pid=2**22 + 1, user="?", name="?", used_bytes=None)
    assert processes[2] == gone


def test_an_old_driver_tells_the_processes_by_the_older_call() -> None:
    older = dict.fromkeys(["nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v3"], 13)
    ml = FakePynvml(failing={**older, "nvmlDeviceGetTemperatureV": 13})
    ml.run(ME, GB)
    device = read(ml).devices[0]
    assert (len(device.processes), device.temperature) == (1, 60)


def test_an_old_driver_tells_the_memory_without_the_second_version() -> None:
    class Old(FakePynvml):
        def _GetMemoryInfo(self, handle: str, version: int | None = None) -> SimpleNamespace:
            if version is not None:
                raise self.NVMLError(13)
            return super()._GetMemoryInfo(handle)

    assert read(Old()).devices[0].used_bytes == 10 * GB


def test_hostile_names_are_cleaned() -> None:
    class Hostile(FakePynvml):
        def _GetName(self, handle: str) -> bytes:
            return b"\x1b[31mNVIDIA\nH100 \xff"

        def _SystemGetDriverVersion(self) -> str:
            return "\x1b]0;x\x07"

    reading = read(Hostile())
    assert all(char.isprintable() for char in reading.devices[0].label + reading.driver)


def test_on_a_mac_the_ram_is_the_memory_of_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_reader, "gpu_shares_ram", lambda: True)
    monkeypatch.setattr(devices, "gpu_shares_ram", lambda: True)
    assert "shares the RAM" in MemoryMonitor([], environ={}).read().no_devices
    assert available_devices([], {}) == ("auto", "mps", "cpu")


def test_without_a_driver_the_real_library_says_so_and_nothing_raises() -> None:
    reading = MemoryMonitor().read()
    assert reading.devices or reading.no_devices or reading.problem
    assert available_devices()[0] == "auto"
    assert available_devices()[-1] == "cpu"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("NVIDIA H100 80GB HBM3", "H100 80 GB"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090 24 GB"),
        ("NVIDIA A100-SXM4-40GB", "A100-SXM4 40 GB"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "A100-SXM4 MIG 1g.5gb"),
        ("", "GPU 24 GB"),
    ],
)
def test_labels_are_short(name: str, label: str) -> None:
    assert short_label(name, 24 * GB) == label


def test_a_gpu_without_memory_of_its_own_has_no_size_in_its_label() -> None:
    assert short_label("NVIDIA GB10", None) == "GB10"
