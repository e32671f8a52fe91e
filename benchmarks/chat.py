"""Time to first token of a late turn: with the cache that the engine keeps, against what else there is.

That is reading the conversation anew; and the floor, which is plain transformers that holds a cache of the same length
and reads the same new tokens. Ours is from the request on its pipe to the first token on its pipe.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

from benchmarks.charts import Chart, Series
from benchmarks.figures import ratio
from benchmarks.report import Report
from benchmarks.sides import Peer, engine, peer, starter
from benchmarks.turns import in_turns
from modeldeck.backend.chat_messages import ChatMessage, GenerationStats
from modeldeck.backend.protocol import Generate, GenerationFailed, GenerationFinished, LoadFinished, TokensGenerated
from modeldeck.config.generation import GenerationSettings
from tests.real.engine import Engine

TURNS = 10
SHARE = 0.15
FLOOR = 1.2
REPLY_TOKENS = 24
"""That are compared, token by token."""
QUESTION = "And what did the keeper of the lighthouse write into his book that evening, before the lamp was lit?"
ANSWER = (
    "The wind had turned to the north by noon, and the boats stayed in the harbour. He carried oil up the stairs, "
    "cleaned the glass, counted the ships that passed beyond the reef, and noted the hour of each. A gull with a "
    "broken wing had come to the door; he fed it bread and fish, and gave it a box with straw in the lee of the wall. "
) * 4
OTHER = (ChatMessage("user", "What is the capital of France?"),)
Turns = tuple[ChatMessage, ...]


class Asked(NamedTuple):
    """One reply."""

    seconds: float
    """To its first token."""
    stats: GenerationStats


def main(pairs: int, report: Report) -> None:
    """Turn 10 against both, and every turn of one conversation. Raises RuntimeError where a reply is another."""
    if (model := starter()) is None:
        report.skip("time to first token of a late turn", "the starter model is not installed")
        return
    with TemporaryDirectory(prefix="modeldeck-bench-") as folder, engine(Path(folder)) as ours:
        loaded = ours.load(model, dtype="float32")
        if not isinstance(loaded, LoadFinished):
            raise RuntimeError(loaded.message)
        _against_anew(ours, pairs, report)
        _by_turn(ours, report)
        with peer() as plain:
            plain.measure(load=str(model), dtype="float32")
            _against_floor(ours, plain, pairs, report)


def conversation(turns: int) -> Turns:
    """One whose last question is still to be answered."""
    said: list[ChatMessage] = []
    for number in range(1, turns):
        said += [ChatMessage("user", f"{number}. {QUESTION}"), ChatMessage("assistant", f"{number}. {ANSWER}")]
    return (*said, ChatMessage("user", f"{turns}. {QUESTION}"))


def _against_anew(ours: Engine, pairs: int, report: Report) -> None:
    kept, anew = list[Asked](), list[Asked]()

    def with_cache() -> float:
        kept.append(_with_cache(ours, TURNS, REPLY_TOKENS))
        return kept[-1].seconds

    def without() -> float:
        anew.append(_without(ours, TURNS, REPLY_TOKENS))
        return anew[-1].seconds

    figures = in_turns(pairs, with_cache, without)
    if len({asked.stats.token_ids for asked in (*kept, *anew)}) != 1:
        raise RuntimeError("the kept cache changed a greedy reply in float32")
    stats = kept[-1].stats
    detail = (
        f"A conversation of {stats.prompt_tokens:,} tokens, {stats.reused_tokens:,} of them kept; the greedy replies "
        "in float32 are the same, token by token."
    )
    what = f"time to first token, turn {TURNS} of a conversation"
    report.add(ratio(what, "the same without the kept cache", *figures, target=SHARE, detail=detail))


def _against_floor(ours: Engine, plain: Peer, pairs: int, report: Report) -> None:
    stats = _with_cache(ours, TURNS, 1).stats
    order = {
        "turns": [{"role": turn.role, "content": turn.content} for turn in conversation(TURNS)],
        "kept": stats.reused_tokens,
        "tokens": stats.prompt_tokens,
    }
    plain.measure(**order)  # which reads the conversation
    figures = in_turns(pairs, lambda: _with_cache(ours, TURNS, 1).seconds, lambda: plain.measure(**order))
    new = stats.prompt_tokens - stats.reused_tokens
    detail = (
        f"Both read {new} tokens on a cache of {stats.reused_tokens:,}; the peer has no text, no pipe and no template."
    )
    what = f"time to first token, turn {TURNS} of a conversation"
    report.add(
        ratio(what, "the same new tokens on a plain cache of the same length", *figures, target=FLOOR, detail=detail)
    )


def _by_turn(ours: Engine, report: Report) -> None:
    turns = range(1, TURNS + 1)
    kept, anew = list[float](), list[float]()
    for turn in turns:
        anew.append(_without(ours, turn, 1).seconds)
        kept.append(median(_with_cache(ours, turn, 1).seconds for _ in range(3)))
    xs = tuple(float(turn) for turn in turns)
    title, series = (
        "Time to first token by turn",
        (Series("read anew", xs, tuple(anew)), Series("kept", xs, tuple(kept))),
    )
    report.chart(Chart("first-token-by-turn", title, "lines", "turn of the conversation", "seconds", series))


def _with_cache(ours: Engine, turn: int, tokens: int) -> Asked:
    """Its reply where the engine has just written the one before it."""
    _ask(ours, conversation(turn)[:-1] or OTHER, 1)
    return _ask(ours, conversation(turn), tokens)


def _without(ours: Engine, turn: int, tokens: int) -> Asked:
    """Its reply where the engine has just replied to something else."""
    _ask(ours, OTHER, 1)
    return _ask(ours, conversation(turn), tokens)


def _ask(ours: Engine, messages: Turns, new_tokens: int) -> Asked:
    request_id, first = ours.next_id(), 0.0
    start = perf_counter()
    ours.send(Generate(request_id, messages, GenerationSettings(do_sample=False, max_new_tokens=new_tokens)))
    for event in ours.events():
        match event:
            case TokensGenerated() if event.request_id == request_id:
                first = first or perf_counter() - start
            case GenerationFinished() if event.request_id == request_id:
                return Asked(first, event.stats)
            case GenerationFailed() if event.request_id == request_id:
                raise RuntimeError(event.message)
    raise AssertionError("unreachable")
