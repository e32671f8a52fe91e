"""The terminal goes away: the program ends at once, with SIGHUP ignored too, and no engine stays."""

from __future__ import annotations

import resource
import signal
from pathlib import Path
from time import monotonic

import psutil
import pytest

from modeldeck.tui.terminal import HANGUP_EXIT
from tests.fakes.engine_python import use_scripted_engine
from tests.terminal.harness import is_alive, terminal
from tests.terminal.test_terminal import load, say
from tests.unit.cli.conftest import write_model

pytestmark = pytest.mark.pty


def _used_by_the_dead() -> float:
    """Seconds of the processor that the children of this process took, and theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("ignoring", [(), (signal.SIGHUP,)], ids=["SIGHUP", "SIGHUP ignored"])
def test_f2_f3_a_lost_terminal_ends_the_program_and_its_engine(
    home: Path, tmp_path: Path, ignoring: tuple[int, ...]
) -> None:
    write_model(home / "models" / "tiny-llama")
    use_scripted_engine(home).write_text(f"reply-gate {tmp_path}/gate\nreply seven words that are not said yet\nserve")
    before = _used_by_the_dead()
    with terminal(ignoring=ignoring) as opened:
        load(opened)
        say(opened, "good morning")
        opened.wait_for("seven words")
        family = [psutil.Process(opened.process.pid), *opened.children()]
        used = sum(sum(process.cpu_times()[:2]) for process in family)
        opened.hang_up()
        lost = monotonic()
        assert opened.process.wait(5) == HANGUP_EXIT
        while any(is_alive(child) for child in opened.seen):
            assert monotonic() - lost < 5
        assert _used_by_the_dead() - before - used < 1.0  # it did not spin
