"""The peer: ``transformers serve`` as anybody would start it, and what its API is asked for."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from msgspec import Struct

from benchmarks.sides import as_users_have_it
from benchmarks.tree_memory import tree_bytes

_PATIENCE = 180.0
_NEEDED = ("fastapi", "uvicorn", "openai", "pydantic")


class Said(Struct, frozen=True):
    """One reply, by the client's clock."""

    first_seconds: float
    tokens_per_second: float
    """After the first."""


def missing() -> list[str]:
    """The packages that it needs and that are not installed."""
    return [name for name in _NEEDED if find_spec(name) is None]


class Server:
    """A server that answers."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self._port = port

    def load(self, model: Path) -> float:
        """Have it load a model; seconds until it says that it is ready. Raises RuntimeError when it cannot."""
        start = perf_counter()
        said = ""
        for event in self._events("/load_model", {"model": str(model)}):
            said = str(event.get("status"))
            if said == "error":
                raise RuntimeError(str(event.get("message")))
        if said != "ready":
            raise RuntimeError(f"transformers serve ended a load with {said!r}")
        return perf_counter() - start

    def unload(self) -> None:
        """Have it drop every model that it holds."""
        for _ in self._events("/reset", {}):
            pass

    def first_token(self, model: Path) -> None:
        """One token after as little as there can be, which touches every weight."""
        for _ in self._events("/v1/completions", {"model": str(model), "prompt": "a", "max_tokens": 1}):
            pass

    def ask(self, model: Path, prompt: str, tokens: int) -> Said:
        """One greedy reply, streamed."""
        body = {
            "model": str(model),
            "messages": [{"role": "user", "content": prompt}],
            "stream": True,
            "max_tokens": tokens,
            "temperature": 0,
        }
        start, first, last, made = perf_counter(), 0.0, 0.0, tokens
        for chunk in self._events("/v1/chat/completions", body):
            made = (chunk.get("usage") or {}).get("completion_tokens") or made
            if any((choice.get("delta") or {}).get("content") for choice in chunk.get("choices") or ()):
                last = perf_counter()
                first = first or last
        if last <= first:
            raise RuntimeError("transformers serve said nothing, or all at once")
        return Said(first - start, (made - 1) / (last - first))

    def memory_bytes(self) -> int:
        """PSS of it and everything below it."""
        return tree_bytes(self._process.pid)

    def answers(self) -> bool:
        """Whether it takes requests. Raises RuntimeError when it has ended."""
        if self._process.poll() is not None:
            told = self._process.stderr.read() if self._process.stderr else b""
            raise RuntimeError(told.decode()[-2000:])
        with suppress(OSError):
            connection = HTTPConnection("127.0.0.1", self._port, timeout=5)
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        return False

    def _events(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """What it sends for one request until the end of it."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer: HTTPResponse = connection.getresponse()
            if answer.status != 200:
                raise RuntimeError(answer.read(2000).decode())
            for line in answer:
                if line.startswith(b"data: {"):
                    yield json.loads(line[6:])
        finally:
            connection.close()


@contextmanager
def serving(*options: str) -> Iterator[Server]:
    """The server on the CPU, with what else it is started with; gone afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    program = [sys.executable, "-c", "from transformers.cli.transformers import main; main()", "serve", *options]
    place = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = as_users_have_it() | {"HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        [*program, *place], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    ) as process:
        try:
            server = Server(process, port)
            deadline = perf_counter() + _PATIENCE
            while not server.answers():
                if perf_counter() > deadline:
                    raise RuntimeError("transformers serve did not answer")
                sleep(0.2)
            yield server
        finally:
            process.kill()
