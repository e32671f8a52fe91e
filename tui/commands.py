"""The command palette: every action, with its key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from modeldeck.backend.text import clean_name
from modeldeck.tui.actions import Action, all_actions

if TYPE_CHECKING:
    from textual.fuzzy import Matcher

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
            yield DiscoveryHit(Content(title), run, help=tooltip)

    async def search(self, query: str) -> Hits:
        """What fits the query."""
        matcher = self.matcher(query)
        async for title, tooltip, run in self._commands():
            score = max(matcher.match(title), matcher.match(tooltip) * 0.8)
            if score > 0:
                yield Hit(score, _highlighted(matcher, title), run, help=tooltip)

    async def _commands(self) -> AsyncIterator[tuple[str, str, partial[Any]]]:
        for action in self._actions():
            yield f"{action.title} ({action.keys[0]})", action.tooltip, partial(self._deck.run_deck_action, action)
        for resident in self._deck.services.manager.residents:
            loads = self._deck.main_screen.loads
            name = clean_name(loads.name_of(resident.model_id), 60)
            switch = partial(loads.held.talk_to, resident.model_id)
            yield f"Talk to {name} ({resident.number})", "This model is loaded", switch
        generation = self._deck.main_screen.generation
        for preset in self._deck.services.generation.preset_names:
            yield (
                f"Preset: {clean_name(preset, 60)}",
                "Generate so from the next reply on",
                partial(generation.take, preset),
            )
        yield "Preset: none", "Generate as is set otherwise", partial(generation.take, None)
        yield "Theme", "Choose other colours until the program ends", partial(self._deck.search_themes)


def _highlighted(matcher: Matcher, title: str) -> Content:
    """As ``Matcher.highlight``, which would take the brackets of a name for markup."""
    content = Content(title)
    for offset in matcher.fuzzy_search.match(matcher.query, title)[1]:
        content = content.stylize(matcher.match_style, offset, offset + 1)
    return content
