"""The installed program in a terminal, with hostile text from every side: it writes what Textual writes (S1)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.faults.control_sequences import is_quoted, strangers
from tests.faults.hostile_home import FIRST, make_hostile_home
from tests.terminal.harness import MODELDECK, Terminal, terminal
from tests.terminal.test_terminal import LOADED

pytestmark = pytest.mark.pty
SCRIPT = "log CORPUS\nstderr CORPUS\npace 0\nthinks CORPUS\nreply CORPUS\\n\\nend-of-reply\nserve"


def assert_only_allowed(opened: Terminal, *, full_screen: bool = True) -> None:
    written = bytes(opened.written).decode()  # and no byte that is no UTF-8
    assert not strangers(written, full_screen=full_screen)
    assert not is_quoted(written)


def test_s1_the_app_writes_nothing_of_what_others_would_have_it_write(home: Path) -> None:
    make_hostile_home(home, SCRIPT)
    with terminal(columns=200, rows=40) as opened:  # wide, so that no notification lies over the words below
        opened.wait_for("enter loads")
        opened.wait_for(FIRST)
        for key in ("j",) * 4 + ("k",) * 4:
            opened.press(key)
        opened.press("enter")
        opened.wait_for(LOADED)
        opened.press("tab")
        opened.wait_for("Send")
        opened.press("go", "enter")
        opened.wait_for("end-of-reply")
        opened.press("ctrl+p")
        opened.wait_for("Search")
        opened.press("talk")
        opened.wait_for("Talk to")
        opened.press("escape", "ctrl+q")
        assert opened.ended() == 0
        assert_only_allowed(opened)
        assert opened.modes_now == opened.modes_before


def test_s1_an_error_and_the_log_are_drawn_as_text(home: Path) -> None:
    make_hostile_home(home, "stderr CORPUS\nfail-load load CORPUS\nserve")
    with terminal(columns=200, rows=40) as opened:  # wide, so that no notification lies over the words below
        opened.wait_for("enter loads")
        opened.wait_for(FIRST)
        opened.press("enter")
        opened.wait_for("FAILED")
        opened.press("tab")
        opened.wait_for("Send")
        opened.press("tab")
        opened.wait_for("Identity")
        opened.press("tab")
        opened.wait_for("config.toml: keys: ")
        opened.press("e")
        opened.wait_for("Try again")
        opened.press("ctrl+q")
        assert opened.ended() == 0
        assert_only_allowed(opened)


@pytest.mark.parametrize("arguments", [("ls",), ("doctor",), ("run", FIRST, "hello")], ids=lambda words: words[0])
def test_s1_a_command_in_a_terminal_writes_no_sequence_at_all(home: Path, arguments: tuple[str, ...]) -> None:
    make_hostile_home(home, SCRIPT)
    with terminal(*arguments) as opened:
        opened.ended()
        assert b"owned" in opened.written
        assert_only_allowed(opened, full_screen=False)


@pytest.mark.parametrize("arguments", [("show", FIRST), ("config",)], ids=lambda words: words[0])
def test_s1_nor_does_it_into_a_pipe(home: Path, arguments: tuple[str, ...]) -> None:
    make_hostile_home(home, SCRIPT)
    piped = subprocess.run((*MODELDECK, *arguments), capture_output=True, stdin=subprocess.DEVNULL)
    assert b"owned" in piped.stdout + piped.stderr
    for written in (piped.stdout.decode(), piped.stderr.decode()):
        assert not strangers(written, full_screen=False)
