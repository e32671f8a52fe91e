"""Conversations outlive the program, however it ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from time import monotonic

import pytest

from modeldeck.config.paths import Paths
from tests.fakes.engine_python import use_scripted_engine
from tests.terminal.harness import terminal
from tests.terminal.test_terminal import CRASH, load, patched, say
from tests.unit.cli.conftest import write_model

pytestmark = pytest.mark.pty
LEFT = '"keep this". It is open again: tab'


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_f31_what_was_streamed_is_offered_again_after_a_kill_and_a_lost_connection(
    home: Path, tmp_path: Path, number: signal.Signals
) -> None:
    write_model(home / "models" / "tiny-llama")
    engine = use_scripted_engine(home)
    engine.write_text(f"reply-gate {tmp_path}/gate\nreply seven words that were streamed so far\nserve")
    with terminal(columns=80, rows=24) as opened:
        load(opened)
        say(opened, "keep this")
        opened.wait_for("seven words")
        seen, chats = monotonic(), Paths.from_environment().chats
        opened.wait_for(lambda: any(b"words" in path.read_bytes() for path in chats.glob("*.jsonl")), 5)
        assert monotonic() - seen < 1.5
        os.kill(opened.process.pid, number)
        opened.ended()
    with terminal(columns=80, rows=24) as opened:
        opened.wait_for(LEFT)
        opened.press("tab")
        opened.wait_for("seven words")
        assert "you   keep this" in opened.text
        assert "failed: modeldeck ended before the reply did" in opened.text
        opened.press("ctrl+q")
        assert opened.ended() == 0
    with terminal(columns=80, rows=24) as opened:
        opened.wait_for("NOT LOADED")
        opened.press("tab")
        opened.wait_for("seven words")  # still the last one, but nobody left it unasked
        assert LEFT not in opened.text


def test_f31_after_a_crash_the_next_start_offers_the_conversation_that_was_open(home: Path) -> None:
    write_model(home / "models" / "tiny-llama")
    use_scripted_engine(home).write_text("reply I heard {prompt}\nserve")
    with terminal(command=patched(CRASH)) as opened:
        load(opened)
        say(opened, "the older one")
        opened.wait_for("I heard the older one")
        opened.press("ctrl+r", "n")
        opened.wait_for("Nothing said yet")
        opened.press("the newer one", "enter")
        opened.wait_for("I heard the newer one")
        opened.press("ctrl+r", "o")
        opened.wait_for("the older one")
        opened.press("down", "enter")
        opened.wait_for("I heard the older one")
        opened.press("shift+tab")
        opened.wait_for("l Options")
        opened.press("?")
        assert opened.ended() == 1
    with terminal() as opened:
        opened.wait_for('in the middle of "the older one". It is')
