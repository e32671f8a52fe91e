"""What only a GPU can show; skipped, with the reason, where torch sees none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from tests.real.engine import Engine, running_engine

GPU = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them all; they load models of some hundred megabytes."""
    for item in items:
        if GPU in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            item.add_marker(pytest.mark.timeout(600))


@cache
def gpu_count() -> int:
    """How many GPUs torch sees, asked in a process of its own: CUDA in this one would be counted as somebody else's."""
    code = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    lines = asked.stdout.split()
    return int(lines[-1]) if asked.returncode == 0 and lines else 0


@pytest.fixture(autouse=True)
def gpu() -> None:
    if gpu_count() == 0:
        pytest.skip("torch sees no CUDA device on this machine")


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 350 MB with random weights."""
    if gpu_count() == 0:
        pytest.skip("torch sees no CUDA device on this machine")
    from benchmarks.estimate_models import write_checkpoint

    return write_checkpoint("llama untied", tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture
def start_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Engine]]:
    """Start engines with what of the environment a GPU needs, and more; they end with the test."""
    with ExitStack() as engines:

        def start(**more: str) -> Engine:
            environment = dict(os.environ) | {"HF_HUB_OFFLINE": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"} | more
            return engines.enter_context(running_engine(tmp_path_factory.mktemp("home"), environment))

        yield start
