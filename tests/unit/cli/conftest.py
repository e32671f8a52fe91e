"""What the tests of the commands share: a model on disk, and ``modeldeck`` called as a function."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from modeldeck.backend.catalog.places import Places
from modeldeck.tui.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Standard output as JSON."""
        document: dict[str, Any] = json.loads(self.out)
        return document


Modeldeck = Callable[..., Ended]


@pytest.fixture
def modeldeck(capsys: pytest.CaptureFixture[str]) -> Iterator[Modeldeck]:
    """``modeldeck`` with arguments, in this process."""
    umask = os.umask(0o022)
    os.umask(umask)

    def run(*arguments: str) -> Ended:
        code = main(arguments)
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    yield run
    os.umask(umask)


def write_model(folder: Path) -> Path:
    """A folder that the catalog takes for a Llama of 64 parameters in bfloat16."""
    folder.mkdir(parents=True)
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "max_position_embeddings": 2048,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config))
    header = json.dumps({"w": {"dtype": "BF16", "shape": [8, 8], "data_offsets": [0, 128]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(128))
    return folder


@pytest.fixture
def model_folder(home: Path) -> Path:
    """A model where ``modeldeck`` looks for them: ``~/models/tiny-llama``."""
    return write_model(home / "models" / "tiny-llama")


@pytest.fixture
def no_starter(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the package that the starter comes with."""
    monkeypatch.setattr(Places, "of", partial(Places.of, starter=False))
