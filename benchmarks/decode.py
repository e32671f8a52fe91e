"""Tokens per second of a reply on a GPU at batch 1: through our engine, against plain and compiled ``generate``.

Ours are measured when the engine has made them fast, which it does in spare time.

Skipped where there is no GPU.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.figures import ratio
from benchmarks.generate import LOOKUP_TOKENS, REWRITE, lookup_speed
from benchmarks.report import Report
from benchmarks.sides import Peer, engine, make_llama, peer, starter, starter_copy
from benchmarks.turns import in_turns
from modeldeck.backend.devices import available_devices
from modeldeck.backend.protocol import EngineLog
from tests.real.engine import Engine

TOKENS = 128
PROMPT = "What is the capital of France? " * 4
SIZES = ("deep", "two gigabytes")
PLAIN = 1.5
COMPILED = 1.0
STATIC: dict[str, object] = {"cache_implementation": "static"}
"""What has ``generate`` compile the model on a GPU."""


def main(pairs: int, report: Report) -> None:
    """Both comparisons of each size."""
    if "cuda:0" not in available_devices():
        report.skip("tokens per second on a GPU", "there is no GPU on this machine")
        return
    with TemporaryDirectory(prefix="modeldeck-bench-") as temporary:
        root = Path(temporary)
        for size in SIZES:
            model = make_llama(root / size.replace(" ", "-"), size)
            with engine(root) as ours, peer() as theirs:
                ours.load(model, device="cuda:0", dtype="bfloat16")
                said = _made_fast(ours)
                theirs.measure(load=str(model), device="cuda:0", dtype="bfloat16")
                what = f"tokens per second of a reply on a GPU, {size}"
                _compare(what, "plain model.generate", {}, PLAIN, ours, theirs, pairs, report, said)
                _compare(what, "static cache and torch.compile", STATIC, COMPILED, ours, theirs, pairs, report, said)
        if (gguf := starter()) is None:
            report.skip("prompt lookup on a GPU", "the starter model is not installed")
        else:
            _lookup(starter_copy(gguf, root / "starter"), root, pairs, report)


def _made_fast(ours: Engine) -> str:
    """Wait until the engine has done what it does in spare time; what it says of that."""

    def told(of: str) -> str:
        return next(event.text for event in ours.events() if isinstance(event, EngineLog) and of in event.text)

    graph = told("CUDA graph")
    if "through a CUDA graph" not in graph:
        return graph
    ours.reply(PROMPT, max_new_tokens=TOKENS, do_sample=False)  # before the first reply nothing is compiled
    start = perf_counter()
    layers = told("ayers")
    return f"{graph} {perf_counter() - start:.0f} s after the first reply: {layers}"


def _lookup(model: Path, root: Path, pairs: int, report: Report, device: str = "cuda:0") -> None:
    """Rewriting code, against ``generate``, which looks nothing up. Raises RuntimeError where it changes the reply."""
    said: set[tuple[int, ...]] = set()
    with engine(root) as ours, peer() as theirs:
        ours.load(model, device=device, dtype="float32")
        theirs.measure(load=str(model), device=device, dtype="float32")

        def plain() -> float:
            given = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "do_sample": False}
            return TOKENS / theirs.measure(prompt=REWRITE, seed=1, settings=given)

        with_lookup, without = (partial(lookup_speed, ours, REWRITE, tokens, said) for tokens in (LOOKUP_TOKENS, 0))
        with_lookup(), plain()  # one of each before the clock counts
        figures = in_turns(pairs, with_lookup, plain)
        without()
    if len(said) != 1:
        raise RuntimeError("prompt lookup changed a greedy reply")
    report.add(
        ratio(
            "tokens per second with prompt lookup on a GPU, rewriting code",
            "plain model.generate",
            *figures,
            target=PLAIN,
            at_most=False,
            side_unit="tokens/s",
            detail="The greedy replies in float32 are the same with it and without, token by token.",
        )
    )


def _compare(
    what: str,
    against: str,
    settings: dict[str, object],
    target: float,
    ours: Engine,
    theirs: Peer,
    pairs: int,
    report: Report,
    said: str,
) -> None:
    def mine() -> float:
        start = perf_counter()
        reply = ours.reply(PROMPT, max_new_tokens=TOKENS, do_sample=False)
        if reply.stats is None or reply.stats.new_tokens != TOKENS:
            raise RuntimeError(f"the reply is not {TOKENS} tokens long: {reply.failure}")
        return TOKENS / (perf_counter() - start)

    def plain() -> float:
        given = {"max_new_tokens": TOKENS, "do_sample": False, **settings}
        return TOKENS / theirs.measure(prompt=PROMPT, seed=1, settings=given)

    mine()
    start = perf_counter()
    plain()  # one of each before the clock counts
    detail = f"{said} The peer's first reply took {perf_counter() - start:.1f} s."
    figures = in_turns(pairs, mine, plain)
    report.add(ratio(what, against, *figures, target=target, at_most=False, side_unit="tokens/s", detail=detail))
