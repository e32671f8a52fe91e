"""The installed command in a pseudo-terminal: it opens, leaves the terminal as it was, and leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from modeldeck.config.paths import Paths
from modeldeck.tui.chats.replay import replay
from tests.fakes.engine_python import use_scripted_engine
from tests.terminal.harness import MODELDECK, Terminal, assert_restored, is_alive, terminal
from tests.unit.cli.conftest import write_model

pytestmark = pytest.mark.pty

LOADED = "● LOADED"


@pytest.fixture
def engine(home: Path) -> Path:
    """The script of the engine, and one model to load with it."""
    write_model(home / "models" / "tiny-llama")
    return use_scripted_engine(home)


def load(opened: Terminal) -> None:
    """Load the model that is highlighted first."""
    opened.wait_for("enter loads")
    opened.wait_for("tiny-llama")
    opened.press("enter")
    opened.wait_for(LOADED)


@pytest.mark.usefixtures("engine")
class TestOpeningAndLeaving:
    def test_f17_a_suspended_app_is_drawn_whole_when_it_comes_back(self) -> None:
        with terminal(columns=80, rows=24) as opened:
            opened.wait_for("NOT LOADED")
            opened.press("tab")
            opened.wait_for("Ask the model")
            opened.wait_for("esc Models")  # the footer is drawn later than the prompt, and the memory than both
            opened.wait_for("RAM")
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
            assert_restored(opened)

    @pytest.mark.parametrize(("columns", "rows"), [(80, 24), (160, 45)])
    def test_it_opens_with_the_models_and_ctrl_q_leaves_all_as_it_was(self, columns: int, rows: int) -> None:
        with terminal(columns=columns, rows=rows) as opened:
            opened.wait_for("Models")
            opened.wait_for("tiny-llama")
            opened.wait_for("NOT LOADED")
            opened.wait_for(opened.children)
            opened.press("ctrl+q")
            assert opened.ended() == 0
            assert_restored(opened)
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

    def test_s18_the_log_is_private(self, home: Path) -> None:
        with terminal() as opened:
            opened.wait_for("NOT LOADED")
            opened.press("ctrl+q")
            opened.ended()
        log = home / ".local" / "state" / "modeldeck" / "log" / "modeldeck.log"
        assert log.stat().st_mode & 0o777 == 0o600


def patched(patch: str) -> tuple[str, ...]:
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
CRASH_AT_MOUNT = CRASH + "ModeldeckApp.on_mount = crash\n"
CRASH_BEFORE = """
import modeldeck.tui.services
def crash(*_, **__):
    raise KeyError
