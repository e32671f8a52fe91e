"""Every test runs in a home of its own, without a network, and leaves no process and no token behind."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from modeldeck.config.paths import Paths

CANARY = "hf_TheCanaryOfTheTestsNeverToBeKept00"
"""The user's token in every test, in the environment and in the hub's own store; nothing of ours may hold it (S14)."""
_FOREIGN = ("HF_", "HUGGINGFACE_", "XDG_", "MODELDECK_", "TEXTUAL", "TRANSFORMERS_", "CUDA_")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with the hub's token alone; nothing of the machine's own settings or models leaks in."""
    folder = tmp_path / "home"
    store = folder / ".cache" / "huggingface" / "token"
    store.parent.mkdir(parents=True)
    store.write_text(CANARY)
    for name in list(os.environ):
        if name.startswith("TEXTUAL_SNAPSHOT"):
            continue  # the snapshot plugin talks to itself with these
        if name.startswith(_FOREIGN) or name in {"NO_COLOR", "COLORTERM"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("HF_TOKEN", CANARY)
    return folder


@pytest.fixture(autouse=True)
def _no_token_kept(home: Path) -> Iterator[None]:
    """Nothing that the program has written holds the token: log, conversations, settings, indexes (S14)."""
    yield
    places = {home / ".local" / "state", home / ".config", home / ".cache" / "modeldeck"}
    with suppress(RuntimeError):  # a test took the home away
        paths = Paths.from_environment()
        places |= {paths.state, paths.cache, paths.log_file.parent}
    ours = [place for place in places if home.parent in place.parents]
    leaks = [path for place in ours for path in place.rglob("*") if path.is_file() and _holds_token(path)]
    assert not leaks, f"the user's token stands in {leaks}"


def made_in(home: Path) -> list[Path]:
    """Everything in a test's home but the hub's token, with which it begins."""
    store = home / ".cache" / "huggingface" / "token"
    return sorted({*home.rglob("*")} - {store, store.parent, store.parent.parent})


def _holds_token(path: Path) -> bool:
    with suppress(OSError):
        return CANARY.encode() in path.read_bytes()
    return False


@pytest.fixture
def paths(home: Path) -> Paths:
    """Where the program keeps its files under the test's home."""
    return Paths.from_environment()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only this machine may be talked to."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else None
        if host is not None and host not in {"127.0.0.1", "::1", "localhost"}:
            raise AssertionError(f"a test tried to reach {host}")
        connect(self, address)  # type: ignore[arg-type]  # whatever the caller gave to socket.connect

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.fixture(autouse=True)
def _no_process_left() -> Iterator[None]:
    """A test that leaves a child behind fails, and the child is ended."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    _, alive = psutil.wait_procs(left, timeout=2)
    stuck = [f"{child.pid} {child.name()}" for child in alive if child.is_running()]
    for child in alive:
        child.kill()
    assert not stuck, f"processes left behind: {stuck}"
