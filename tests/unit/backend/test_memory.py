from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from modeldeck.backend.cgroups import Cgroups, MemoryLimit
from modeldeck.backend.gpu_driver import GpuDriver
from modeldeck.backend.memory import MemoryMonitor, usable_cores

NO_DRIVERS: tuple[GpuDriver, ...] = ()


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


def test_ram_is_what_the_machine_has_where_nothing_limits_it(no_groups: Cgroups) -> None:
    ram = MemoryMonitor(NO_DRIVERS, no_groups, {}).read().ram
    assert ram.total_bytes == psutil.virtual_memory().total
    assert 0 < ram.used_bytes < ram.total_bytes


@pytest.mark.parametrize(
    ("total", "limit", "expected"),
    [(0, "max", None), (4000, "max", (500, 4000)), (4000, "1000", (300, 1000)), (4000, "0", None)],
)
def test_swap_is_what_the_machine_and_the_group_leave(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, total: int, limit: str, expected: tuple[int, int] | None
) -> None:
    limits = groups(tmp_path, "0::/\n", {"memory.swap.max": limit, "memory.swap.current": "300"})
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(total=total, used=500))
    swap = MemoryMonitor(NO_DRIVERS, limits, {}).read().swap
    assert (None if swap is None else (swap.used_bytes, swap.total_bytes)) == expected


@pytest.mark.parametrize("error", [OSError, RuntimeError])
def test_a_swap_that_nobody_may_look_at_is_left_out(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def refuse() -> None:
        raise error("no /proc/vmstat")

    monkeypatch.setattr(psutil, "swap_memory", refuse)
    assert MemoryMonitor(NO_DRIVERS, environ={}).read().swap is None


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
    ram = MemoryMonitor(NO_DRIVERS, limits, {}).read().ram
    assert (ram.total_bytes, ram.used_bytes) == (2_000_000, 600_000)
    assert usable_cores(limits) == min(2, len(os.sched_getaffinity(0)))


GB = 10**9


@pytest.mark.parametrize(
    ("files", "available", "expected"),
    [
        ({"box/memory.max": 60 * GB, "box/memory.current": GB}, 5 * GB, (60 * GB, 5 * GB)),
        ({"box/memory.max": 60 * GB, "box/memory.current": 58 * GB}, 50 * GB, (60 * GB, 2 * GB)),
        (
            {
                "box/job/memory.max": 10 * GB,
                "box/job/memory.current": GB,
                "box/memory.max": 40 * GB,
                "box/memory.current": 39 * GB,
            },
            50 * GB,
            (10 * GB, GB),
        ),
        ({"box/memory.max": 100 * GB, "box/memory.current": 99 * GB}, 50 * GB, (64 * GB, GB)),
    ],
    ids=["the host has least", "the group has least", "a full slice above", "wider than the host, and full"],
)
def test_free_is_what_the_machine_and_every_group_leave(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    files: Mapping[str, int],
    available: int,
    expected: tuple[int, int],
) -> None:
    limits = groups(tmp_path, "0::/box/job\n", {name: str(value) for name, value in files.items()})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * GB, available=available))
    ram = MemoryMonitor(NO_DRIVERS, limits, {}).read().ram
    assert (ram.total_bytes, ram.free_bytes) == expected


@pytest.mark.parametrize(("inactive", "active"), [(8, 1), (1, 8)])
def test_weights_that_an_engine_has_mapped_count_once_on_whichever_list_they_are(
    tmp_path: Path, inactive: int, active: int
) -> None:
    stat = f"inactive_file {inactive * GB}\nactive_file {active * GB}\n"
    limits = groups(
        tmp_path,
        "0::/\n",
        {"memory.max": str(20 * GB), "memory.current": str(12 * GB), "memory.stat": stat},
    )
    found = limits.memory(mapped=8 * GB)
    assert found is not None
    assert found.used_bytes == 11 * GB  # 3 of them are no files


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
    monitor = MemoryMonitor(NO_DRIVERS, no_groups, {})
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
    monitor = MemoryMonitor(NO_DRIVERS, no_groups, {}, proc=tmp_path)
    assert monitor.read([os.getpid()]).engine_bytes > 2**20
    assert monitor.read([-5, 2**40]).engine_bytes == 0


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    script = "import sys, modeldeck.backend.memory; print({'psutil', 'pynvml', 'amdsmi', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
