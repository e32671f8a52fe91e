"""What no machine is too noisy for: how much is imported, opened, sent and posted for a thing that a user does.

A limit lies a little above today's figure, which stands beside it. Whoever has to raise one makes the program slower
for everybody on some disk, link or machine, though no clock here may show it: say in the commit what it buys.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from textual.app import App
from textual.message import Message
from textual.pilot import Pilot
from textual.screen import Screen
from textual.scrollbar import ScrollBar

from benchmarks.model_tree import make_models
from modeldeck.backend.chat_messages import FinishReason, GenerationStats
from modeldeck.backend.engine.wire import Wire
from modeldeck.backend.models import ModelStatus
from modeldeck.backend.protocol import EngineEvent, GenerationFinished, TokensGenerated, decode_event, encode
from modeldeck.tui.app import ModeldeckApp
from modeldeck.tui.control_guard import ControlGuard, InOne
from modeldeck.tui.widgets import chat_lines
from modeldeck.tui.widgets.chat_panel import ChatPanel
from modeldeck.tui.widgets.key_bar import KeyBar
from modeldeck.tui.widgets.prompt import Prompt
from modeldeck.tui.widgets.streamed_reply import StreamedReply
from tests.helpers import screen_text, wait_until
from tests.terminal.harness import terminal
from tests.tui.conftest import RoomyMachine
from tests.tui.deck import WIDE, deck, opened, until_status
from tests.walls.test_imports import NOT_BEFORE_THE_FIRST_FRAME, ROOT

MODULES = 570
"""Imported when the first frame is out: 552 today, about 140 of them ours or for us alone, the others Textual's. Each
is a quarter of a millisecond that the user waits."""
COLLECTIONS = 60
"""Of the garbage collector until then: 44 today, nearly all before our first line; 129 with Python's own thresholds."""
MODELS = 100
SCAN = {"open": 680, "list": 300, "stat": 1_700, "lstat": 1_100, "readlink": 1_100, "pread": 1_250}
"""Calls of a scan of 100 models without an index. Today: 630 opens, 286 listings, 1,608 stat, 1,018 lstat, 1,010
readlink, 1,145 pread. Each is a round trip on a network file system."""
SECOND_SCAN = {"open": 2, "list": 1, "stat": 670, "lstat": 0, "readlink": 0, "pread": 0}
"""The same with an index, and nothing has changed: the index, its witness, our own folder's version, and one stat for
each file or folder that a row hangs on (633 today). No file of a model is opened."""
TOKENS = 100
WORD = " word"
SLOW_BYTES = 9_500
"""On the wire for 100 tokens that come one by one, slower than ten a second: 9,043 today, 500 of them the reply and 870
the end, which names the tokens again."""
QUICK_BYTES, QUICK_LINES = 1_700, 4
"""The same tokens at once: one or two pieces and the end, 1,429 bytes today; 80 more for each piece."""
MESSAGES = 300
"""Posted to the widgets for a reply of 1,000 tokens in 100 pieces that come as quickly as a pipe can carry them: 160
today, most of them by a new turn's widgets. One for each piece more would be 260, one for each token 1,160."""


_START = """
import gc, json, sys
from pathlib import Path
from modeldeck.tui import cli

spare_the_start, widths = cli.spare_the_start, set()

async def first_frame_is_out(screen):
    collections = sum(generation["collections"] for generation in gc.get_stats())
    found = {"modules": sorted(sys.modules), "collections": collections, "widths": sorted(widths)}
    Path(sys.argv[1]).write_text(json.dumps(found))
    screen.app.exit(0)

def start():
    spare_the_start()
    from modeldeck.tui.screens.main import MainScreen
    from modeldeck.tui.widgets.model_list import ModelList

    def render_line(self, y, drawn=ModelList.render_line):
        widths.add(self.size.width)
        return drawn(self, y)

    ModelList.render_line = render_line
    MainScreen._after_first_frame = first_frame_is_out

cli.spare_the_start = start
sys.exit(cli.main([]))
"""


