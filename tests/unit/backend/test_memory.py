from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from modeldeck.backend.cgroups import Cgroups, MemoryLimit
from modeldeck.backend.memory import RETRY_SECONDS, MemoryMonitor, available_devices, usable_cores
from modeldeck.backend.nvml import Gpu, NvmlError, Pynvml, short_label

GB = 2**30


class FakeDriver:
    """Two GPUs; ``failures`` says which call raises which NVML code."""

    def __init__(self, **failures: int) -> None:
        self.failures = failures
        self.starts = 0

    def _may_fail(self, call: str) -> None:
        if call in self.failures:
            raise NvmlError(self.failures[call], "Some Words")

    def init(self) -> None:
        self.starts += 1
        self._may_fail("init")

    def count(self) -> int:
        self._may_fail("count")
        return 2

    def by_index(self, index: int) -> str:
        self._may_fail("by_index")
        return f"GPU-{index}aaa-bbb"

    def by_uuid(self, uuid: str) -> str:
        if uuid != "MIG-known":
            raise NvmlError(6, "Not Found")
        return uuid

    def uuid(self, handle: str) -> str:
        return handle

    def read(self, handle: str) -> Gpu:
        self._may_fail("read")
        self._may_fail(handle)
        return Gpu("NVIDIA H100 80GB HBM3", 10 * GB, 80 * GB, 7)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def no_groups(tmp_path: Path) -> Cgroups:
    return Cgroups(tmp_path / "none", tmp_path / "none")


def groups(tmp_path: Path, membership: str, files: Mapping[str, str]) -> Cgroups:
    mount = tmp_path / "cgroup"
    for name, text in files.items():
        path = mount / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "membership").write_text(membership)
    return Cgroups(mount, tmp_path / "membership")


def test_gpus_are_named_as_torch_names_them(no_groups: Cgroups) -> None:
    reading = MemoryMonitor(FakeDriver(), no_groups, {}).read()
    assert [device.name for device in reading.devices] == ["cuda:0", "cuda:1"]
    first = reading.devices[0]
    assert (first.label, first.free_bytes, first.utilization) == ("H100 80 GB", 70 * GB, 7)
    assert reading.problem == ""


