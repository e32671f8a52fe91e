"""A crash from which there is no orderly way out either (F31)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.engine_python import use_scripted_engine
from tests.terminal.harness import assert_restored, is_alive, terminal
from tests.terminal.test_terminal import CRASH, load, patched
from tests.unit.cli.conftest import write_model

pytestmark = pytest.mark.pty
CRASH_AND_HANG = (
    CRASH
    + """
import asyncio
from modeldeck.backend.pipeline_manager import PipelineManager
PipelineManager.close = lambda self: asyncio.Event().wait()
"""
)


def test_f31_a_crash_whose_way_out_hangs_ends_all_the_same(home: Path) -> None:
    write_model(home / "models" / "tiny-llama")
    use_scripted_engine(home).write_text("serve")
    with terminal(command=patched(CRASH_AND_HANG)) as opened:
        load(opened)
        opened.press("?")
        assert opened.ended(10) == 1
        assert_restored(opened)
        assert not any(is_alive(child) for child in opened.seen)
