"""However the program dies, its engines die with it (F1)."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.driving import children, is_alive, kill
from tests.helpers import eventually

ROOT = Path(__file__).resolve().parents[2]
PARENT = """
import asyncio, sys
from contextlib import aclosing
from modeldeck.config.generation import BUILT_IN
from modeldeck.backend.pipeline_manager import PipelineManager
from tests.fakes.driving import HELLO, a_request, load
from tests.fakes.scripted_engine import scripted_starter

async def main():
    manager = PipelineManager(scripted_starter(sys.argv[1], "serve"), keep_spare=True)
    await manager.warm()
    if sys.argv[2] == "before the load":
        print("there", flush=True)
        await asyncio.sleep(600)
    async with aclosing(manager.load(a_request())) as steps:
        async for step in steps:
            if step.done and sys.argv[2] == "while loading":
                print("there", flush=True)
    async with aclosing(manager.generate(HELLO, BUILT_IN)) as events:
        async for event in events:
            print("there", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("when", "script"),
    [
        ("before the load", "ready\nhang"),
        ("while loading", "ready\nwait load\nprogress reading_weights 1 2\nhang"),
        ("while replying", "ready\nwait load\nfinished\nwait generate\ntokens on and on\nhang"),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_f1_a_killed_program_leaves_no_engine(when: str, script: str, number: signal.Signals) -> None:
    parent = subprocess.Popen(  # noqa: ASYNC220  # spawning takes a moment and nothing else runs here
        [sys.executable, "-c", PARENT, script, when], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    try:
        assert await asyncio.to_thread(parent.stdout.readline) == b"there\n"
        engines = children(parent.pid)
        assert engines
        kill(parent.pid, number)
        parent.wait()
        await eventually(lambda: not any(map(is_alive, engines)), 5, "the end of the engines")
    finally:
        parent.kill()
        parent.stdout.close()
        parent.wait()
