"""The clock of the machine jumps: nothing ends and nothing waits because of it (F29)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JUMPING = """
import itertools, time
_jumps = itertools.cycle([0.0, 1e8, -1e8, 4e9])
time.time = lambda: 1.7e9 + next(_jumps)
time.time_ns = lambda: int(time.time() * 1e9)
"""
"""A clock that no two looks agree on, in place before anything of ours is imported."""
LIFE = (
    JUMPING
    + """
import asyncio
from modeldeck.backend.errors import EngineStalled
from modeldeck.backend.models import ModelStatus
from modeldeck.backend.pipeline_manager import PipelineManager
from tests.fakes.driving import a_request, load, managing, reply
from tests.fakes.scripted_engine import scripted_starter
from tests.helpers import eventually

slow = "wait load\\n" + "progress reading_weights 1 9\\nsleep 0.5\\n" * 3 + "finished\\nserve"
deaf = "ignore stop\\nwait load\\nfinished\\nwait generate\\ntokens on\\nsleep 1.2\\nend cancelled\\nserve"

async def main():
    async with managing(scripted_starter(slow), stall_seconds=0.8) as manager:
        await load(manager)                     # silent for more than half of what is allowed
        assert (await reply(manager))[0]
    async with managing(scripted_starter(deaf)) as manager:
        await load(manager)
        replying = asyncio.create_task(reply(manager))
        await eventually(lambda: manager.generating)
        await manager.stop_reply()              # the engine takes 1.2 of the 2 s that it has
        assert (await replying)[0] == "on"
    async with managing(scripted_starter(), stall_seconds=0.8) as manager:
        async for _ in manager.load(a_request(idle_minutes=0.3 / 60)):
            pass
        await eventually(lambda: manager.status is ModelStatus.NOT_LOADED, 5, "the time-out")
    async with managing(scripted_starter("wait load\\nhang"), stall_seconds=0.3) as manager:
        try:
            await asyncio.wait_for(load(manager), 5)
        except EngineStalled:
            print("all is well")

asyncio.run(main())
"""
)
WALL_CLOCK = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "today"), ("datetime", "utcnow")}
DATES = {
    "backend/catalog/scanner/watch.py": "compares with the times of files, and believes only what is plausible",
    "backend/downloader/leftovers.py": "compares with the times of files",
    "backend/gguf_copies.py": "compares with the times of files",
    "config/shared_file.py": "a date in the name of a file",
    "tui/crash_report.py": "a date in a report and in its name",
    "tui/chats/store.py": "dates that are kept and shown",
    "tui/chats/conversation.py": "dates that are kept and shown",
}
"""Who may ask what time it is, and what for; everybody else asks the monotonic clock how long something takes."""


def test_f29_loads_replies_and_time_outs_go_by_a_clock_that_does_not_jump() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LIFE], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.stdout == "all is well\n", ended.stderr


@pytest.mark.parametrize("part", ["backend", "config", "tui"])
def test_f29_nobody_asks_for_the_time_but_who_keeps_dates(part: str) -> None:
    asking = {str(file.relative_to(ROOT)) for file in (ROOT / part).rglob("*.py") if _asks_for_the_time(file)}
    assert asking <= set(DATES)


def _asks_for_the_time(file: Path) -> bool:
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=name) if (module, name) in WALL_CLOCK:
                return True
            case ast.ImportFrom(module=module, names=names) if WALL_CLOCK & {(module, one.name) for one in names}:
                return True
    return False
