"""What of the user's settings only the screen can judge: the theme, and the keys in ``[keys]``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import permutations
from typing import TYPE_CHECKING

from modeldeck.backend.text import clean_name
from modeldeck.tui.actions import area_of, declared_bindings

if TYPE_CHECKING:
    from textual.dom import DOMNode

    from modeldeck.config.settings import Settings

_SAME_IN_TERMINALS = {
    "ctrl+i": "tab",
    "ctrl+m": "enter",
    "ctrl+h": "backspace",
    "ctrl+left_square_bracket": "escape",
}
"""Terminals send one byte for both, so that a key of the left side is never seen."""


def settings_problems(settings: Settings, themes: Iterable[str] | None = None) -> list[str]:
    """A sentence for everything that will not work; ``themes`` are Textual's own when none are given."""
    return [*_theme_problems(settings.theme, themes), *_key_problems(settings.keys)]


def node_classes() -> tuple[type[DOMNode], ...]:
    """Everything that has keys of its own: the app, its panes, its dialogs. Imports all of them."""
    from modeldeck.tui.app import ModeldeckApp
    from modeldeck.tui.screens.generation_editor import GenerationEditor
    from modeldeck.tui.screens.help import HelpScreen
    from modeldeck.tui.screens.load_dialog import LoadDialog
    from modeldeck.tui.screens.main import MainScreen
    from modeldeck.tui.screens.preset_dialog import PresetDialog
    from modeldeck.tui.widgets.chat_panel import ChatPanel
    from modeldeck.tui.widgets.chat_view import ChatView
    from modeldeck.tui.widgets.details_view import DetailsView
    from modeldeck.tui.widgets.devices_view import DevicesView
    from modeldeck.tui.widgets.few_choices import FewChoices
    from modeldeck.tui.widgets.fields import Choice
    from modeldeck.tui.widgets.filter_field import ModelFilter
    from modeldeck.tui.widgets.fold_row import FoldRow
    from modeldeck.tui.widgets.log_view import LogView
    from modeldeck.tui.widgets.model_browser import ModelBrowser
    from modeldeck.tui.widgets.prompt import Prompt
    from modeldeck.tui.widgets.shelf_list import ShelfList

    panes = (ModelBrowser, ModelFilter, ShelfList, ChatPanel, ChatView, Prompt, DetailsView, LogView, DevicesView)
    forms = (GenerationEditor, FewChoices, FoldRow, PresetDialog)
    return (ModeldeckApp, MainScreen, *panes, LoadDialog, Choice, *forms, HelpScreen)


def _theme_problems(theme: str, themes: Iterable[str] | None) -> Iterator[str]:
    if themes is None:
        from textual.theme import BUILTIN_THEMES

        themes = BUILTIN_THEMES
    if theme not in themes:
        yield f"config.toml: theme: {clean_name(theme, 40)} is not a theme; the default is used."


def _key_problems(keymap: Mapping[str, str]) -> Iterator[str]:
    if not keymap:
        return
    owners: dict[str, set[type[DOMNode]]] = {}
    keys: dict[str, set[str]] = {}
    for owner in node_classes():
        for binding in declared_bindings(owner):
            assert binding.id is not None  # declared_bindings leaves the others out
            owners.setdefault(binding.id, set()).add(owner)
            keys[binding.id] = _split(keymap.get(binding.id, binding.key))
    for name in keymap:
        if name not in keys:
            yield f"config.toml: keys: {clean_name(name, 60)} is no action; the help lists all of them."
            continue
        for key in sorted(keys[name] & _SAME_IN_TERMINALS.keys()):
            same = _SAME_IN_TERMINALS[key]
            yield f"config.toml: keys: {name}: terminals send {key} as {same}, so it is never seen; take another key."
    for changed, other in permutations(keys, 2):
        together = owners[changed] & owners[other] or "Everywhere" in {area_of(changed), area_of(other)}
        if changed in keymap and together and keys[changed] & keys[other]:
            yield f"config.toml: keys: {changed} has the same key as {other}; only one of them can be reached."


def _split(keys: str) -> set[str]:
    return {key.strip() for key in keys.split(",")}