@pytest.mark.pty
def test_little_is_done_before_the_first_paint(tmp_path: Path) -> None:
    """A real start, in a terminal; it is asked what it has done when the first frame is out."""
    file = tmp_path / "found.json"
    with terminal(str(file), command=(sys.executable, "-c", _START)) as started:
        assert started.ended() == 0
    found = json.loads(file.read_text())
    assert not {name.split(".")[0] for name in found["modules"]} & set(NOT_BEFORE_THE_FIRST_FRAME)
    assert len(found["modules"]) <= MODULES
    assert found["collections"] <= COLLECTIONS
    assert len(found["widths"]) == 1  # else the list was drawn for another size, and then once more


def _scan(tree: Path, index: Path) -> Counter[str]:
    command = [sys.executable, "-m", "tests.walls.counting", str(tree / "models"), str(tree / "hub"), str(index)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return Counter(json.loads(done.stdout))


def test_a_scan_asks_little_of_the_disk_and_a_second_one_opens_no_model(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    make_models(tree / "models", tree / "hub", MODELS)
    long_ago = time.time() - 3600  # files that are younger than seconds are kept in no index
    for path in (tree, *tree.rglob("*")):
        os.utime(path, (long_ago, long_ago), follow_symlinks=False)
    first, second = (_scan(tree, tmp_path / "index.jsonl") for _ in range(2))
    assert first["rows"] == 2 * MODELS  # at a glance, and with the headers
    assert second["rows"] == 0
    assert {name: count for name, count in first.items() if count > SCAN.get(name, count)} == {}
    assert {name: second[name] for name in SECOND_SCAN if second[name] > SECOND_SCAN[name]} == {}


def _finished() -> GenerationFinished:
    stats = GenerationStats(
        prompt_tokens=40,
        new_tokens=TOKENS,
        first_token_seconds=0.2,
        seconds=5.0,
        finish_reason=FinishReason.STOP,
        token_ids=tuple(range(20_000, 20_000 + TOKENS)),
    )
    return GenerationFinished(1, stats)


def test_a_reply_of_100_tokens_is_few_bytes_on_the_wire_token_by_token() -> None:
    events: list[EngineEvent] = [TokensGenerated(1, WORD, number) for number in range(1, TOKENS + 1)]
    assert sum(len(encode(event)) for event in [*events, _finished()]) <= SLOW_BYTES


def test_a_reply_of_100_tokens_is_few_bytes_on_the_wire_all_at_once() -> None:
    reading, writing = os.pipe()
    wire = Wire(writing)
    for number in range(1, TOKENS + 1):
        wire.tokens(1, WORD, number)
    wire.send(_finished())
    wire.drain(5.0)
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        written = pipe.read(2**16)
    lines = [decode_event(line) for line in written.splitlines()]
    assert "".join(line.text for line in lines if isinstance(line, TokensGenerated)) == WORD * TOKENS
    assert len(lines) <= QUICK_LINES
    assert len(written) <= QUICK_BYTES


async def test_a_reply_of_1000_tokens_is_few_messages_to_the_widgets() -> None:
    posted: dict[int, Message] = {}  # a message comes to every widget that it bubbles through
    counting = False

    def heard(message: Message) -> None:
        if counting:
            posted[id(message)] = message

    pieces = (" ".join(f"word{number}" for number in range(start, start + 10)) for start in range(0, 1_000, 10))
    reply = "\n".join(f"tokens {piece}\\u0020" for piece in pieces)  # as an engine of 100 tokens a second has it
    app = deck(f"ready\nwait load\nfinished\nwait generate\n{reply}\nend stop\nserve", monitor=RoomyMachine())
    async with app.run_test(size=WIDE, message_hook=heard) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.screen.query_one(Prompt).has_focus)
        app.screen.query_one(Prompt).text = "go"
        counting = True
        await pilot.press("enter")
        await wait_until(pilot, lambda: "word999" in screen_text(app) and not app.services.manager.generating)
        counting = False
    kinds = Counter(type(message).__name__ for message in posted.values())
    assert sum(kinds.values()) <= MESSAGES, kinds


@asynccontextmanager
async def a_reply_that_runs() -> AsyncIterator[tuple[ModeldeckApp, Pilot[int]]]:
    """Its first word is on the screen, and no other comes from the engine."""
    app = deck("ready\nwait load\nfinished\nwait generate\ntokens one\nhang", monitor=RoomyMachine())
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("enter", *"hi", "enter")
        await wait_until(pilot, lambda: "one" in screen_text(app) and "esc Stop" in screen_text(app))
        await pilot.pause()
        yield app, pilot


async def test_a_reply_that_grows_within_its_row_lays_nothing_out_and_draws_no_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beside a model that computes on every core, each layout of the screen is a token that comes later."""
    monkeypatch.setattr(chat_lines, "PROGRESS_SECONDS", 0.0)
    async with a_reply_that_runs() as (app, pilot):
        drawn: list[str] = []
        for kind, name in ((Screen, "_refresh_layout"), (KeyBar, "render")):
            monkeypatch.setattr(kind, name, _told(getattr(kind, name), drawn))
        panel = app.screen.query_one(ChatPanel)
        for tokens in range(1_000, 1_010):
            panel.lines.progressed(20.0, tokens)
            await wait_until(pilot, partial(_shows, app, f"{tokens:,}"))
        assert drawn == []


async def test_a_reply_that_gains_a_row_is_painted_once_and_no_scroll_bar_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Textual's own widgets are painted a second time where the layout has given them another size."""
    async with a_reply_that_runs() as (app, pilot):
        painted: list[str] = []
        for kind in (ScrollBar, StreamedReply):
            monkeypatch.setattr(kind, "refresh", _named(kind.__name__, kind.refresh, painted))
        monkeypatch.setattr(StreamedReply, "_paint", _told(StreamedReply._paint, painted))
        reply = app.screen.query_one(StreamedReply)
        for word in ("two", "three", "four"):
            reply.write(f"\n\n{word}")
            await wait_until(pilot, partial(_shows, app, word))
        assert set(painted) == {"_paint", "StreamedReply"}
        assert painted.count("StreamedReply") == painted.count("_paint")


async def test_a_reply_that_nobody_sees_lays_nothing_out_while_it_fills_its_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_reply_that_runs() as (app, pilot):
        reply = app.screen.query_one(StreamedReply)
        app.main_screen.go("log")
        await wait_until(pilot, lambda: "one" not in screen_text(app))
        painted: list[str] = []
        monkeypatch.setattr(StreamedReply, "_paint", _told(StreamedReply._paint, painted))
        reply.write("\n\na row more")
        await wait_until(pilot, lambda: len(painted) >= 2)
        monkeypatch.setattr(Screen, "_refresh_layout", _told(Screen._refresh_layout, painted))
        for _ in range(3):
            seen = len(painted)
            reply.write(" word")
            await wait_until(pilot, partial(_longer, painted, seen))
        assert set(painted) == {"_paint"}


def _longer(calls: list[str], than: int) -> bool:
    return len(calls) > than


async def test_every_line_has_one_filter_which_stays_the_same_until_others_hold() -> None:
    app = deck("ready\nserve")
    async with app.run_test():
        (first,) = app.get_line_filters()
        (second,) = app.get_line_filters()
        assert first is second
        assert isinstance(first, InOne)
        assert first.filters == (*App.get_line_filters(app), *app._own_filters)
        assert isinstance(first.filters[-1], ControlGuard)
        for one in App.get_line_filters(app):
            one.enabled = False
        (other,) = app.get_line_filters()
        assert isinstance(other, InOne)
        assert other.filters == tuple(app._own_filters) != first.filters


def _named(name: str, real: Callable[..., object], calls: list[str]) -> Callable[..., object]:
    def instead(*given: object, **named: object) -> object:
        calls.append(name)
        return real(*given, **named)

    return instead


def _shows(app: ModeldeckApp, text: str) -> bool:
    return text in screen_text(app)


def _told(real: Callable[..., object], calls: list[str]) -> Callable[..., object]:
    return _named(real.__name__, real, calls)
