"""What of the user's settings only the screen can judge."""

from __future__ import annotations

import pytest

from modeldeck.config.settings import Settings
from modeldeck.tui.actions import all_actions
from modeldeck.tui.settings_check import node_classes, settings_problems
from tests.helpers import wait_until
from tests.tui.deck import WIDE, deck, opened


def test_nothing_is_wrong_with_the_defaults() -> None:
    assert settings_problems(Settings()) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(theme="no-such-theme"), "theme: no-such-theme is not a theme"),
        (Settings(keys={"engine.explode": "x"}), "engine.explode is no action"),
        (Settings(keys={"model.unload": "c"}), "model.unload has the same key as generation.edit"),
        (Settings(keys={"model.options": "ctrl+i"}), "model.options: terminals send ctrl+i as tab"),
        (Settings(keys={"chat.new": "ctrl+q"}), "chat.new has the same key as app.quit"),
    ],
)
def test_what_will_not_work_is_told(settings: Settings, words: str) -> None:
    assert [problem for problem in settings_problems(settings) if words in problem]


def test_the_same_key_in_two_places_that_never_meet_is_fine() -> None:
    assert settings_problems(Settings(keys={"details.down": "n", "log.down": "n"})) == []


async def test_everything_that_has_keys_is_judged() -> None:
    """The classes are listed by hand, so that ``doctor`` can judge keys without a running app."""
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await wait_until(pilot, lambda: app.main_screen.right is not None)
        ids = {action.id for action in all_actions(app, app.main_screen, {})}
    strange = Settings(keys=dict.fromkeys(ids, "f24"))
    assert not [problem for problem in settings_problems(strange) if "is no action" in problem]
    assert len(node_classes()) == len(set(node_classes()))
