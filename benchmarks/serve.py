"""Load, memory left, time to first token and tokens per second against ``transformers serve``, and llama-cpp-python.

Loads are of 1 GB in turns: ours from enter to LOADED with a ready spare engine, theirs by ``/load_model`` and one token
more, which is what LOADED means here; theirs are unloaded by ``/reset``. For replies all sides get the same prompts,
greedy, one at a time; each prompt is new, so that no cache of ours has read it. The clock is the client's: ours runs
from the request on the engine's pipe, theirs from the request on their socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from msgspec import Struct

from benchmarks.figures import Figure, difference, ratio
from benchmarks.peers.transformers_server import Said, Server, missing, serving
from benchmarks.report import Report
from benchmarks.sides import engine, load_seconds, make_llama, our_manager, starter, starter_copy
from benchmarks.tree_memory import our_bytes
from benchmarks.turns import in_turns, in_turns_on_loop
from modeldeck.backend.chat_messages import ChatMessage
from modeldeck.backend.protocol import Generate, GenerationFailed, GenerationFinished, LoadFinished, TokensGenerated
from modeldeck.config.generation import GenerationSettings
from tests.real.engine import Engine

TOKENS = 96
PROMPT = "Story {number}. Write a long story about a lighthouse keeper, his gull and the winter of the great storm."
DTYPES = ("float32", "bfloat16")
"""As it is stored, so that the weights are mapped; and another, so that they are copied."""
MB = 1e6


def main(pairs: int, report: Report) -> None:
    """Whatever of the peers is installed."""
    if needed := missing():
        report.skip("transformers serve", f"{', '.join(needed)} must be installed: pip install 'transformers[serving]'")
    with TemporaryDirectory(prefix="modeldeck-bench-") as folder:
        root = Path(folder)
        if not needed:
            model = make_llama(root / "large", "large")
            for dtype in DTYPES:
                asyncio.run(_loads(model, dtype, pairs, report))
        if (gguf := starter()) is None:
            report.skip("replies beside a server", "the starter model is not installed; make run installs it")
            return
        copy = starter_copy(gguf, root / "starter")
        with engine(root) as ours:
            loaded = ours.load(copy, dtype="float32")
            if not isinstance(loaded, LoadFinished):
                raise RuntimeError(loaded.message)
            if not needed:
                with serving(str(copy), "--dtype", "float32") as server:
                    _replies(ours, server, copy, pairs, report)
            _llama_cpp(ours, gguf, pairs, report)


class Held(Struct, frozen=True):
    """What one load had added to the memory, and what was left of it one second after its unload; in bytes."""

    added: int
    left: int


async def _loads(model: Path, dtype: str, pairs: int, report: Report) -> None:
    readies: list[float] = []
    ours: list[Held] = []
    theirs: list[Held] = []
    async with our_manager() as manager:
        with serving("--dtype", dtype) as server:

            async def load() -> float:
                await manager.warm()
                before = our_bytes(manager)
                seconds = await load_seconds(manager, model, device="cpu", dtype=dtype)
                added = our_bytes(manager) - before
                await manager.unload()
                await asyncio.sleep(1)
                ours.append(Held(added, our_bytes(manager) - before))
                await manager.warm()  # nothing of ours shall run while the server is measured
                return seconds

            async def load_by_server() -> float:
                before = server.memory_bytes()
                start = perf_counter()
                readies.append(server.load(model))
                server.first_token(model)
                seconds = perf_counter() - start
                added = server.memory_bytes() - before
                server.unload()
                await asyncio.sleep(1)
                theirs.append(Held(added, server.memory_bytes() - before))
                return seconds

            await load()
            await load_by_server()  # what it imports for its first load is neither time nor memory of the load
            start = server.memory_bytes()
            for figures in (readies, ours, theirs):
                figures.clear()
            mine, peers = await in_turns_on_loop(pairs, load, load_by_server)
            grown = (server.memory_bytes() - start) / MB
    report.add(
        ratio(
            f"load of 1 GB as {dtype}, enter to LOADED",
            "transformers serve, /load_model and one token",
            mine,
            peers,
            target=None,
            detail=f"its process has loaded the model before, ours is new each time; it says ready after "
            f"{median(readies):.2f} s (median), and makes the token with the first request",
        ),
        _memory(f"memory left 1 s after the unload of 1 GB as {dtype}", ours, theirs, grown),
    )


def _memory(what: str, ours: list[Held], theirs: list[Held], grown: float) -> Figure:
    """Ours shall be within what ``unload`` asks for; theirs is only told."""
    mine, peers = (median(100 * one.left / one.added for one in side) for side in (ours, theirs))
    told = (
        f"PSS: {mine:.1f}% of what the load had added, {peers:.1f}% of it in the server, "
        f"which grew by {grown:+.0f} MB over {len(theirs)} loads and unloads"
    )
    left = ([one.left / MB for one in side] for side in (ours, theirs))
    return difference(what, "transformers serve, /reset", *left, target=None, unit="MB", detail=told)


class _Side:
    """Asks one prompt after the other, the same ones as the other side."""

    def __init__(self, ask: Callable[[str], Said]) -> None:
        self._ask = ask
        self.said: list[Said] = []

    def ask(self) -> float:
        self.said.append(self._ask(PROMPT.format(number=len(self.said))))
        return self.said[-1].first_seconds

    @property
    def first_seconds(self) -> list[float]:
        """Without the reply before the clock counted, as everywhere here."""
        return [one.first_seconds for one in self.said[1:]]

    @property
    def speeds(self) -> list[float]:
        return [one.tokens_per_second for one in self.said[1:]]


def _replies(ours: Engine, server: Server, model: Path, pairs: int, report: Report) -> None:
    mine = _Side(lambda prompt: _ask_engine(ours, prompt))
    theirs = _Side(lambda prompt: server.ask(model, prompt, TOKENS))
    _take_turns(mine, theirs, pairs)
    versions = ", ".join(f"{name} {version(name)}" for name in ("fastapi", "uvicorn"))
    told = f"SmolLM2-135M in float32, {TOKENS} tokens; {versions}"
    against = "transformers serve"
    report.add(
        ratio("time to first token", against, mine.first_seconds, theirs.first_seconds, target=1.0, detail=told),
        ratio(
            "tokens per second",
            against,
            mine.speeds,
            theirs.speeds,
            target=1.0,
            at_most=False,
            side_unit="a second",
            detail=told,
        ),
    )


def _take_turns(mine: _Side, theirs: _Side, pairs: int) -> None:
    mine.ask()
    theirs.ask()
    in_turns(pairs, mine.ask, theirs.ask)


def _ask_engine(side: Engine, prompt: str) -> Said:
    settings = GenerationSettings(do_sample=False, max_new_tokens=TOKENS)
    request_id, start, first = side.next_id(), perf_counter(), 0.0
    side.send(Generate(request_id, (ChatMessage("user", prompt),), settings))
    for event in side.events():
        match event:
            case TokensGenerated():
                first = first or perf_counter()
            case GenerationFinished():
                return Said(first - start, (event.stats.new_tokens - 1) / (perf_counter() - first))
            case GenerationFailed():
                raise RuntimeError(event.message)
    raise RuntimeError("the engine ended")


def _llama_cpp(ours: Engine, gguf: Path, pairs: int, report: Report) -> None:
    """Whatever it shows: it computes in the file's 4 bits, ours in float32."""
    try:
        name = f"llama-cpp-python {version('llama-cpp-python')}"
    except PackageNotFoundError:
        report.skip("llama-cpp-python on the same GGUF", "it is not installed, and nothing requires it")
        return
    import llama_cpp  # type: ignore[import-not-found]  # a peer, which nothing requires

    program: Any = llama_cpp.Llama(model_path=str(gguf), n_ctx=2048, verbose=False)

    def ask(prompt: str) -> Said:
        start, first, tokens = perf_counter(), 0.0, 0
        chat = [{"role": "user", "content": prompt}]
        for chunk in program.create_chat_completion(chat, max_tokens=TOKENS, temperature=0.0, stream=True):
            if chunk["choices"][0]["delta"].get("content"):
                first, tokens = first or perf_counter(), tokens + 1
        return Said(first - start, (tokens - 1) / (perf_counter() - first))

    mine = _Side(lambda prompt: _ask_engine(ours, f"Again. {prompt}"))
    theirs = _Side(lambda prompt: ask(f"Again. {prompt}"))
    _take_turns(mine, theirs, pairs)
    told = "it computes in the 4 bits of the file, modeldeck in float32"
    report.add(
        ratio("time to first token, SmolLM2-135M", name, mine.first_seconds, theirs.first_seconds, target=None),
        ratio(
            "tokens per second, SmolLM2-135M",
            name,
            mine.speeds,
            theirs.speeds,
            target=None,
            at_most=False,
            side_unit="a second",
            detail=told,
        ),
    )
