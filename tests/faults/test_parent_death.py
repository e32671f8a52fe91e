"""However the program dies, its engines die with it (F1)."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from modeldeck.backend.embedded import engine_command
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
        await eventually(lambda: not any(map(is_alive, engines)), 2, "the end of the engines")
    finally:
        parent.kill()
        parent.stdout.close()
        parent.wait()


IMPORTING = "import sys\nprint('importing', file=sys.stderr, flush=True)\n"
WAITS = IMPORTING + "import threading\nthreading.Event().wait()"
HOLDS_THE_GIL = IMPORTING + "import ctypes\nctypes.PyDLL(None).pause()"
"""As a driver does that initialises a GPU: no thread of the engine runs meanwhile, so only the kernel can end it."""
STARTER = """
import asyncio, os, sys
from modeldeck.backend.engine_client import EngineClient

async def main():
    engine = await EngineClient.start(sys.argv[1:], dict(os.environ), on_log=lambda line: print(line, flush=True))
    print("started", flush=True)
    await engine.gone

asyncio.run(main())
"""
DOWNLOADER = (sys.executable, "-P", "-m", "modeldeck.backend.downloader")


@pytest.fixture
def hanging_torch(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """An environment in which the import of torch never ends."""
    (tmp_path / "torch.py").write_text(request.param)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}


@pytest.mark.parametrize("hanging_torch", [WAITS, HOLDS_THE_GIL], indirect=True, ids=["waiting", "holding the GIL"])
@pytest.mark.parametrize("command", [engine_command(), engine_command(sys.executable)], ids=["own", "engine_python"])
async def test_f1_a_killed_program_leaves_no_engine_that_still_imports_torch(
    hanging_torch: dict[str, str], command: tuple[str, ...]
) -> None:
    await _ends_with_its_parent(command, b"importing\n", hanging_torch)


async def test_f1_a_killed_program_leaves_no_download() -> None:
    await _ends_with_its_parent(DOWNLOADER, b"started\n", dict(os.environ))


async def _ends_with_its_parent(command: tuple[str, ...], moment: bytes, environment: dict[str, str]) -> None:
    """A parent that starts this child, and is killed as soon as it has said so."""
    parent = subprocess.Popen(  # noqa: ASYNC220  # spawning takes a moment and nothing else runs here
        [sys.executable, "-c", STARTER, *command], env=environment, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    try:
        while await asyncio.to_thread(parent.stdout.readline) != moment:
            assert parent.poll() is None
        child = children(parent.pid)
        assert child
        kill(parent.pid)
        parent.wait()
        await eventually(lambda: not any(map(is_alive, child)), 2, "the end of the child")
    finally:
        parent.kill()
        parent.stdout.close()
        parent.wait()


@pytest.mark.parametrize("hanging_torch", [WAITS], indirect=True, ids=["waiting"])
def test_f1_the_end_of_its_pipe_alone_ends_an_engine_that_still_imports_torch(hanging_torch: dict[str, str]) -> None:
    """Where there is no signal of a parent's death, as on macOS."""
    with subprocess.Popen(
        engine_command(), env=hanging_torch, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as engine:
        assert engine.stdin is not None
        assert engine.stderr is not None
        try:
            assert engine.stderr.readline() == b"importing\n"
            closed = monotonic()
            engine.stdin.close()
            assert engine.wait(2) == 0
            assert monotonic() - closed < 2
        finally:
            engine.kill()


@pytest.mark.parametrize(
    "module", ["modeldeck.backend.downloader", "modeldeck.backend.catalog.scanner"], ids=["downloader", "scanner"]
)
def test_f1_the_end_of_its_pipe_alone_ends_a_download_and_a_scan(module: str) -> None:
    with subprocess.Popen([sys.executable, "-P", "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            assert child.stdout.readline()
            child.stdin.close()
            assert child.wait(2) == 0
        finally:
            child.kill()
