"""A child that misbehaves: it never stays, and its end says what happened."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable
from time import monotonic

import psutil
import pytest

from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.engine_process import EngineProcess
from modeldeck.backend.errors import EngineDied, EngineStalled
from modeldeck.backend.event_stream import EventStream
from modeldeck.backend.last_words import LastWords
from modeldeck.backend.models import LoadRequest
from modeldeck.backend.protocol import EngineReady, Generate, Load, LoadProgress, Stop, TokensGenerated
from modeldeck.config.generation import BUILT_IN
from tests.fakes.driving import HELLO, children, is_alive
from tests.fakes.scripted_engine import scripted_command
from tests.helpers import eventually

A_LOAD = LoadRequest(model_id="a", path="/scripted/a")


async def send_for_ever(process: EngineProcess) -> None:
    while True:
        await process.send(Load(1, A_LOAD))


async def text_of(stream: EventStream, pieces: list[str]) -> None:
    while isinstance(event := await stream.next(), TokensGenerated):
        pieces.append(event.text)


async def start(script: str) -> EngineProcess:
    return await EngineProcess.start(scripted_command(script), dict(os.environ))


async def test_a_child_says_hello_and_has_a_session_of_its_own() -> None:
    process = await start("ready\nhang")
    try:
        assert await process.read() == EngineReady({"python": "3.11", "torch": "scripted", "transformers": "scripted"})
        assert os.getsid(process.pid) == process.pid
        assert process.alive
    finally:
        await process.stop()
    assert children() == []


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("silent\nstderr No module named 'msgspec'\nexit 3", "ended by itself with exit code 3: No module named 'msg"),
        ("silent\nexit 0", "ended by itself with exit code 0."),
        ("silent\nsignal KILL", r"was killed \(SIGKILL\)"),
        ("silent\nsignal SEGV", r"crashed \(SIGSEGV\)"),
        ("silent\nsignal BUS", r"crashed \(SIGBUS\), most likely because a model file shrank or its disk failed"),
        ("silent\nsignal TERM", r"was ended from outside \(SIGTERM\)"),
        ("silent\nsignal RTMIN", r"crashed \(SIGRTMIN\)"),
        ("silent\ngarbage hello", "something that is not a message"),
        ("silent\nready\nhang", "another version of the protocol"),
        ('silent\nevent {"type":"started","protocol_version":99,"pid":1}\nhang', "another version of the protocol"),
        ("silent\nclose stdout\nhang", "closed its pipes"),
    ],
)
async def test_f5_f6_f15_f28_a_child_that_never_says_hello_is_gone_and_its_end_is_told(
    script: str, message: str
) -> None:
    with pytest.raises(EngineDied, match=message):
        await start(script)
    assert children() == []


async def test_f28_a_python_that_is_not_there_is_named() -> None:
    with pytest.raises(EngineDied, match="/no/such/python: No such file"):
        await EngineProcess.start(["/no/such/python", "-m", "x"])


async def test_f11_a_child_that_says_nothing_is_ended() -> None:
    with pytest.raises(EngineStalled, match="did not start within"):
        await EngineProcess.start(scripted_command("silent\nhang"), dict(os.environ), start_seconds=0.3)
    assert children() == []


async def test_a_cancelled_start_leaves_no_child() -> None:
    starting = asyncio.create_task(start("silent\nhang"))
    await eventually(children, what="the child")
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert children() == []


async def test_f16_stderr_is_kept_cleaned_and_bounded() -> None:
    lines: list[str] = []
    script = "stderr one\\rtwo\\n\x1b[31mred\nflood stderr 5000\nexit 1"
    client = await EngineClient.start(scripted_command(script), dict(os.environ), on_log=lines.append)
    death = await asyncio.shield(client.gone)
    await client.kill()
    assert lines[:3] == ["one", "two", "\u241b[31mred"]
    assert lines[-1] == "4999"
    assert len(death.detail.encode()) <= 8192
    assert death.detail.splitlines()[-1] == "4999"
    assert len(death.detail.splitlines()) <= 200


async def test_f14_one_endless_line_of_stderr_is_cut_and_does_not_block_the_child() -> None:
    lines: list[str] = []
    command = [sys.executable, "-c", "import sys; sys.stderr.write('x' * 3_000_000)"]
    with pytest.raises(EngineDied):
        await EngineProcess.start(command, on_log=lines.append)
    assert sum(map(len, lines)) == 3_000_000
    assert max(map(len, lines)) <= 4000


async def test_f12_the_ladder_ends_a_child_that_ignores_everything() -> None:
    process = await start("ignore shutdown\nignore term\nignore eof\nready\nhang")
    await process.read()
    started = monotonic()
    await process.stop(grace=0.1)
    assert monotonic() - started < 5
    assert str(process.death()) == "The engine was stopped."
    assert children() == []


async def test_f12_the_ladder_ends_at_its_second_step_for_a_child_that_hears_a_signal() -> None:
    process = await start("ignore shutdown\nignore eof\nready\nhang")
    await process.read()
    await process.stop(grace=5)
    assert process._transport.get_returncode() == -signal.SIGTERM
    assert children() == []


async def test_f12_the_ladder_ends_at_its_first_step_for_a_child_that_listens() -> None:
    process = await start("ready\nhang")
    await process.read()
    await process.stop(grace=30)
    assert children() == []


async def test_f12_a_grandchild_that_holds_the_pipes_ends_with_its_group() -> None:
    process = await start("grandchild\nready\nhang")
    await process.read()
    family = children()
    assert len(family) == 2
    await process.kill()
    await eventually(lambda: not any(map(is_alive, family)), what="the end of the family")


async def test_a_grandchild_does_not_outlive_a_child_that_ends_by_itself() -> None:
    process = await start("grandchild\nready\nexit 0")
    await process.wait()
    await eventually(lambda: not children(), what="the end of the grandchild")


async def test_writing_to_a_dead_child_says_that_it_died() -> None:
    process = await start("ready\nsignal KILL")
    await process.wait()
    with pytest.raises(EngineDied, match="SIGKILL"):
        await process.send(Stop(1))


async def test_a_child_that_closes_its_stdin_is_of_no_use_and_is_ended() -> None:
    process = await start("ignore eof\nclose stdin\nready\nhang")
    await process.read()
    sending = asyncio.create_task(send_for_ever(process))
    with pytest.raises(EngineDied, match="closed its pipes"):
        await sending
    assert children() == []


@pytest.mark.parametrize("bad", ["garbage not json", "garbage {}", "long 9000000", "started", "event null"])
async def test_f15_something_that_is_no_message_ends_the_child_and_is_told_to_all(bad: str) -> None:
    client = await EngineClient.start(scripted_command(f"ready\nwait generate\n{bad}\nhang"), dict(os.environ))
    with client.open_stream() as one, client.open_stream() as two:
        await client.send(Generate(one.request_id, HELLO, BUILT_IN))
        for stream in (one, two):
            with pytest.raises(EngineDied, match="something that is not a message"):
                await stream.next()
    assert not client.alive
    assert children() == []


async def test_everything_said_before_the_end_is_still_heard() -> None:
    client = await EngineClient.start(
        scripted_command("wait generate\nflood tokens 500\nstderr out of luck\nexit 9"), dict(os.environ)
    )
    with client.open_stream() as stream:
        await client.send(Generate(stream.request_id, HELLO, BUILT_IN))
        pieces: list[str] = []
        with pytest.raises(EngineDied, match="exit code 9: out of luck") as died:
            await text_of(stream, pieces)
        assert "".join(pieces) == "".join(f"{number} " for number in range(500))
        assert died.value.detail == "out of luck"


async def test_a_request_of_a_dead_engine_is_told_at_once_and_late_events_are_dropped() -> None:
    client = await EngineClient.start(
        scripted_command("wait load\nprogress reading_weights 1 2\nwait stop\nprogress reading_weights 2 2\nexit 4"),
        dict(os.environ),
    )
    with client.open_stream() as stream:
        await client.send(Load(stream.request_id, A_LOAD))
        assert isinstance(await stream.next(), LoadProgress)
    await client.send(Stop(1))
    assert "exit code 4" in str(await asyncio.shield(client.gone))
    with client.open_stream() as stream, pytest.raises(EngineDied, match="exit code 4"):
        await stream.next()


async def turns_during(work: Awaitable[object]) -> int:
    """How often the event loop turns until the work is done."""
    task, turns = asyncio.ensure_future(work), 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    await task
    return turns


async def test_f14_what_has_piled_up_on_the_wire_is_read_with_a_turn_for_others_in_between() -> None:
    process = await start("flood log 20000\nexit 0")
    await process.wait()  # and everything is in our memory by now

    async def read_all() -> None:
        while await process.read() is not None:
            pass

    assert await turns_during(read_all()) > 20_000 / 100


async def test_f14_what_has_piled_up_on_stderr_too() -> None:
    stderr = asyncio.StreamReader()
    stderr.feed_data(b"x\n" * 100_000)
    stderr.feed_eof()
    lines: list[str] = []
    assert await turns_during(LastWords(lines.append).drain(stderr)) > 100_000 / 100
    assert len(lines) == 100_000


async def test_f14_a_flood_leaves_the_loop_its_turns() -> None:
    client = await EngineClient.start(
        scripted_command("wait generate\nflood tokens 60000\nend\nhang"), dict(os.environ)
    )
    loop = asyncio.get_running_loop()
    turns = 0
    before = psutil.Process().memory_info().rss
    with client.open_stream() as stream:
        await client.send(Generate(stream.request_id, HELLO, BUILT_IN))
        started = loop.time()
        while not stream.finished.is_set():
            await asyncio.sleep(0)
            turns += 1
            assert loop.time() - started < 50
    await client.kill()
    assert turns > 800  # one after 64 lines at the latest
    assert psutil.Process().memory_info().rss - before < 100 * 2**20
    assert children() == []
