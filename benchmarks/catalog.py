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
import os
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

from benchmarks.compare import FEWEST_PAIRS, Comparison, compare, in_turns, interval
from benchmarks.model_tree import make_models
from benchmarks.peers.in_pty import in_pty
from benchmarks.sides import Peer, as_users_have_it
from modeldeck.backend.catalog.live_catalog import CatalogSettled, LiveCatalog
from modeldeck.backend.catalog.places import Places
from modeldeck.backend.catalog.starter import find_starter
from modeldeck.backend.embedded import embedded_scanner
from modeldeck.backend.engine_client import EngineClient

MODELS = 1000
TARGET_RATIO = 0.2
TARGET_MS = 150.0
_DECK = (sys.executable, "-c", "import sys; from modeldeck.tui.cli import main; sys.exit(main())")
_COUNTS = re.compile(r"Models (\d+)(?: by \w+)?(?P<looking> \.\.\.)?")
_SETTLE_SECONDS = 2.5
"""Files that are younger are not kept in the index."""


@dataclass(frozen=True)
class Scanned:
    """Seconds from asking."""

    listed: float
    whole: float
    """All headers read, too."""


def main(pairs: int = 10) -> list[Comparison]:
    """Print the figures; return the comparisons with the libraries."""
    with TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        make_models(root / "models", root / "hub", MODELS)
        time.sleep(_SETTLE_SECONDS)
        results = _against_libraries(root, pairs)
        _second_start(root, pairs)
    return results


def _against_libraries(root: Path, pairs: int) -> list[Comparison]:
    whole: list[float] = []
    with_start: list[float] = []

    def ours() -> float:
        scanned = asyncio.run(_scan(root, started=True))
        whole.append(scanned.whole)
        with_start.append(asyncio.run(_scan(root, started=False)).listed)
        return scanned.listed

    with _libraries() as libraries:

        def theirs() -> float:
            return libraries.measure(hub_cache=str(root / "hub"), folders=str(root / "models"))

        ours()
        theirs()
        whole.clear()
        with_start.clear()
        listed, peers = in_turns(pairs, ours, theirs)
    results = [
        compare(f"{MODELS} models without an index", listed, peers, target=TARGET_RATIO),
        compare("the same with the start of the child", with_start, peers, target=TARGET_RATIO),
        compare("the same with every header of the weights", whole, peers, target=TARGET_RATIO),
    ]
    for result in results:
        print(result, flush=True)
    return results


async def _scan(root: Path, *, started: bool) -> Scanned:
    """Without an index; ``started`` leaves the start of the child out."""
    start = embedded_scanner(lambda _line: None)
    ready = await start() if started else None

    async def child() -> EngineClient:
        return ready or await start()

    catalog = LiveCatalog(Places.of([root / "models"], root / "hub", starter=False), None, child)
    asked = time.perf_counter()
    listed = 0.0
    ids: set[str] = set()
    async with aclosing(catalog.follow()) as events:
        async for event in events:
            if isinstance(event, CatalogSettled):
                return Scanned(listed, time.perf_counter() - asked)
            ids.update(model.id for model in event.added)
            if len(ids) == MODELS and not listed:
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


def _second_start(root: Path, pairs: int) -> None:
    starter = find_starter() is not None
    full = _environ(root / "full-home", root / "models", root / "hub")
    empty = _environ(root / "empty-home", root / "nothing", root / "nothing")
    many, none = MODELS + starter, int(starter)
    _start(full, many)  # writes the index
    _start(empty, none)  # both compile what there is to compile
    with_models, without = in_turns(pairs, lambda: _start(full, many), lambda: _start(empty, none))
    differences = [1000 * (mine - theirs) for mine, theirs in zip(with_models, without, strict=True)]
    low, high = interval(differences)
    few = len(differences) < FEWEST_PAIRS
    verdict = "undecided" if few else "met" if high <= TARGET_MS else "missed" if low > TARGET_MS else "undecided"
    print(
        f"second start to a complete list of {MODELS}: {median(differences):+.0f} ms against the app without models "
        f"[{low:+.0f} to {high:+.0f}], {pairs} pairs, target at most +{TARGET_MS:g} ms: {verdict}   "
        f"(with {median(with_models):.3f}, without {median(without):.3f})",
        flush=True,
    )


def _environ(home: Path, models: Path, hub: Path) -> Mapping[str, str]:
    home.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    places = {"MODELDECK_MODEL_DIRS": str(models), "HF_HUB_CACHE": str(hub)}
    return kept | places | {"HOME": str(home), "TERM": "xterm-256color"}


def _start(environ: Mapping[str, str], models: int) -> float:
    """Seconds until the title of the pane counts all models, and says that nothing is being looked for any more."""

    def complete(lines: Sequence[str]) -> bool:
        found = _COUNTS.search(lines[0])
        return found is not None and int(found[1]) == models and not found["looking"]

    with in_pty(_DECK, environ) as program:
        return program.seconds_until_screen(complete)


if __name__ == "__main__":
    main()
