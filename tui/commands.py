"""The command palette: every action, with its key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.command import DiscoveryHit, Hit, Hits, Provider

from modeldeck.backend.text import clean_name
from modeldeck.tui.actions import Action, all_actions

if TYPE_CHECKING:
    from modeldeck.tui.app import ModeldeckApp


class DeckCommands(Provider):
    """Offers what the bindings declare, and the themes."""

    @property
    def _deck(self) -> ModeldeckApp:
        from modeldeck.tui.app import ModeldeckApp

        assert isinstance(self.app, ModeldeckApp)  # the only app that has these commands
        return self.app

    def _actions(self) -> list[Action]:
        app = self._deck
        actions = all_actions(app, app.main_screen, app.services.settings.keys)
        titles: dict[str, Action] = {}
        for action in actions:
            if action.is_command:
                titles.setdefault(action.title, action)
        return list(titles.values())

    async def discover(self) -> Hits:
        """Everything, before anything is typed."""
        async for title, tooltip, run in self._commands():
            yield DiscoveryHit(title, run, help=tooltip)

    async def search(self, query: str) -> Hits:
        """What fits the query."""
        matcher = self.matcher(query)
        async for title, tooltip, run in self._commands():
            score = max(matcher.match(title), matcher.match(tooltip) * 0.8)
            if score > 0:
                yield Hit(score, matcher.highlight(title), run, help=tooltip)

    async def _commands(self) -> AsyncIterator[tuple[str, str, partial[Any]]]:
        for action in self._actions():
            yield f"{action.title} ({action.keys[0]})", action.tooltip, partial(self._deck.run_deck_action, action)
        for resident in self._deck.services.manager.residents:
            loads = self._deck.main_screen.loads
            name = clean_name(loads.name_of(resident.model_id), 60)
            switch = partial(loads.switch_to_number, resident.number)
            yield f"Talk to {name} ({resident.number})", "This model is loaded", switch
        yield "Theme", "Choose other colours until the program ends", partial(self._deck.search_themes)
