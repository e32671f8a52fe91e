"""Tokens per second of a whole reply: through our engine and its pipe, against raw ``model.generate``.

And with prompt lookup against without, where it helps and where it does not: rewriting code, and free text.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.figures import FEWEST_ROUNDS, ratio
from benchmarks.report import Report
from benchmarks.sides import Peer, engine, make_llama, peer, starter
from benchmarks.turns import in_turns
from modeldeck.config.generation import GenerationSettings
from tests.real.engine import Engine

TOKENS = 128
SHARE = 0.97
GAIN = 1.3
PER_SECOND = "tokens/s"
PROMPT = "What is the capital of France? " * 4
SAMPLED: dict[str, object] = {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 50}
GREEDY: dict[str, object] = {"do_sample": False}
LOOKUP_TOKENS = 10
CODE = """def area(width, height):
    \"\"\"The area of a rectangle.\"\"\"
    return width * height


def perimeter(width, height):
    \"\"\"The perimeter of a rectangle.\"\"\"
    return 2 * (width + height)


def diagonal(width, height):
    \"\"\"The diagonal of a rectangle.\"\"\"
    return (width ** 2 + height ** 2) ** 0.5
"""
REWRITE = f"Write this Python code again, with the name width changed to w and nothing else changed:\n\n{CODE}"
FREE = "Write a story about a lighthouse keeper and his gull."


def main(pairs: int, report: Report) -> None:
    """Both comparisons with ``generate``, sampled and greedy, then prompt lookup."""
    with TemporaryDirectory(prefix="modeldeck-bench-") as temporary:
        root = Path(temporary)
        model = make_llama(root / "llama")
        with engine(root) as ours, peer() as theirs:
            ours.load(model)
            theirs.measure(load=str(model))
            _compare("sampled", SAMPLED, ours, theirs, pairs, report)
            _compare("greedy", GREEDY, ours, theirs, pairs, report)
        if (gguf := starter()) is None:
            report.skip("prompt lookup", "the starter model is not installed")
            return
        with engine(root) as ours:
            ours.load(gguf, dtype="float32")
            _lookup("rewriting code", REWRITE, GAIN, ours, pairs, report)
            _lookup("free text", FREE, None, ours, min(pairs, FEWEST_ROUNDS), report)  # so slow is not what it is for


def _compare(name: str, settings: dict[str, object], ours: Engine, theirs: Peer, pairs: int, report: Report) -> None:
    def mine() -> float:
        start = perf_counter()
        given = GenerationSettings(max_new_tokens=TOKENS, seed=1, **settings)  # type: ignore[arg-type]  # of the two above
        reply = ours.answer(ours.ask(PROMPT, given))
        if reply.stats is None or reply.stats.new_tokens != TOKENS:
            raise RuntimeError(f"the reply is not {TOKENS} tokens long: {reply.failure}")
        return TOKENS / (perf_counter() - start)

    def plain() -> float:
        return TOKENS / theirs.measure(prompt=PROMPT, seed=1, settings={"max_new_tokens": TOKENS, **settings})

    mine()
    plain()  # one of each before the clock counts
    figures = in_turns(pairs, mine, plain)
    what = f"tokens per second of a reply, {name}"
    detail = f"{TOKENS} tokens through the engine and its pipe, on CPU."
    report.add(
        ratio(what, "raw model.generate", *figures, target=SHARE, at_most=False, side_unit=PER_SECOND, detail=detail)
    )


def lookup_speed(ours: Engine, prompt: str, tokens: int, said: set[tuple[int, ...]]) -> float:
    """Tokens per second of a greedy reply, so many tokens looked up at a time; what it said is added to ``said``."""
    given = GenerationSettings(max_new_tokens=TOKENS, do_sample=False, prompt_lookup_num_tokens=tokens)
    start = perf_counter()
    reply = ours.answer(ours.ask(prompt, given))
    if reply.stats is None:
        raise RuntimeError(reply.failure)
    said.add(reply.stats.token_ids)
    return reply.stats.new_tokens / (perf_counter() - start)


def _lookup(name: str, prompt: str, target: float | None, ours: Engine, pairs: int, report: Report) -> None:
    """Raises RuntimeError where the drafts change a greedy reply in float32."""
    said: set[tuple[int, ...]] = set()
    with_lookup, without = (partial(lookup_speed, ours, prompt, tokens, said) for tokens in (LOOKUP_TOKENS, 0))
    with_lookup(), without()  # one of each before the clock counts
    figures = in_turns(pairs, with_lookup, without)
    if len(said) != 1:
        raise RuntimeError(f"prompt lookup changed a greedy reply: {name}")
    what, against = f"tokens per second with prompt lookup, {name}", "the same without"
    report.add(
        ratio(
            what,
            against,
            *figures,
            target=target,
            at_most=False,
            side_unit=PER_SECOND,
            detail="The greedy replies in float32 are the same, token by token.",
        )
    )
