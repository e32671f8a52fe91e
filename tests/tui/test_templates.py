"""Another chat template than at a model's last load is told: it decides what the model is sent."""

from __future__ import annotations

import pytest

from modeldeck.backend.models import ModelInfo, ModelSource, ModelStatus
from tests.helpers import wait_until
from tests.tui.deck import WIDE, FakeCatalog, deck, model, opened, until_status

CHANGED = "Qwen/Qwen3 has another chat template than at its last load"


async def told(found: ModelInfo, template: str) -> bool:
    """Load it in an app of its own; returns whether the log says that the template is another."""
    app = deck(f"template {template}\nserve" if template else "serve", catalog=FakeCatalog([found]))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, rows=1)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await wait_until(pilot, lambda: not [one for one in app.screen.workers if one.group == "template"])
        return any(CHANGED in line for line in app.services.log.lines)


@pytest.mark.parametrize("source", [ModelSource.HUB_CACHE, ModelSource.FOLDER])
async def test_s10_a_template_that_changed_is_told_once_whatever_the_revision(source: ModelSource) -> None:
    old = model("Qwen/Qwen3", id="Qwen/Qwen3@old", source=source)
    new = model("Qwen/Qwen3", id="Qwen/Qwen3@new" if source is ModelSource.HUB_CACHE else old.id, source=source)
    assert not await told(old, "one")
    assert not await told(old, "one")
    assert await told(new, "two")
    assert not await told(new, "two")
    assert not await told(new, "")


async def test_models_that_only_share_a_name_are_not_compared() -> None:
    first = model("Qwen/Qwen3", id="/a/Qwen3", source=ModelSource.FOLDER)
    second = model("Qwen/Qwen3", id="/b/Qwen3", source=ModelSource.FOLDER)
    assert not await told(first, "one")
    assert not await told(second, "two")
