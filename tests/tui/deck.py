"""An app with a catalog of made-up models and a scripted engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from textual.pilot import Pilot

from modeldeck.backend.catalog.live_catalog import CatalogChanged, CatalogSettled, LiveCatalog
from modeldeck.backend.catalog.places import Places
from modeldeck.backend.embedded import embedded_scanner
from modeldeck.backend.errors import EngineDied
from modeldeck.backend.model_shape import ModelShape
from modeldeck.backend.models import ModelFormat, ModelInfo, ModelSource, ModelStatus
from modeldeck.backend.pipeline_manager import EngineStarter
from modeldeck.config.atomic import write_atomically
from modeldeck.config.paths import Paths
from modeldeck.config.settings import Settings
from modeldeck.tui.app import ModeldeckApp
from modeldeck.tui.memory_feed import MemoryFeed, MemoryReader
from modeldeck.tui.services import Services, build_services
from tests.fakes.scripted_engine import scripted_starter
from tests.helpers import wait_until

NARROW = (80, 24)
WIDE = (120, 40)


def model(name: str, **fields: object) -> ModelInfo:
    """A model that the scripted engine loads."""
    known: dict[str, object] = {
        "id": f"/scripted/{name}",
        "path": f"/scripted/{name}",
        "source": ModelSource.FOLDER,
        "format": ModelFormat.SAFETENSORS,
        "architecture": "qwen3",
        "parameters": 8_200_000_000,
        "dtype": "bfloat16",
        "context_length": 8192,
        "size_bytes": 16_400_000_000,
        "has_chat_template": True,
        "shape": ModelShape(layers=36, hidden_size=4096, attention_heads=32, kv_heads=8, head_dim=128),
    }
    return ModelInfo(name=name, **{**known, **fields})  # type: ignore[arg-type]  # the fields of ModelInfo


MODELS = (
    model("Qwen3-8B"),
    model("Llama-3.3-70B", architecture="llama", parameters=70_600_000_000, size_bytes=141_100_000_000),
    model(
        "SmolLM2-135M",
        architecture="llama",
        parameters=135_000_000,
        dtype=None,
        quantization="Q4_1",
        size_bytes=98_400_000,
    ),
    model("half-a-download", problems=("model-00002-of-00004.safetensors is missing.",)),
)


class FakeCatalog:
    """Finds these models, each time that it looks; ``gate`` is asked before each and may wait."""

    def __init__(self, models: Sequence[ModelInfo] = MODELS, gate: Callable[[], None] | None = None) -> None:
        self.models = list(models)
        self.gate = gate
        self._again = asyncio.Event()

    async def follow(self) -> AsyncGenerator[CatalogChanged | CatalogSettled, None]:
        known: dict[str, ModelInfo] = {}
        while True:
            self._again.clear()
            found = {model.id: model for model in self.models}
            for batch in [tuple(found.values())] if self.gate is None else [(model,) for model in found.values()]:
                if self.gate is not None:
                    await asyncio.to_thread(self.gate)
                new = tuple(model for model in batch if model.id not in known)
                yield CatalogChanged(new, tuple(model for model in batch if known.get(model.id, model) != model))
            yield CatalogChanged(removed=tuple(known.keys() - found.keys()))
            known = found
            yield CatalogSettled(() if known else ("~/models (not there)", "~/.cache/huggingface/hub (empty)"))
            await self._again.wait()

    async def rescan(self) -> None:
        self._again.set()

    async def find(self, text: str) -> ModelInfo:
        for found in self.models:
            if text in (found.id, found.name):
                return found
        raise LookupError(f"no model {text}")

    async def read(self, path: Path, source: ModelSource) -> ModelInfo:
        """Whatever lies there; looked at by a real process."""
        return await LiveCatalog(Places((), b""), Path("/nowhere"), embedded_scanner(print)).read(path, source)

    async def close(self) -> None:
        """There is no process."""


async def no_download() -> object:
    raise EngineDied("No download was expected.")


def services(
    *scripts: str,
    catalog: FakeCatalog | None = None,
    settings: Settings | None = None,
    start_download: EngineStarter | None = None,
    paths: Paths | None = None,
    monitor: MemoryReader | None = None,
) -> Services:
    """Everything real but the catalog and the engine; no spare, so that tests see every process they start.

    The made-up models were loaded here before, so that they are listed in the order in which they stand above.
    """
    if paths is None:
        paths = Paths.from_environment()
    paths.config_file.parent.mkdir(parents=True, exist_ok=True)
    if not paths.config_file.exists():
        paths.config_file.write_text("spare_engine = false\n")
    if not paths.remembered_list.exists():
        write_atomically(paths.remembered_list, json.dumps({"recents": [found.id for found in MODELS]}))
    built = build_services(
        paths,
        start_engine=scripted_starter(*scripts, on_log=lambda line: built.log.append(line)),
        start_download=start_download or no_download,  # type: ignore[arg-type]  # it never returns
    )
    built = replace(built, catalog=catalog or FakeCatalog())  # type: ignore[arg-type]  # what the screens use of it
    if monitor is not None:
        built = replace(built, memory=MemoryFeed(lambda: built.manager.model_pids, lambda: monitor))
        built.manager.read_memory = built.memory.fresh
    return replace(built, settings=settings) if settings is not None else built


def deck(*scripts: str, **fields: object) -> ModeldeckApp:
    """The app, ready for ``run_test``."""
    return ModeldeckApp(services(*scripts, **fields))  # type: ignore[arg-type]  # handed on as they are


async def opened(pilot: Pilot[int], rows: int = len(MODELS)) -> None:
    """Wait until all panes are up and the list is complete."""
    screen = deck_of(pilot).main_screen
    await wait_until(pilot, lambda: screen.status is not None and screen.right is not None)
    await wait_until(pilot, lambda: not screen.browser.searching and screen.browser.model_list.row_count == rows)


def deck_of(pilot: Pilot[int]) -> ModeldeckApp:
    assert isinstance(pilot.app, ModeldeckApp)
    return pilot.app


async def until_status(pilot: Pilot[int], status: ModelStatus) -> None:
    """Wait until the screen shows this state."""
    await wait_until(pilot, lambda: deck_of(pilot).main_screen.engine.status is status)


def gate_file(folder: Path, name: str = "gate") -> Path:
    return folder / name
