"""An engine whose parent is gone is gone too, whatever it is doing."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from modeldeck.backend.models import LoadRequest
from modeldeck.backend.protocol import EngineStarted, Load, LoadFinished, LoadProgress
from tests.helpers import eventually
from tests.real.engine import Engine


def test_f1_the_end_of_stdin_during_the_imports(start_engine: Callable[..., Engine]) -> None:
    engine = start_engine(ready=False)
    engine.until(EngineStarted)
    assert engine.hang_up() < 2


def test_f1_the_end_of_stdin_during_a_load(start_engine: Callable[..., Engine], starter: Path) -> None:
    engine = start_engine()
    engine.send(Load(1, LoadRequest(model_id="starter", path=str(starter))))
    while engine.until(LoadProgress).stage.name != "READING_WEIGHTS":
        pass
    assert engine.hang_up() < 2


def engine_of_a_killed_parent(environment: dict[str, str]) -> psutil.Process:
    """The parent keeps a pipe to the engine's stdin, as the app does, and dies without a word."""
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'modeldeck.backend.engine'], stdin=subprocess.PIPE,"
        " stdout=subprocess.PIPE, start_new_session=True)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as parent:
        assert parent.stdout
        engine = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    return engine


async def test_f1_a_parent_that_is_killed_takes_the_engine_with_it(environment: dict[str, str]) -> None:
    engine = engine_of_a_killed_parent(environment)

    def is_gone() -> bool:  # where nobody reaps orphans it stays a zombie
        return not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE

    await eventually(is_gone, 2.0, "the end of the engine")


def test_s17_an_engine_that_holds_a_model_listens_on_no_port(start_engine: Callable[..., Engine], llama: Path) -> None:
    engine = start_engine()
    assert isinstance(engine.load(llama), LoadFinished)
    sockets = psutil.Process(engine.process.pid).net_connections("all")
    assert engine.hang_up() < 2
    assert [one for one in sockets if one.laddr and not one.raddr] == []
