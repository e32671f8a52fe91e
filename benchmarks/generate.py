"""Tokens per second of a whole reply: through our engine and its pipe, against raw ``model.generate``."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.compare import Comparison, compare, in_turns
from benchmarks.sides import Peer, engine, make_llama, peer
from modeldeck.config.generation import GenerationSettings
from tests.real.engine import Engine

TOKENS = 128
PROMPT = "What is the capital of France? " * 4
SAMPLED: dict[str, object] = {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 50}
GREEDY: dict[str, object] = {"do_sample": False}


def main(pairs: int) -> list[Comparison]:
    """Print both comparisons, sampled and greedy, and return them."""
    results = []
    with TemporaryDirectory(prefix="modeldeck-bench-") as temporary:
        root = Path(temporary)
        model = make_llama(root / "llama")
        with engine(root) as ours, peer() as theirs:
            ours.load(model)
            theirs.measure(load=str(model))
            for name, settings in (("sampled", SAMPLED), ("greedy", GREEDY)):
                results.append(_compare(name, settings, ours, theirs, pairs))
                print(results[-1], flush=True)
    return results


def _compare(name: str, settings: dict[str, object], ours: Engine, theirs: Peer, pairs: int) -> Comparison:
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
    return compare(f"generate, {name}, tokens per second", *figures, target=0.97, at_most=False)
