"""Tokens per second of a real reply until the last of it stands on the screen, against raw ``model.generate``.

The installed program in a terminal, from enter to the line with the figures below the reply; ``generate`` in a process
of plain transformers, which shows nothing; and the design that has ``pipeline`` in a thread of the UI process. They
take turns with the same questions, greedy, the same number of tokens, by the same clock; who has no turn is idle.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter, sleep

import psutil

from benchmarks.figures import ratio
from benchmarks.peers.in_pty import InPty, in_pty
from benchmarks.peers.thread_app import ENDED, LOADED
from benchmarks.report import Report
from benchmarks.sides import Peer, peer
from benchmarks.ui_delay import talking_model
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.store import GenerationStore
from modeldeck.tui.widgets.chat_panel import EMPTY

TOKENS = 128
TARGET = 0.97
QUESTION = "Story {number}. Write a long story about a lighthouse keeper, his gull and the winter of the great storm."
_LAST_WORD = "storm."
_NAME = "lighthouse"
"""Of the model's folder, by which the filter of the list finds it alone."""
_REPLY_ENDED = "token limit"
"""Stands in the line below a reply that has all its tokens, and nowhere else."""
_NEW_CHAT = "\x12n\r"
"""To the turns, a new conversation, back to the prompt."""
_SIZE = {"columns": 200, "lines": 50}
"""So wide that no line that is looked for wraps."""
_DECK = (sys.executable, "-c", "import sys; from modeldeck.tui.cli import main; sys.exit(main())")
_ROOT = Path(__file__).resolve().parent.parent
_SETTLE_SECONDS = 0.5
_LIMIT_SECONDS = 240.0
_IDLE_PERCENT = 10.0


def main(pairs: int, report: Report) -> None:
    """All sides hold the model at the same time."""
    with TemporaryDirectory(prefix="modeldeck-bench-") as temporary:
        root = Path(temporary).resolve()
        model = talking_model(root / "models" / _NAME)
        with _deck(root) as deck, _threads(root, model) as threads, peer() as plain:
            plain.measure(load=str(model))
            for program in (deck, threads):
                _until_idle(program.pid)
            speeds = _in_turns(
                pairs,
                {
                    "deck": lambda question: _ask_deck(deck, question),
                    "generate": lambda question: _ask_plain(plain, question),
                    "threads": lambda question: _ask_threads(threads, question),
                },
            )
    what = "tokens per second, shown on the screen"
    detail = f"{TOKENS} tokens; from enter to the last of them on the screen, the reading of the prompt included."
    report.add(
        ratio(
            what,
            "raw model.generate, shown nowhere",
            speeds["deck"],
            speeds["generate"],
            target=TARGET,
            at_most=False,
            side_unit="tok/s",
            detail=detail,
        ),
        ratio(
            what,
            "pipeline in a thread of the UI process",
            speeds["deck"],
            speeds["threads"],
            target=None,
            at_most=False,
            side_unit="tok/s",
        ),
    )


def _in_turns(rounds: int, sides: Mapping[str, Callable[[str], float]]) -> dict[str, list[float]]:
    """Tokens per second of each side; what each is asked first counts for nothing.

    The first two are one right after the other, and each of them as often before the other as after it.
    """
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds + 1):
        for name in names:
            sleep(_SETTLE_SECONDS)
            seconds = sides[name](QUESTION.format(number=number))
            if number:
                speeds[name].append(TOKENS / seconds)
        names[:2] = reversed(names[:2])
    return speeds


def _ask_deck(deck: InPty, question: str) -> float:
    _type(deck, _NEW_CHAT, EMPTY)  # or the end of the reply before may be drawn once more, later than one thinks
    _type(deck, question, _LAST_WORD)
    return deck.answer("\r", _REPLY_ENDED, _LIMIT_SECONDS)[1]


def _ask_threads(threads: InPty, question: str) -> float:
    _type(threads, question, _LAST_WORD)
    return threads.answer("\r", ENDED, _LIMIT_SECONDS)[1]


def _ask_plain(plain: Peer, question: str) -> float:
    settings = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "do_sample": False}
    start = perf_counter()
    plain.measure(prompt=question, seed=1, settings=settings)
    return perf_counter() - start


def _type(program: InPty, keys: str, mark: str = "") -> None:
    """What is typed now counts for nothing: it is drawn before the clock starts."""
    if mark:
        program.answer(keys, mark)
    else:
        program.type(keys)
    sleep(_SETTLE_SECONDS)
    program.drain()


@contextmanager
def _deck(root: Path) -> Iterator[InPty]:
    """The program, with the model loaded and the keys in the prompt."""
    settings = GenerationSettings(max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False)
    GenerationStore(root / ".config" / "modeldeck" / "generation.toml").save(None, settings)
    environ = _environ(root) | {"MODELDECK_MODEL_DIRS": str(root / "models")}
    with in_pty(_DECK, environ, **_SIZE) as program:
        program.seconds_until(_NAME, "Ask the model", limit=_LIMIT_SECONDS)
        _until_idle(program.pid)  # the spare engine has imported what it needs
        _type(program, f"/{_NAME}")
        _type(program, "\r")
        program.answer("\r", "\u25cf LOADED", _LIMIT_SECONDS)
        _type(program, "\t")
        yield program


@contextmanager
def _threads(root: Path, model: Path) -> Iterator[InPty]:
    """The thread design, with the model loaded."""
    command = (sys.executable, "-m", "benchmarks.peers.thread_app", str(model), str(TOKENS))
    with in_pty(command, _environ(root), **_SIZE) as program:
        program.seconds_until(LOADED, limit=_LIMIT_SECONDS)
        yield program


def _environ(home: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {"HOME": str(home), "TERM": "xterm-256color", "PYTHONPATH": str(_ROOT)}


def _until_idle(pid: int) -> None:
    """Wait until a program and its children do next to nothing for a second."""
    deadline = monotonic() + _LIMIT_SECONDS
    while monotonic() < deadline:
        before = _processor_seconds(pid)
        sleep(1.0)
        if 100 * (_processor_seconds(pid) - before) < _IDLE_PERCENT:
            return
    raise RuntimeError("a program that has nothing to do is never idle")


def _processor_seconds(pid: int) -> float:
    total = 0.0
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total
