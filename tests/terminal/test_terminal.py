"""The installed command in a pseudo-terminal: it opens, leaves the terminal as it was, and leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.fakes.engine_python import use_scripted_engine
from tests.terminal.harness import MODELDECK, Terminal, is_alive, terminal
from tests.unit.cli.conftest import write_model

pytestmark = pytest.mark.pty

LOADED = "● LOADED"


@pytest.fixture
def engine(home: Path) -> Path:
    """The script of the engine, and one model to load with it."""
    write_model(home / "models" / "tiny-llama")
    return use_scripted_engine(home)


def _load(opened: Terminal) -> None:
    """Load the model that is highlighted first."""
    opened.wait_for("enter loads")
    opened.wait_for("tiny-llama")
    opened.press("enter")
    opened.wait_for(LOADED)


def _assert_restored(opened: Terminal) -> None:
    assert opened.modes_now == opened.modes_before
    written = bytes(opened.written)
    for on, off in (
        (b"\x1b[?1049h", b"\x1b[?1049l"),  # the alternate screen
        (b"\x1b[?25l", b"\x1b[?25h"),  # the cursor
        (b"\x1b[?1000h", b"\x1b[?1000l"),  # the mouse
        (b"\x1b[?1003h", b"\x1b[?1003l"),
        (b"\x1b[?2004h", b"\x1b[?2004l"),  # bracketed paste
    ):
        assert written.rfind(off) > written.rfind(on), f"{off!r} did not follow {on!r}"


@pytest.mark.usefixtures("engine")
class TestOpeningAndLeaving:
    def test_f17_a_suspended_app_is_drawn_whole_when_it_comes_back(self) -> None:
        with terminal(columns=80, rows=24) as opened:
            opened.wait_for("NOT LOADED")
            opened.press("tab")
            opened.wait_for("Ask the model")
            opened.press("ctrl+z")  # in the prompt, where Textual takes it for undo
            opened.wait_for(lambda: b"\x1b[?1049l" in opened.written)
            opened.wait_for(lambda: psutil.Process(opened.process.pid).status() == psutil.STATUS_STOPPED)
            assert opened.modes_now == opened.modes_before
            shown = len(opened.written)
            opened.process.send_signal(signal.SIGCONT)
            opened.wait_for(lambda: b"Ask the model" in opened.written[shown:])
            opened.wait_for(lambda: b"Details" in opened.written[shown:])  # the first line and the last are unchanged
            opened.wait_for(lambda: b"Palette" in opened.written[shown:])
            opened.press("ctrl+q")
            assert opened.ended() == 0
            _assert_restored(opened)

    @pytest.mark.parametrize(("columns", "rows"), [(80, 24), (160, 45)])
    def test_it_opens_with_the_models_and_ctrl_q_leaves_all_as_it_was(self, columns: int, rows: int) -> None:
        with terminal(columns=columns, rows=rows) as opened:
            opened.wait_for("Models")
            opened.wait_for("tiny-llama")
            opened.wait_for("NOT LOADED")
            opened.wait_for(opened.children)
            opened.press("ctrl+q")
            assert opened.ended() == 0
            _assert_restored(opened)
            assert not any(is_alive(child) for child in opened.seen)

    def test_a_key_pressed_from_the_first_frame_on_counts(self) -> None:
        with terminal() as opened:
            opened.wait_for("Models")
            opened.press("ctrl+q")
            assert opened.ended() == 0

    def test_it_follows_the_size_of_the_terminal(self) -> None:
        with terminal(columns=120, rows=40) as opened:
            opened.wait_for("NOT LOADED")
            opened.resize(80, 24)
            opened.wait_for(lambda: "NOT LOADED" in "\n".join(opened.text.splitlines()[20:24]))

    def test_the_log_is_private(self, home: Path) -> None:
        with terminal() as opened:
            opened.wait_for("NOT LOADED")
            opened.press("ctrl+q")
            opened.ended()
        log = home / ".local" / "state" / "modeldeck" / "log" / "modeldeck.log"
        assert log.stat().st_mode & 0o777 == 0o600


def _patched(patch: str) -> tuple[str, ...]:
    """The command that runs the program after a patch of it."""
    return (sys.executable, "-c", f"{patch}\nimport sys\nfrom modeldeck.tui.cli import main\nsys.exit(main([]))")


HANGING_DRIVER = """
import threading
from modeldeck.backend.memory import MemoryMonitor
MemoryMonitor.read = lambda self, pids=(): threading.Event().wait()
"""
CRASH = """
from modeldeck.tui.app import ModeldeckApp
def crash(self):
    prompt = "my private " + "words"
    raise KeyError(len(prompt))
