"""How long a thousand models take to be listed: read anew, against the libraries' own way; and on a second start.

The first part is timed from asking to a list of all models in the asking process, with the reading child and the
libraries' process both started and everything imported; the page cache is left as it is. Our rows are there when every
model has its name, configuration and sizes, which is what the libraries tell; the headers of the weights, which the
libraries do not read, are a figure of their own, and so is the time with the start of the child.

The second part is the app in a pseudo-terminal, from the start of the program to a list of all models that is no longer
being looked at, against the same app without models.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.figures import difference, ratio
from benchmarks.model_tree import make_models
from benchmarks.peers.in_pty import InPty, in_pty, of_a_user
from benchmarks.report import Report
from benchmarks.sides import Peer, as_users_have_it
from benchmarks.startup import DECK
from benchmarks.turns import in_turns
from modeldeck.backend.catalog.live_catalog import CatalogSettled, LiveCatalog
from modeldeck.backend.catalog.places import Places
from modeldeck.backend.catalog.starter import find_starter
from modeldeck.backend.embedded import embedded_scanner
from modeldeck.backend.engine_client import EngineClient

MODELS = 1000
LIBRARIES = "scan_cache_dir and AutoConfig"
TARGET_RATIO = 0.2
TARGET_MS = 150.0
STARTS = 3
"""Of each side in a round: two children start as well, on what may be two cores."""
_COUNTS = re.compile(r"Models (\d+)(?: by \w+)?(?P<looking> \.\.\.)?")
SETTLE_SECONDS = 2.5
"""Files that are younger are not kept in the index."""
_INDEX_SECONDS = 300.0


@dataclass(frozen=True)
class Tree:
    """So many models in a model folder and in a hub cache."""

    root: Path
    count: int

    @property
    def folders(self) -> Path:
        """Where one in ten lies."""
        return self.root / "models"

    @property
    def hub_cache(self) -> Path:
        """Where the others lie."""
        return self.root / "hub"

    def make(self, *, bare: bool = False) -> None:
        """Write them; bare ones have no file that nobody reads."""
        make_models(self.folders, self.hub_cache, self.count, bare=bare)


@dataclass(frozen=True)
class Scanned:
    """Seconds from asking."""

    listed: float
    whole: float
    """All headers read, too."""


def main(pairs: int, report: Report) -> None:
    """Both parts."""
    with TemporaryDirectory() as folder:
        tree = Tree(Path(folder).resolve(), MODELS)
        tree.make()
        time.sleep(SETTLE_SECONDS)
        _against_libraries(tree, pairs, report)
        _second_start(tree, pairs, report)


def _against_libraries(tree: Tree, pairs: int, report: Report) -> None:
    whole: list[float] = []
    with_start: list[float] = []

    def ours() -> float:
        scanned = scan(tree)
        whole.append(scanned.whole)
        with_start.append(scan(tree, started=False).listed)
        return scanned.listed

    with _libraries() as libraries:

        def theirs() -> float:
            return libraries.measure(hub_cache=str(tree.hub_cache), folders=str(tree.folders))

        ours()
        theirs()
        whole.clear()
        with_start.clear()
        listed, peers = in_turns(pairs, ours, theirs)
    what = f"{MODELS:,} models listed, no index"
    report.add(
        ratio(what, LIBRARIES, listed, peers, target=TARGET_RATIO),
        ratio(f"{what}, with the start of the child", LIBRARIES, with_start, peers, target=None),
        ratio(f"{what}, with every header of the weights", LIBRARIES, whole, peers, target=None),
    )


def scan(tree: Tree, *, started: bool = True) -> Scanned:
    """Look at everything without an index; ``started`` leaves the start of the child out."""
    return asyncio.run(_scan(tree, started=started))


async def _scan(tree: Tree, *, started: bool) -> Scanned:
    start = embedded_scanner(lambda _line: None)
    ready = await start() if started else None

    async def child() -> EngineClient:
        return ready or await start()

    catalog = LiveCatalog(Places.of([tree.folders], tree.hub_cache, starter=False), None, child)
    asked = time.perf_counter()
    listed = 0.0
    ids: set[str] = set()
    async with aclosing(catalog.follow()) as events:
        async for event in events:
            if isinstance(event, CatalogSettled):
                return Scanned(listed, time.perf_counter() - asked)
            ids.update(model.id for model in event.added)
            if len(ids) == tree.count and not listed:
                listed = time.perf_counter() - asked
    raise RuntimeError("the search for models ended early")


@contextmanager
def _libraries() -> Iterator[Peer]:
    command = [sys.executable, "-m", "benchmarks.peers.library_scan"]
    environ = as_users_have_it() | {"HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ
    ) as process:
        side = Peer(process)
        side.answer()
        yield side
        process.kill()


def _second_start(tree: Tree, pairs: int, report: Report) -> None:
    full = user_with_models(tree.root / "full-home", tree)
    empty = user_with_models(tree.root / "empty-home", Tree(tree.root / "nothing", 0))
    write_index(full, tree.root / "full-home", MODELS)
    seconds_to_list(empty, 0)  # both compile what there is to compile

    def usually(environ: Mapping[str, str], models: int) -> float:
        return median(seconds_to_list(environ, models) for _ in range(STARTS))

    with_models, without = in_turns(pairs, lambda: usually(full, MODELS), lambda: usually(empty, 0))
    figure = difference(
        f"second start to a complete list of {MODELS:,} models",
        "the app without models",
        [1000 * seconds for seconds in with_models],
        [1000 * seconds for seconds in without],
        target=TARGET_MS,
        detail=f"Each round is the median of {STARTS} starts of each side.",
    )
    report.add(figure)


def user_with_models(home: Path, tree: Tree) -> Mapping[str, str]:
    """The environment of a user who has these models, and a new home."""
    home.mkdir()
    return of_a_user(home, MODELDECK_MODEL_DIRS=str(tree.folders), HF_HUB_CACHE=str(tree.hub_cache))


def seconds_to_list(environ: Mapping[str, str], models: int) -> float:
    """From the start until the list is complete."""
    with in_pty(DECK, environ) as program:
        return list_completes(program, models)


def list_completes(program: InPty, models: int) -> float:
    """Seconds until the pane's title counts all models, and says that nothing is being looked for any more."""
    expected = models + (find_starter() is not None)

    def complete(lines: Sequence[str]) -> bool:
        found = _COUNTS.search(lines[0])
        return found is not None and int(found[1]) == expected and not found["looking"]

    return program.seconds_until_screen(rf"Models {expected} (?!\.\.\.)", complete)


def write_index(environ: Mapping[str, str], home: Path, models: int) -> None:
    """A first start, which ends when the index and its witness are there. Raises RuntimeError when they never are."""
    deadline = time.monotonic() + _INDEX_SECONDS
    with in_pty(DECK, environ) as program:
        list_completes(program, models)
        while not list(home.glob(".cache/modeldeck/*.seen.json")):
            if time.monotonic() > deadline:
                raise RuntimeError("the index is never written")
            program.let_run(0.1)
