"""Downloads that are cut off, killed, locked out or out of room, against a hub on this machine (F19, F20, F21)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from time import time

import pytest
from textual.widgets import Input

from modeldeck.backend.catalog.catalog import Catalog
from modeldeck.backend.catalog.deletion import delete, plan_deletion
from modeldeck.backend.download_messages import DownloadFinished, DownloadProgress
from modeldeck.backend.downloader.leftovers import QUIET_SECONDS, remove_leftovers
from modeldeck.backend.embedded import downloader_environment
from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.errors import DownloadError
from modeldeck.backend.hub_download import download
from modeldeck.backend.models import ModelInfo
from modeldeck.config.paths import Paths
from modeldeck.tui.screens.add_dialog import AddDialog
from tests.fakes.driving import children, is_alive
from tests.fakes.hub_server import COMMIT, Cut, Hub, Slow, etag, hub_server
from tests.fakes.scripted_engine import scripted_starter
from tests.helpers import eventually, screen_text, wait_until
from tests.tui.deck import WIDE, deck, opened
from tests.unit.catalog.trees import safetensors_bytes

WEIGHTS = safetensors_bytes({"w": ("F32", [500_000])})
MANY = safetensors_bytes({"w": ("F32", [6 * 2**20])})
"""More than twice what huggingface_hub writes at a time."""
CONFIG = b'{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}'
DOWNLOADER = "from modeldeck.backend.downloader.__main__ import main; main()"
NO_PAUSES = "import time; time.sleep = lambda _seconds: None"
"""huggingface_hub waits a second before each of its tries."""
FULL = """
import pathlib
real = pathlib.Path.open
def full(path, *arguments, **keywords):
    return real(pathlib.Path("/dev/full") if path.name.endswith(".incomplete") else path, *arguments, **keywords)
pathlib.Path.open = full
"""
"""Every write to a piece goes to a disk that is full, by the kernel's own word."""
HOLDER = """
import sys, filelock
with filelock.FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_server() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        yield running


@pytest.fixture
def repo(paths: Paths) -> Path:
    """The folder of the repository in the cache."""
    return paths.hub_cache / "models--org--tiny"


class Downloader:
    """Starts real downloaders; ``before`` is code that each of them runs first."""

    def __init__(self, before: str = "") -> None:
        self.before = before
        self.pids: list[int] = []

    async def __call__(self) -> EngineClient:
        command = (sys.executable, "-P", "-c", f"{self.before}\n{DOWNLOADER}")
        child = await EngineClient.start(command, downloader_environment(Paths.from_environment(), os.environ))
        self.pids.append(child.pid)
        return child

    def events(self) -> AsyncGenerator[DownloadProgress | DownloadFinished, None]:
        return download("org/tiny", None, self)

    async def fetch(self) -> Path:
        """The snapshot's folder."""
        async with aclosing(self.events()) as events:
            *_, last = [event async for event in events]
        assert isinstance(last, DownloadFinished)
        return Path(last.path)


def the_row(paths: Paths) -> ModelInfo:
    (row,) = Catalog((), paths.hub_cache, starter=False).scan()
    return row


def asked_for(hub: Hub, name: str) -> int:
    """How often a file was fetched."""
    return sum(method == "GET" and path.endswith(f"/{name}") for method, path, _ in hub.requests)


async def test_f19_a_connection_that_is_lost_once_costs_nothing(hub: Hub) -> None:
    cut = Cut(WEIGHTS, 1)
    cut.gate.set()
    hub.repos["org/tiny"] = {"config.json": CONFIG, "model.safetensors": cut}
    snapshot = await Downloader(NO_PAUSES).fetch()
    assert (snapshot / "model.safetensors").read_bytes() == WEIGHTS


async def test_f19_a_network_that_is_lost_is_a_sentence_and_a_row_and_the_next_try_fetches_the_rest(
    hub: Hub, paths: Paths, repo: Path
) -> None:
    cut = Cut(WEIGHTS, 1000)
    hub.repos["org/tiny"] = {"config.json": CONFIG, "model.safetensors": cut}
    task = asyncio.create_task(Downloader(NO_PAUSES).fetch())
    await eventually(lambda: list((repo / "snapshots").rglob("config.json")), 30, "the first file")
    cut.gate.set()
    with pytest.raises(DownloadError, match="cannot be reached; check the network and try again"):
        await task
    assert children() == []
    assert the_row(paths).problems[0].startswith("Download incomplete: ")
    cut.times = 0
    snapshot = await Downloader().fetch()
    assert (snapshot / "model.safetensors").read_bytes() == WEIGHTS
    assert the_row(paths).loadable
    assert asked_for(hub, "config.json") == 1


async def test_f19_what_a_killed_download_left_is_in_the_row_and_goes_with_it(hub: Hub, paths: Paths) -> None:
    slow = Slow(MANY)
    hub.repos["org/tiny"] = {"model.safetensors": slow}
    await killed_half_way(slow)
    (piece,) = paths.hub_cache.rglob("*.incomplete")
    row = the_row(paths)
    assert row.problems == ("Download incomplete: no file of it is whole yet.",)
    assert row.disk_bytes >= piece.stat().st_size > 0
    plan = plan_deletion(row, (), paths.hub_cache)
    assert plan.freed_bytes >= piece.stat().st_size
    delete(plan)
    assert not list(paths.hub_cache.rglob("*.incomplete"))


