"""How long the user waits: to the first frame, to all panes, each against a bare Textual app, in a pseudo-terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.compare import Comparison, compare, in_turns
from benchmarks.peers.in_pty import in_pty

_DECK = (sys.executable, "-c", "import sys; from modeldeck.tui.cli import main; sys.exit(main())")
_BARE = (sys.executable, str(Path(__file__).parent / "peers" / "bare_app.py"))
_FIRST_FRAME = ("Params", "Filter", "Palette")
_ALL_PANES = (*_FIRST_FRAME, "NOT LOADED", "Ask the model")


def _environ(home: str) -> Mapping[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {"HOME": home, "TERM": "xterm-256color"}


def main(pairs: int = 10) -> list[Comparison]:
    """Print and return the comparisons."""
    with TemporaryDirectory() as home:
        environ = _environ(home)
        all_panes: list[float] = []

        def deck() -> float:
            with in_pty(_DECK, environ) as program:
                first = program.seconds_until(*_FIRST_FRAME)
                program.type("/")  # honoured from the first frame on, or the filter never comes
                all_panes.append(program.seconds_until(*_ALL_PANES))
                program.seconds_until("or: fits 4bit")
                return first

        def bare() -> float:
            with in_pty(_BARE, environ) as program:
                return program.seconds_until("model 9", "palette")

        deck(), bare()  # so that neither has to compile anything
        all_panes.clear()
        firsts, theirs = in_turns(pairs, deck, bare)
        results = [
            compare("start to the first frame", firsts, theirs, target=1.3),
            compare("start to all panes, against the peer's first frame", all_panes, theirs, target=2.0),
        ]
    for result in results:
        print(result, flush=True)
    return results


if __name__ == "__main__":
    main()
