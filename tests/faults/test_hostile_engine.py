"""An engine that a model has taken over sends messages of a fixed form and size, and nothing of them is run (S16)."""

from __future__ import annotations

import ast
import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.errors import EngineDied
from modeldeck.backend.protocol import MAX_LINE, ProtocolError, decode_event, decode_request
from tests.fakes.driving import children
from tests.fakes.scripted_engine import scripted_command

ROOT = Path(__file__).parents[2]
_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "yaml", "joblib", "code", "codeop"}
"""What makes objects or code of bytes."""
_CALLS = {"eval", "exec", "compile", "__import__"}
_READS_WEIGHTS = "backend/engine/pickles.py"
"""Where torch is kept from making anything but weights of a file (S6)."""


@pytest.mark.parametrize("size", [MAX_LINE + 1, 3 * MAX_LINE])
async def test_s16_a_message_over_the_limit_ends_the_engine_however_well_it_is_formed(size: int) -> None:
    client = await EngineClient.start(scripted_command(f"huge {size}\nhang"), dict(os.environ))
    try:
        death = await asyncio.wait_for(asyncio.shield(client.gone), 10)
    finally:
        await client.kill()
    assert "something that is not a message" in str(death)
    assert f"a line is longer than {MAX_LINE} bytes" in death.detail
    assert children() == []


async def test_s16_a_message_just_below_the_limit_is_one() -> None:
    lines: list[str] = []
    command = scripted_command(f"huge {MAX_LINE}\nexit 7")
    client = await EngineClient.start(command, dict(os.environ), on_log=lines.append)
    with pytest.raises(EngineDied, match="exit code 7"):
        raise await client.gone
    await client.kill()
    assert MAX_LINE - 100 < len(lines[0]) < MAX_LINE


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"tokens","request_id":"1","text":"a","new_tokens":1}',  # a number as text
        b'{"type":"tokens","request_id":1.5,"text":"a","new_tokens":1}',
        b'{"type":"tokens","request_id":1,"text":["a"],"new_tokens":1}',
        b'{"type":"tokens","request_id":1,"text":"a","new_tokens":true}',
        b'{"type":"load_progress","request_id":1,"stage":"no such stage"}',
        b'{"type":"generation_finished","request_id":1,"stats":{"finish_reason":"because"}}',
        b'{"type":["tokens"],"request_id":1}',
        b'{"request_id":1,"text":"a","new_tokens":1}',
        b'{"type":"load","request_id":1,"request":{}}',  # a request is no event
        b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94.",
        b'{"__reduce__":["os.system",["id"]],"type":"ready"}',
        b"NaN",
        b"__import__('os').system('id')",
    ],
)
def test_s16_what_is_of_another_form_is_refused(line: bytes) -> None:
    for decode in (decode_event, decode_request):
        with pytest.raises(ProtocolError):
            decode(line)


@pytest.mark.parametrize("part", ["backend", "config", "tui"])
def test_s16_nothing_of_ours_makes_objects_or_code_of_bytes(part: str) -> None:
    files = [file for file in (ROOT / part).rglob("*.py") if file != ROOT / _READS_WEIGHTS]
    found = [f"{file.relative_to(ROOT)}:{line}" for file in files for line in _dangers(file)]
    assert found == []


def _dangers(file: Path) -> Iterator[int]:
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Import(names=names) if {name.name.partition(".")[0] for name in names} & _MODULES:
                yield node.lineno
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in _MODULES:
                yield node.lineno
            case ast.Call(func=ast.Name(id=name)) if name in _CALLS:
                yield node.lineno
            case ast.Attribute(value=ast.Name(id="torch"), attr="load"):
                yield node.lineno