modeldeck.tui.services.build_services = crash
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
        with terminal(command=patched(HANGING_DRIVER)) as opened:
            opened.wait_for("NOT LOADED")
            opened.wait_for(opened.children)
            opened.press("q")
            assert opened.ended() == 0
            assert_restored(opened)
            assert not any(is_alive(child) for child in opened.seen)

    @pytest.mark.parametrize("patch", [CRASH, CRASH_IN_WORKER, CRASH_AT_MOUNT], ids=["action", "worker", "on_mount"])
    def test_f31_a_crash_says_where_the_report_is_and_shows_nothing_of_what_was_said(
        self, home: Path, patch: str
    ) -> None:
        with terminal(command=patched(patch)) as opened:
            if patch != CRASH_AT_MOUNT:
                load(opened)
                opened.press("?")
            assert opened.ended() == 1
            assert_restored(opened)
            assert not any(child.is_running() for child in opened.seen)
        state = home / ".local" / "state" / "modeldeck"
        log = (state / "log" / "modeldeck.log").read_text()
        (report,) = (state / "crashes").iterdir()
        said = bytes(opened.written).decode()
        assert f"modeldeck had to end because of an error in itself; {report} says more." in said
        assert "Traceback" not in said
        assert "NameError" not in log
        assert "KeyError: 16" in log
        assert "Traceback" in log
        assert "in crash" in report.read_text()
        assert "my private words" not in said + log + report.read_text()

    def test_f31_a_crash_before_there_is_a_screen_is_reported_too(self, home: Path) -> None:
        with terminal(command=patched(CRASH_BEFORE)) as opened:
            assert opened.ended() == 1
        (report,) = (home / ".local" / "state" / "modeldeck" / "crashes").iterdir()
        assert f"{report} says more." in bytes(opened.written).decode()
        assert "KeyError" in report.read_text()

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
    def test_f2_a_signal_ends_it_with_its_code_and_the_terminal_restored(
        self, engine: Path, tmp_path: Path, number: int, code: int
    ) -> None:
        engine.write_text(f"reply-gate {tmp_path}/gate\nreply seven words that were streamed so far\nserve")
        with terminal() as opened:
            load(opened)
            opened.press("tab")
            opened.wait_for("Send")
            set_temperature(opened, "1.25")
            say(opened, "good morning")
            opened.wait_for("seven words")
            opened.wait_for(opened.children)
            os.kill(opened.process.pid, number)  # what was streamed is not on the disk yet
            assert opened.ended(2) == code
            assert_restored(opened)
            assert not any(child.is_running() for child in opened.seen)
        paths = Paths.from_environment()
        assert "temperature = 1.25" in paths.generation_file.read_text()
        (chat,) = paths.chats.glob("*.jsonl")
        assert replay(chat.read_bytes())[0].last_reply() == "seven words "

    def test_f2_a_signal_at_the_first_byte_on_the_screen_finds_the_handlers_there(self) -> None:
        with terminal() as opened:
            opened.wait_for(lambda: b"\x1b[?1049h" in opened.written)
            os.kill(opened.process.pid, signal.SIGTERM)
            assert opened.ended(5) == 143
            assert_restored(opened)

    @pytest.mark.parametrize("moment", ["before a load", "during a load", "during a reply"])
    def test_f1_kill_9_leaves_no_engine_the_spare_included(self, engine: Path, tmp_path: Path, moment: str) -> None:
        gate = "load-gate" if moment == "during a load" else "reply-gate"
        engine.write_text(f"{gate} {tmp_path}/gate\nreply seven words that are not said yet\nserve")
        with terminal() as opened:
            opened.wait_for("enter loads")
            opened.wait_for("tiny-llama")
            if moment != "before a load":
                opened.press("enter")
                opened.wait_for("LOADING" if moment == "during a load" else LOADED)
            if moment == "during a reply":
                say(opened, "good morning")
                opened.wait_for("seven words")
            spare_and_own = 2 if moment == "during a reply" else 1
            opened.wait_for(lambda: len(opened.children()) > spare_and_own)  # and the scanner
            opened.process.kill()
            opened.process.wait()
            opened.wait_for(lambda: not any(is_alive(child) for child in opened.seen), 2)


class TestNoTerminal:
    @pytest.mark.parametrize("term", ["dumb", "unknown", ""])
    def test_f32_a_terminal_that_shows_no_full_screen_is_told(self, term: str) -> None:
        with terminal(TERM=term) as opened:
            assert opened.ended() == 2
            assert "modeldeck ls" in " ".join(opened.text.split())
            assert b"\x1b[?1049h" not in opened.written

    def test_f32_pipes_are_told(self) -> None:
        done = subprocess.run(MODELDECK, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert (done.returncode, done.stdout) == (2, "")
        assert "modeldeck run" in done.stderr


@pytest.mark.usefixtures("engine")
class TestOldTerminals:
    @pytest.mark.parametrize(
        "environ",
        [{"TERM": "linux"}, {"LANG": "C"}, {"LC_ALL": "de_DE.ISO-8859-1"}],
        ids=lambda environ: " ".join(f"{name}={value}" for name, value in environ.items()),
    )
    def test_f32_where_there_are_no_signs_all_is_drawn_with_ascii(self, environ: dict[str, Any]) -> None:
        with terminal(columns=80, rows=24, **environ) as opened:
            opened.wait_for("NOT LOADED")
            opened.wait_for("tiny-llama")
            opened.press("?")
            opened.wait_for("Escape closes")
            os.write(opened.master, b"\xe9\xff")  # as such a terminal sends what is no ASCII
            opened.press("escape")
            opened.wait_for(lambda: "Escape closes" not in opened.text)
            opened.press("q")
            assert opened.ended() == 0
            assert_restored(opened)
            assert bytes(opened.written).isascii()


class TestTalking:
    def test_load_talk_set_the_temperature_quit_and_find_it_kept(self, engine: Path) -> None:
        engine.write_text("reply I heard {prompt} at {temperature}\nserve")
        with terminal() as opened:
            load(opened)
            say(opened, "good morning")
            opened.wait_for("I heard good morning at 0.7")
            set_temperature(opened, "1.25")
            say(opened, "good evening")
            opened.wait_for("I heard good evening at 1.25")
            opened.press("ctrl+q")
            assert opened.ended() == 0
        with terminal() as opened:
            load(opened)
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