async def test_f19_the_next_try_removes_what_a_killed_one_left(hub: Hub, paths: Paths) -> None:
    slow = Slow(MANY)
    hub.repos["org/tiny"] = {"config.json": CONFIG, "model.safetensors": slow}
    await killed_half_way(slow)
    pieces = list(paths.hub_cache.rglob("*.incomplete"))
    assert pieces
    for piece in pieces:
        os.utime(piece, (0, 0))
    slow.gate.set()
    await Downloader().fetch()
    assert not list(paths.hub_cache.rglob("*.incomplete"))
    assert the_row(paths).loadable


def test_f19_a_piece_that_somebody_may_be_writing_stays(repo: Path) -> None:
    young, old, foreign = pieces = [
        repo / "blobs" / name for name in ("b.1234abcd.incomplete", "a.1234abcd.incomplete", "c.incomplete")
    ]
    old.parent.mkdir(parents=True)
    for piece in pieces:
        piece.write_bytes(b"half")
    for piece in (old, foreign):
        os.utime(piece, (0, 0))
    lock = repo.parent / ".locks" / repo.name / "a.lock"
    lock.parent.mkdir(parents=True)
    with held(lock):
        remove_leftovers("org/tiny", repo.parent)
        assert old.exists()
    remove_leftovers("org/tiny", repo.parent)
    assert [piece.exists() for piece in pieces] == [True, False, True]
    assert young.stat().st_mtime + QUIET_SECONDS > time()


async def test_f20_a_disk_that_fills_during_a_download_is_said_and_leaves_no_piece(
    hub: Hub, paths: Paths, repo: Path
) -> None:
    hub.repos["org/tiny"] = {"config.json": CONFIG, "model.safetensors": WEIGHTS}
    with pytest.raises(DownloadError, match=r"The disk of .* is full; make room and try again"):
        await Downloader(FULL).fetch()
    assert children() == []
    assert not list(paths.hub_cache.rglob("*.incomplete"))
    assert not (repo / "snapshots").exists() or not list((repo / "snapshots").rglob("*.safetensors"))


async def test_f21_a_lock_that_another_holds_is_named_with_the_time_and_a_cancel_works(hub: Hub, repo: Path) -> None:
    hub.repos["org/tiny"] = {"config.json": CONFIG, "model.safetensors": WEIGHTS}
    lock = lock_of(repo, "model.safetensors")
    start = Downloader()
    with held(lock):
        async with aclosing(start.events()) as events:
            waiting = [event async for event in until_told(events)]
        assert not is_alive(start.pids[0])
    assert waiting[-1].note.startswith("waiting ")
    assert waiting[-1].note.endswith(" s for another download")
    assert int(waiting[-1].note.split()[1]) >= 1
    assert waiting[-1].advice.startswith(f"Another download holds the lock file {lock}. If none is running")


async def test_f21_a_lock_that_nobody_lets_go_of_can_be_removed_as_it_is_said(hub: Hub, repo: Path) -> None:
    hub.repos["org/tiny"] = {"config.json": CONFIG, "model.safetensors": WEIGHTS}
    with held(lock_of(repo, "model.safetensors")):
        async with aclosing(Downloader().events()) as events:
            *_, waits = [event async for event in until_told(events)]
            os.unlink(waits.lock_file)  # noqa: PTH108
            *_, last = [event async for event in events]
        assert isinstance(last, DownloadFinished)


async def test_f21_the_screen_tells_who_is_waited_for_and_escape_cancels() -> None:
    waits = {"type": "download_progress", "request_id": 1, "done_bytes": 0, "total_bytes": 4 * 10**9}
    waits |= {"note": "waiting 7 s for another download", "lock_file": "/cache/.locks/a[b].lock"}
    app = deck(start_download=scripted_starter(f"ready\nevent {json.dumps(waits)}\nhang"))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("a")
        await wait_until(pilot, lambda: isinstance(app.screen, AddDialog))
        app.screen.query_one(Input).value = "org/tiny"
        await pilot.press("enter")
        await wait_until(pilot, lambda: "waiting 7 s for another download" in screen_text(app))
        await wait_until(pilot, lambda: "holds the lock file /cache/.locks/a[b].lock" in whole_text(screen_text(app)))
        await pilot.press("escape")
        await wait_until(pilot, lambda: "Download cancelled" in screen_text(app))
        await wait_until(pilot, lambda: not app.main_screen.downloads.running)
    assert children() == []


def whole_text(screen: str) -> str:
    """What stands in the notifications, which are wrapped at the right."""
    return " ".join(line[-60:].strip(" │▌") for line in screen.splitlines()).replace("  ", " ")


async def until_told(
    events: AsyncGenerator[DownloadProgress | DownloadFinished, None],
) -> AsyncGenerator[DownloadProgress, None]:
    """The progress up to the first that waits for a lock."""
    async for event in events:
        assert isinstance(event, DownloadProgress)
        yield event
        if event.lock_file:
            return


def lock_of(repo: Path, name: str) -> Path:
    blob = etag(f"/org/tiny/resolve/{COMMIT}/{name}")
    lock = repo.parent / ".locks" / repo.name / f"{blob}.lock"
    lock.parent.mkdir(parents=True)
    return lock


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Another process has it."""
    command = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
        holder.kill()


async def killed_half_way(slow: Slow) -> None:
    """A download that is killed, and can clean nothing up."""
    start = Downloader()
    task = asyncio.create_task(start.fetch())
    await eventually(slow.started.is_set, 30, "the download")
    pieces = Paths.from_environment().hub_cache
    await eventually(lambda: any(piece.stat().st_size for piece in pieces.rglob("*.incomplete")), 30, "a piece")
    os.kill(start.pids[0], signal.SIGKILL)
    with pytest.raises(DownloadError, match="broke off; try again"):
        await task