@pytest.mark.parametrize(
    ("visible", "count"),
    [
        ("", 0),
        ("0", 1),
        ("1,0", 2),
        (" 1 , 0 ", 2),
        ("0,7,1", 1),
        ("-1", 0),
        ("0,-1,1", 1),
        ("0,0", 0),
        ("GPU-1a", 1),
        ("GPU-nope,0", 0),
        ("MIG-known", 1),
        ("MIG-unknown,0", 0),
        ("garbage", 0),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(no_groups: Cgroups, visible: str, count: int) -> None:
    environ = {"CUDA_VISIBLE_DEVICES": visible}
    reading = MemoryMonitor(FakeDriver(), no_groups, environ).read()
    assert len(reading.devices) == count
    assert available_devices(FakeDriver(), environ)[1 : 1 + count] == tuple(f"cuda:{n}" for n in range(count))


@pytest.mark.parametrize("call", ["init", "count", "by_index", "read"])
@pytest.mark.parametrize("code", [1, 2, 3, 4, 6, 9, 10, 13, 15, 16, 17, 18, 20, 999])
def test_no_code_of_the_driver_ends_a_reading(no_groups: Cgroups, call: str, code: int) -> None:
    reading = MemoryMonitor(FakeDriver(**{call: code}), no_groups, {}).read()
    assert reading.devices == ()
    assert f"({code})" in reading.problem
    assert reading.ram.total_bytes > 0


@pytest.mark.parametrize(
    ("code", "problem"),
    [(18, "NVML: driver mismatch (18)"), (9, "NVML: driver not loaded (9)"), (12, ""), (999, "NVML: some words (999)")],
)
def test_the_problem_is_said_in_plain_words(no_groups: Cgroups, code: int, problem: str) -> None:
    assert MemoryMonitor(FakeDriver(init=code), no_groups, {}).read().problem == problem
    assert available_devices(FakeDriver(init=code), {})[:1] == ("auto",)


def test_a_lost_gpu_leaves_the_others(no_groups: Cgroups) -> None:
    driver = FakeDriver(**{"GPU-0aaa-bbb": 15})
    monitor = MemoryMonitor(driver, no_groups, {})
    for _ in range(2):
        reading = monitor.read()
        assert [device.name for device in reading.devices] == ["cuda:1"]
        assert reading.problem == "cuda:0: GPU is lost (15)"
    driver.failures.clear()
    assert monitor.read().problem == ""


def test_a_broken_driver_is_tried_again_every_half_minute(no_groups: Cgroups) -> None:
    clock, driver = Clock(), FakeDriver(read=15)
    monitor = MemoryMonitor(driver, no_groups, {}, clock=clock)
    assert [bool(monitor.read().problem) for _ in range(3)] == [True] * 3
    assert driver.starts == 1
    clock.now += RETRY_SECONDS + 1
    driver.failures.clear()
    assert len(monitor.read().devices) == 2
    assert (driver.starts, monitor.read().problem) == (2, "")


def test_without_a_driver_the_real_library_says_so_and_nothing_raises(no_groups: Cgroups) -> None:
    reading = MemoryMonitor(Pynvml(), no_groups, {}).read()
    assert reading.devices or reading.problem == "" or reading.problem.startswith("NVML: ")
    assert available_devices()[0] == "auto"
    assert available_devices()[-1] == "cpu"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("NVIDIA H100 80GB HBM3", "H100 80 GB"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090 24 GB"),
        ("NVIDIA A100-SXM4-40GB", "A100-SXM4 40 GB"),
        ("", "GPU 24 GB"),
    ],
)
def test_labels_are_short(name: str, label: str) -> None:
    assert short_label(name, 24 * GB) == label


def test_ram_is_what_the_machine_has_where_nothing_limits_it(no_groups: Cgroups) -> None:
    ram = MemoryMonitor(FakeDriver(), no_groups, {}).read().ram
    assert ram.total_bytes == psutil.virtual_memory().total
    assert 0 < ram.used_bytes < ram.total_bytes


V2 = {
    "box/memory.max": "2000000",
    "box/memory.current": "900000",
    "box/memory.stat": "anon 5\ninactive_file 300000\n",
    "box/job/memory.max": "max",
    "box/job/cpu.max": "max 100000",
    "box/cpu.max": "250000 100000",
}
V1 = {
    "memory/memory.limit_in_bytes": str(2**63 - 4096),
    "memory/job/memory.limit_in_bytes": "2000000",
    "memory/job/memory.usage_in_bytes": "900000",
    "memory/job/memory.stat": "total_inactive_file 300000\n",
    "cpu,cpuacct/cpu.cfs_quota_us": "-1",
    "cpu,cpuacct/cpu.cfs_period_us": "100000",
    "cpu,cpuacct/job/cpu.cfs_quota_us": "250000",
    "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
}


@pytest.mark.parametrize(
    ("membership", "files"),
    [("0::/box/job\n", V2), ("4:memory:/job\n3:cpu,cpuacct:/job\n1:name=systemd:/x\n0::/\n", V1)],
    ids=["v2", "v1"],
)
def test_the_tightest_limit_of_all_groups_above_counts(
    tmp_path: Path, membership: str, files: Mapping[str, str]
) -> None:
    limits = groups(tmp_path, membership, files)
    assert limits.memory() == MemoryLimit(2_000_000, 600_000)
    assert limits.cores() == 2.5
    ram = MemoryMonitor(FakeDriver(), limits, {}).read().ram
    assert (ram.total_bytes, ram.used_bytes) == (2_000_000, 600_000)
    assert usable_cores(limits) == min(2, len(os.sched_getaffinity(0)))


def test_a_path_of_the_host_inside_a_container_falls_back_to_the_mount(tmp_path: Path) -> None:
    files = {"memory.max": "1000000", "memory.current": "4", "cpu.max": "50000 100000"}
    limits = groups(tmp_path, "0::/docker/abc\n", files)
    assert limits.memory() == MemoryLimit(1_000_000, 4)
    assert usable_cores(limits) == 1


@pytest.mark.parametrize("text", ["", "max", "garbage", "-1", "1 2 3", "0 0", "max 0", "100000 0"])
def test_strange_limits_are_none(tmp_path: Path, text: str) -> None:
    limits = groups(tmp_path, "0::/\nnonsense\n", {"cpu.max": text, "memory.max": text if text != "-1" else "max"})
    assert limits.cores() is None
    assert limits.memory() is None
    assert usable_cores(limits) == len(os.sched_getaffinity(0))


def test_the_engine_is_counted_with_its_children(no_groups: Cgroups) -> None:
    script = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'x = bytes([1]) * 2**26; print(1, flush=True); input()'],"
        " stdout=sys.stdout, stdin=sys.stdin)\n"
        "child.wait()\n"
    )
    monitor = MemoryMonitor(FakeDriver(), no_groups, {})
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, text=True) as engine:
        assert engine.stdout is not None
        assert engine.stdout.readline() == "1\n"
        engine_bytes = monitor.read([engine.pid]).engine_bytes
        assert monitor.read([engine.pid, engine.pid]).engine_bytes < 1.5 * engine_bytes
        engine.communicate("\n")
    assert engine_bytes > 2**26
    assert monitor.read([engine.pid]).engine_bytes == 0


def test_without_the_kernels_lists_the_resident_size_is_taken(no_groups: Cgroups, tmp_path: Path) -> None:
    monitor = MemoryMonitor(FakeDriver(), no_groups, {}, proc=tmp_path)
    assert monitor.read([os.getpid()]).engine_bytes > 2**20
    assert monitor.read([-5, 2**40]).engine_bytes == 0


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    script = "import sys, modeldeck.backend.memory; print({'psutil', 'pynvml', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