ModeldeckApp.action_help = crash
"""
CRASH_IN_WORKER = (
    CRASH
    + """
async def work(self):
    crash(self)
ModeldeckApp.action_help = lambda self: self.run_worker(work(self))
"""
)


@pytest.mark.usefixtures("engine")
class TestEnds:
    def test_a_driver_that_hangs_does_not_keep_the_program(self) -> None:
        with terminal(command=_patched(HANGING_DRIVER)) as opened:
            opened.wait_for("NOT LOADED")
            opened.wait_for(opened.children)
            opened.press("q")
            assert opened.ended() == 0
            _assert_restored(opened)
            assert not any(is_alive(child) for child in opened.seen)

    @pytest.mark.parametrize("patch", [CRASH, CRASH_IN_WORKER], ids=["in an action", "in a worker"])
    def test_f31_a_crash_says_where_the_log_is_and_shows_nothing_of_what_was_said(self, home: Path, patch: str) -> None:
        with terminal(command=_patched(patch)) as opened:
            _load(opened)
            opened.press("?")
            assert opened.ended() == 1
            _assert_restored(opened)
            assert not any(is_alive(child) for child in opened.seen)
        log = home / ".local" / "state" / "modeldeck" / "log" / "modeldeck.log"
        said = bytes(opened.written).decode()
        assert f"modeldeck had to end because of an error in itself; {log} says more." in said
        assert "Traceback" not in said
        assert "NameError" not in log.read_text()
        assert "KeyError: 16" in log.read_text()
        assert "Traceback" in log.read_text()
        assert "my private words" not in said + log.read_text()

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
    def test_a_signal_ends_it_with_its_code_and_the_terminal_restored(self, number: int, code: int) -> None:
        with terminal() as opened:
            _load(opened)
            opened.wait_for(opened.children)
            os.kill(opened.process.pid, number)
            assert opened.ended() == code
            _assert_restored(opened)
            opened.wait_for(lambda: not any(is_alive(child) for child in opened.seen), 5)

    def test_kill_9_leaves_no_engine_the_spare_included(self) -> None:
        with terminal() as opened:
            _load(opened)
            opened.wait_for(lambda: len(opened.children()) >= 2)
            opened.process.kill()
            opened.process.wait()
            opened.wait_for(lambda: not any(is_alive(child) for child in opened.seen), 2)


class TestNoTerminal:
    @pytest.mark.parametrize("term", ["dumb", "unknown", ""])
    def test_a_terminal_that_shows_no_full_screen_is_told(self, term: str) -> None:
        with terminal(TERM=term) as opened:
            assert opened.ended() == 2
            assert "modeldeck ls" in " ".join(opened.text.split())
            assert b"\x1b[?1049h" not in opened.written

    def test_pipes_are_told(self) -> None:
        done = subprocess.run(MODELDECK, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert (done.returncode, done.stdout) == (2, "")
        assert "modeldeck run" in done.stderr


class TestTalking:
    def test_load_talk_set_the_temperature_quit_and_find_it_kept(self, engine: Path) -> None:
        engine.write_text("reply I heard {prompt} at {temperature}\nserve")
        with terminal() as opened:
            _load(opened)
            say(opened, "good morning")
            opened.wait_for("I heard good morning at 0.7")
            set_temperature(opened, "1.25")
            say(opened, "good evening")
            opened.wait_for("I heard good evening at 1.25")
            opened.press("ctrl+q")
            assert opened.ended() == 0
        with terminal() as opened:
            _load(opened)
            opened.wait_for("temp 1.25")
            say(opened, "hello again")
            opened.wait_for("I heard hello again at 1.25")


def say(opened: Terminal, prompt: str) -> None:
    """From the models pane: go to the prompt and send this."""
    opened.press("tab")
    opened.wait_for("Send")
    opened.press(prompt, "enter")


def set_temperature(opened: Terminal, value: str) -> None:
    """From the prompt: save another temperature for all models, and come back to the models pane."""
    opened.press("shift+tab")
    opened.wait_for("l Options")
    opened.press("c")
    opened.wait_for("Max new tokens")
    opened.wait_for("The reply ends after")
    opened.press("down", "down")
    opened.wait_for("Higher is more varied")
    opened.press(value)
    opened.wait_for(lambda: any("Temperature" in line and value in line for line in opened.text.splitlines()))
    opened.press("ctrl+g")
    opened.wait_for(f"temp {value}")
