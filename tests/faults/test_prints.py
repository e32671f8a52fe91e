"""Whatever a library prints goes to the log: never onto the wire, never onto the screen (F16)."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from modeldeck.backend.engine_client import EngineClient
from tests.helpers import eventually

PRINTING_ENGINE = """
import ctypes, os, subprocess, sys, threading
from modeldeck.backend.engine import libraries

def import_libraries():
    print("a banner of a library")
    os.write(1, b"bytes to descriptor 1\\n")
    libc = ctypes.CDLL(None)
    libc.puts(b"from C")
    libc.fflush(None)
    subprocess.run([sys.executable, "-c", "print('from a grandchild')"], check=True)
    print("read from stdin:", repr(sys.stdin.read()))
    print("the end")
    threading.Event().wait()

libraries.import_libraries = import_libraries
from modeldeck.backend.engine.__main__ import main
main()
"""
"""The engine as it is, but for its imports, which print in every way there is and never end."""


async def test_f16_no_print_of_any_kind_lands_on_the_wire() -> None:
    lines: list[str] = []
    command = (sys.executable, "-c", PRINTING_ENGINE)
    client = await EngineClient.start(command, dict(os.environ), on_log=lines.append)
    try:
        await eventually(lambda: "the end" in lines or client.gone.done(), 20, "the end of the prints")
        assert client.alive
    finally:
        await client.kill()
    assert lines == [
        "a banner of a library",
        "bytes to descriptor 1",
        "from C",
        "from a grandchild",
        "read from stdin: ''",
        "the end",
    ]


async def test_s18_an_engine_takes_the_rights_of_others_from_what_it_writes() -> None:
    """By its own umask, whatever that of its parent is."""
    before = os.umask(0)
    try:
        client = await EngineClient.start((sys.executable, "-c", PRINTING_ENGINE), dict(os.environ))
    finally:
        os.umask(before)
    status = await asyncio.to_thread(Path(f"/proc/{client.pid}/status").read_text)
    await client.kill()
    if "Umask:" not in status:
        pytest.skip("this kernel does not tell the umask of a process")
    assert "Umask:\t0077" in status
