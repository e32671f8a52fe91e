"""A home in which everything that can be hostile is: models, cards, settings, conversations, and the engine."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import tomli_w

from modeldeck.config.paths import Paths
from tests.fakes.engine_python import use_scripted_engine
from tests.faults.control_sequences import MARKUP, ON_DISK, SEQUENCES, spelled
from tests.unit.cli.conftest import write_model

CORPUS = " ".join((*SEQUENCES.values(), *MARKUP))
FIRST = "a-tiny-llama"
"""The name of the model that is listed first; its name alone is harmless, so that a test can wait for it."""


def make_hostile_home(home: Path, script: str) -> Path:
    """Write it; returns the file with the script of the engine.

    In the script ``CORPUS`` stands for all sequences.
    """
    engine = use_scripted_engine(home, script.replace("CORPUS", spelled(CORPUS)))
    models = home / "models"
    first = write_model(models / FIRST)
    (first / "README.md").write_text(f"---\nlicense: {CORPUS}\ntags:\n- {CORPUS}\n---\n# {CORPUS}\n\n{CORPUS}\n")
    config = json.loads((first / "config.json").read_text())
    config |= {
        "model_type": CORPUS,
        "architectures": [CORPUS],
        "torch_dtype": CORPUS,
        "quantization_config": {"quant_method": CORPUS},
    }
    (first / "tokenizer_config.json").write_text(json.dumps({"chat_template": CORPUS, "tokenizer_class": CORPUS}))
    for name in ON_DISK:
        shutil.copytree(first, os.fsdecode(os.fsencode(models) + b"/" + name))
    (first / "config.json").write_text(json.dumps(config | {"model_type": "llama", "torch_dtype": "bfloat16"}))
    _write_settings(home)
    return engine


def _toml(text: str) -> str:
    return tomli_w.dumps({"x": text}).removeprefix("x = ").strip()


def _write_settings(home: Path) -> None:
    paths = Paths.from_environment()
    hostile = _toml(CORPUS)
    with paths.config_file.open("a", encoding="utf-8") as file:
        file.write(f"theme = {hostile}\n{hostile} = 1\ndtype = {hostile}\n")
        file.write(f'model_folders = ["~/models", {_toml(CORPUS[:100])}]\n')
        file.write(f'[keys]\n{hostile} = {hostile}\n"app.help" = {hostile}\n')
    paths.generation_file.write_text(
        f"schema_version = 1\n{hostile} = 1\n[all_models]\nsystem_prompt = {hostile}\nstop = [{hostile}]\n"
        f'temperature = {hostile}\n[presets."[b]x[/b]"]\ntemperature = 1.0\n[presets.{hostile}]\nseed = 1\n',
        encoding="utf-8",
    )
    paths.chats.mkdir(parents=True, mode=0o700, exist_ok=True)
    lines = (
        {"type": "conversation", "id": "x", "created": 1.0},
        {"type": "named", "title": CORPUS},
        {
            "type": "asked",
            "number": 1,
            "parent": None,
            "question": CORPUS,
            "model_id": CORPUS,
            "model_name": CORPUS,
            "at": 1.0,
        },
        {"type": "said", "number": 1, "text": CORPUS, "thought": CORPUS},
        {"type": "ended", "number": 1, "state": "failed", "reason": CORPUS},
    )
    chat = paths.chats / "20260101T000000-00000000.jsonl"
    chat.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    chat.chmod(0o600)
