"""Draws ``docs/screenshot.svg`` from the running program: the real app, a real engine, the starter's real replies.

The other models in the list are made for the picture: their headers and shapes are true, their weights are holes in
sparse files, so that the picture can be made on any machine. ``make screenshot`` runs this.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

from modeldeck.backend.models import ModelStatus
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.paths import Paths
from modeldeck.tui.app import ModeldeckApp
from modeldeck.tui.services import build_services
from tests.helpers import screen_text, wait_until

SIZE = (120, 34)
QUESTIONS = ("What is the capital of France?", "Write a short Python function that adds two numbers.")
DEMO_MODELS = {
    "Qwen/Qwen3-8B": ("qwen3", 4096, 36, 8, 128, 12288, 151936, 40960),
    "meta-llama/Llama-3.1-8B-Instruct": ("llama", 4096, 32, 8, 128, 14336, 128256, 131072),
    "mistralai/Mistral-7B-Instruct-v0.3": ("mistral", 4096, 32, 8, 128, 14336, 32768, 32768),
}
"""Model type, hidden size, layers, KV heads, head dimension, intermediate size, vocabulary, context."""


def make_model(folder: Path, shape: tuple[str, int, int, int, int, int, int, int]) -> None:
    """A model folder with a true config and header, and no weights behind them."""
    kind, hidden, layers, kv_heads, head, wide, words, context = shape
    folder.mkdir(parents=True)
    config = {"model_type": kind, "architectures": ["X"], "max_position_embeddings": context, "torch_dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {"model.embed_tokens.weight": (words, hidden), "lm_head.weight": (words, hidden)}
    for layer in range(layers):
        for name, rows in (("q_proj", hidden), ("k_proj", kv_heads * head), ("v_proj", kv_heads * head)):
            tensors[f"model.layers.{layer}.self_attn.{name}.weight"] = (rows, hidden)
        tensors[f"model.layers.{layer}.self_attn.o_proj.weight"] = (hidden, hidden)
        for name in ("gate_proj", "up_proj", "down_proj"):
            tensors[f"model.layers.{layer}.mlp.{name}.weight"] = (wide, hidden)
    header, at = {}, 0
    for name, size in tensors.items():
        end = at + 2 * prod(size)
        header[name] = {"dtype": "BF16", "shape": size, "data_offsets": [at, end]}
        at = end
    encoded = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        file.truncate(8 + len(encoded) + at)


async def draw() -> str:
    """Open the app, load the starter, ask; the SVG of what is then on the screen."""
    services = build_services(Paths.from_environment())
    services.generation.save(None, GenerationSettings(temperature=0.0, max_new_tokens=160))
    app = ModeldeckApp(services)
    try:
        async with app.run_test(size=SIZE) as pilot:
            await wait_until(pilot, lambda: "SmolLM2" in screen_text(app), 60)
            await pilot.press("slash", *"smollm2", "enter", "enter")
            await wait_until(pilot, lambda: services.manager.status is ModelStatus.LOADED, 180)
            await wait_until(pilot, lambda: "● LOADED" in screen_text(app), 20)
            await pilot.press("escape", "escape", "tab")  # all models again, and to the prompt
            for number, question in enumerate(QUESTIONS, 1):
                await pilot.press(*question, "enter")
                done = number
                await wait_until(pilot, lambda done=done: screen_text(app).count("· stop") >= done, 180)
            await pilot.pause(1.5)  # until the memory has been read again
            return app.export_screenshot(title="modeldeck")
    finally:
        await services.manager.close()


def main() -> None:
    """Draw into the file that is named, in a home of its own."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/screenshot.svg").resolve()
    with TemporaryDirectory(prefix="modeldeck-picture-") as home:
        os.environ.update(HOME=home, COLORTERM="truecolor")
        for name in list(os.environ):
            if name.startswith(("XDG_", "HF_", "MODELDECK_")):
                del os.environ[name]
        for name, shape in DEMO_MODELS.items():
            make_model(Path(home) / "models" / name, shape)
        target.write_text(asyncio.run(draw()), encoding="utf-8")


if __name__ == "__main__":
    main()
