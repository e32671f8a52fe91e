"""A piece of work that is killed between any two of its system calls, with SIGKILL, by ``ptrace``.

``python -m tests.fakes.killed MODULE:FUNCTION TEMPLATE RUNS`` copies the folder TEMPLATE to RUNS/whole and lets the
function do its work there, which stops before and after each system call. Where a stop finds another folder than the
one before did, a run of its own, in RUNS/<number of the stop>, is killed: a kill at any other call leaves what one of
these leaves. All that the work imports is imported before, so that there are no calls but its own.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

ROOT = Path(__file__).parents[2]
_TRACE_ME, _GO_ON_TO_THE_NEXT_CALL = 0, 24
_NOT_ALLOWED = 3


def killed_at_every_call(work: Callable[[Path], None], template: Path, runs: Path) -> list[Path]:
    """What a kill leaves, the earliest first and the whole work last; ``work`` is a function of a module.

    Skips where tracing is forbidden.
    """
    what = f"{work.__module__}:{work.__name__}"
    command = [sys.executable, "-m", "tests.fakes.killed", what, str(template), str(runs)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode == _NOT_ALLOWED:
        pytest.skip("this system does not let a process trace its own child")
    assert done.returncode == 0, done.stderr
    return sorted(runs.iterdir())


def main(work: str, template: Path, runs: Path) -> None:
    """Find the stops that matter, then kill at each of them."""
    module, _, name = work.partition(":")
    do: Callable[[Path], None] = getattr(import_module(module), name)
    with TemporaryDirectory() as scratch:
        do(Path(shutil.copytree(template, Path(scratch) / "imports")))
    whole = Path(shutil.copytree(template, runs / "whole"))
    looks = [_look(whole) for _ in _stops(do, whole)]
    changed = [at for at, look in enumerate(looks) if at == 0 or look != looks[at - 1]]
    for at in changed:
        folder = Path(shutil.copytree(template, runs / f"{at:06}"))
        child = next(islice(_stops(do, folder), at, None))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _look(folder: Path) -> list[tuple[str, int, int, int]]:
    """What is in the folder: names, files, sizes, times of change."""
    found = []
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found.append((str(path), status.st_ino, status.st_size, status.st_ctime_ns))
    return found


def _stops(do: Callable[[Path], None], folder: Path) -> Iterator[int]:
    """The child that does the work, each time that it stops before or after a call."""
    child = os.fork()
    if not child:
        _work(do, folder)
    _, status = os.waitpid(child, 0)
    if not os.WIFSTOPPED(status):
        sys.exit(_NOT_ALLOWED)
    while True:
        _trace(_GO_ON_TO_THE_NEXT_CALL, child)
        _, status = os.waitpid(child, 0)
        if not os.WIFSTOPPED(status):
            break
        yield child
    if status:
        sys.exit(f"the work failed: {status}")


def _work(do: Callable[[Path], None], folder: Path) -> None:
    """The child, which never returns."""
    try:
        if _trace(_TRACE_ME):
            os._exit(_NOT_ALLOWED)
        os.kill(os.getpid(), signal.SIGSTOP)
        do(folder)
        os._exit(0)
    except BaseException:  # noqa: BLE001  # whatever it was, it must not go on as the parent
        traceback.print_exc()
        os._exit(1)


def _trace(request: int, pid: int = 0) -> int:
    trace = ctypes.CDLL(None).ptrace
    trace.argtypes, trace.restype = [ctypes.c_long] * 4, ctypes.c_long
    return int(trace(request, pid, 0, 0))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
