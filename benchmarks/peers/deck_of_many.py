"""The deck with many made-up models: ``python -m benchmarks.peers.deck_of_many ROWS``, in a terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from dataclasses import replace

from modeldeck.backend.catalog.live_catalog import CatalogChanged, CatalogEvent, CatalogSettled
from modeldeck.backend.models import ModelFormat, ModelInfo, ModelSource
from modeldeck.config.paths import Paths
from modeldeck.tui.app import ModeldeckApp
from modeldeck.tui.services import build_services
from tests.fakes.scripted_engine import scripted_starter

FAMILIES = ("Qwen3", "Llama-3.1", "Mistral", "gemma-3", "SmolLM2", "phi-4", "deepseek", "granite")


def names(rows: int) -> list[str]:
    """Every name has its number, and nothing else of a model has digits: it is known how many a filter leaves."""
    return [f"org-{row % 89}/{FAMILIES[row % len(FAMILIES)]}-{row:05}" for row in range(rows)]


def _models(rows: int) -> list[ModelInfo]:
    return [
        ModelInfo(
            id=f"/many/{name}",
            name=name,
            path=f"/many/{name}",
            source=ModelSource.HUB_CACHE,
            format=ModelFormat.SAFETENSORS,
            architecture="llama",
            architecture_class="LlamaForCausalLM",
            parameters=(number % 70 + 1) * 10**9,
            quantization="awq",
            context_length=131_072,
            size_bytes=(number % 70 + 1) * 2 * 10**9,
            licence="apache",
            tags=("text-generation", "conversational", "en"),
        )
        for number, name in enumerate(names(rows))
    ]


class ManyModels:
    """A catalog that has them at once, and in which nothing ever changes."""

    def __init__(self, rows: int) -> None:
        self._found = _models(rows)

    async def follow(self) -> AsyncGenerator[CatalogEvent, None]:
        """All of them, and that this is all."""
        yield CatalogChanged(added=tuple(self._found))
        yield CatalogSettled()

    async def rescan(self) -> None:
        """There is nothing to look at."""

    async def close(self) -> None:
        """There is nothing to end."""


async def _run(rows: int) -> None:
    services = build_services(Paths.from_environment(), start_engine=scripted_starter("ready\nserve"))
    catalog = ManyModels(rows)
    await ModeldeckApp(replace(services, catalog=catalog)).run_async()  # type: ignore[arg-type]  # what the deck uses of it


if __name__ == "__main__":
    asyncio.run(_run(int(sys.argv[1])))
