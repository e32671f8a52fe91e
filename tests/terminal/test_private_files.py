"""The installed command keeps what it knows from the screen, from other users and from whoever lists processes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import psutil
import pytest

from modeldeck.config.paths import Paths
from tests.conftest import CANARY
from tests.fakes.engine_python import use_scripted_engine
from tests.faults.test_private import _SOMEBODY_ELSE, as_root, open_to_others
from tests.terminal.harness import MODELDECK, Terminal, terminal
from tests.terminal.test_terminal import LOADED, say, set_temperature
from tests.unit.cli.conftest import write_model

pytestmark = pytest.mark.pty

LEAKY = (
    f"stderr WARNING: a library prints\nstderr its token is {CANARY}\nready\nwait load\n"
    f"stderr \x1b[31mred\x1b[0m in a load\nfailed load No access with {CANARY}."
)
AUDITED = """
import json, os, sys
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def hear(event, given):
    if event == "open" and isinstance(given[0], str) and given[2] & os.O_CREAT:
        os.write(log, (json.dumps([given[0], bool(given[2] & os.O_EXCL)]) + "\\n").encode())
sys.addaudithook(hear)
from modeldeck.tui.cli import main
sys.exit(main([]))
"""
"""The program, with a list of the files that it makes and whether it insisted on making them."""


@pytest.fixture
def engine(home: Path) -> Path:
    write_model(home / "models" / "tiny-llama")
    return use_scripted_engine(home)


def _load(opened: Terminal) -> None:
    opened.wait_for("enter loads")
    opened.wait_for("tiny-llama")
    opened.press("enter")


def _families(opened: Terminal) -> list[psutil.Process]:
    return [psutil.Process(opened.process.pid), *opened.children()]


def test_f16_s14_what_an_engine_prints_is_in_the_log_alone_and_its_token_nowhere(engine: Path) -> None:
    engine.write_text(LEAKY)
    paths = Paths.from_environment()
    with paths.config_file.open("a") as config:
        config.write("spare_engine = false\n")  # it would have begun with the script of the first
    with terminal() as opened:
        _load(opened)
        opened.wait_for("FAILED")
        engine.write_text("reply I heard {prompt}\nserve")
        opened.press("e")
        opened.wait_for("No access with hf_[removed].")
        assert "a library prints" not in opened.text
        opened.press("enter")  # try again
        opened.wait_for(LOADED)
        say(opened, "good morning")
        opened.wait_for("I heard good morning")
        for process in _families(opened):
            assert CANARY not in " ".join(process.cmdline())
        engines = [child for child in opened.children() if "scripted_child.py" in " ".join(child.cmdline())]
        assert engines
        assert not [child for child in engines if CANARY in child.environ().values()]
        opened.press("ctrl+q")
        assert opened.ended() == 0
    written = bytes(opened.written)
    assert CANARY.encode() not in written
    assert b"a library prints" not in written
    assert b"\x1b[31mred" not in written
    log = paths.log_file.read_text()
    assert "WARNING: a library prints" in log
    assert "its token is hf_[removed]" in log
    assert "red" in log
    assert CANARY not in log
    assert any(path.stat().st_size for path in paths.chats.glob("*.jsonl"))  # ``conftest`` looks into these


@pytest.mark.usefixtures("engine")
def test_s18_everything_the_app_writes_is_the_users_alone(home: Path, tmp_path: Path) -> None:
    scratch, made = tmp_path / "scratch", tmp_path / "made"
    scratch.mkdir()
    command = ("sh", "-c", 'umask 000; exec "$@"', "sh", sys.executable, "-c", AUDITED, str(made))
    with terminal(command=command, TMPDIR=str(scratch)) as opened:
        _load(opened)
        opened.wait_for(LOADED)
        say(opened, "good morning")
        opened.wait_for("You said")
        set_temperature(opened, "1.25")
        masks = [Path(f"/proc/{process.pid}/status").read_text() for process in _families(opened)]
        assert len(masks) >= 2
        assert all("Umask:\t0077" in mask for mask in masks if "Umask:" in mask)
        opened.press("ctrl+q")
        assert opened.ended() == 0
    paths = Paths.from_environment()
    ours = [path for path in paths.config_file.parent.iterdir() if path != paths.config_file]
    assert paths.generation_file in ours
    assert any(paths.chats.glob("*.jsonl"))
    assert open_to_others(paths.state, paths.cache, *ours) == []
    files = [json.loads(line) for line in made.read_text().splitlines()]
    drafts = [(path, insisted) for path, insisted in files if path.endswith(".draft")]
    assert drafts
    assert all(insisted for _, insisted in drafts)
    outside = {path for path, _ in files if not path.startswith((str(home), "/dev/"))}
    assert outside == set()
    assert list(scratch.iterdir()) == []


@as_root
@pytest.mark.usefixtures("engine")
def test_s18_a_state_folder_of_somebody_else_is_refused(home: Path) -> None:
    state = Paths.from_environment().state
    state.mkdir(parents=True)
    os.chown(state, _SOMEBODY_ELSE, _SOMEBODY_ELSE)
    with terminal(command=MODELDECK) as opened:
        assert opened.ended() == 1
        said = "".join(opened.text.split())  # a line may end in the middle of a word
        assert f"belongstoanotheruser(uid{_SOMEBODY_ELSE})" in said
        assert b"\x1b[?1049h" not in opened.written
    assert list(state.iterdir()) == []
