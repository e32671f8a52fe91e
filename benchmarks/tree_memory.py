"""What a process and everything below it take of the RAM."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress

import psutil

from modeldeck.backend.pipeline_manager import PipelineManager


def tree_bytes(pid: int, without: Collection[int] = ()) -> int:
    """The proportional set size (PSS) of a process and its children, but for some of them."""
    root = psutil.Process(pid)
    total = 0
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.Error):  # it has just ended
            total += 0 if process.pid in without else process.memory_full_info().pss
    return total


def our_bytes(manager: PipelineManager) -> int:
    """Of this process and the engines; the spare is left out while it is one, since it holds no model."""
    return tree_bytes(os.getpid(), set(manager.engine_pids) - set(manager.model_pids))
