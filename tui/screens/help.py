"""All keys, generated from the bindings."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from modeldeck.tui.actions import AREAS, Action
from modeldeck.tui.screens.dialog import Dialog

_KEYS_WIDTH = 18
_MOST_KEYS = 4
"""Keys of one action that are all named."""


class HelpScreen(Dialog[None]):
    """Shows the keys as they are now, the user's own included."""

    AUTO_FOCUS = "VerticalScroll"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,q,f1", "close", "Close", show=False, id="help.close", tooltip="Close the help"),
        Binding("j,down", "scroll(1)", "Down", show=False, id="help.down", tooltip="Scroll down"),
        Binding("k,up", "scroll(-1)", "Up", show=False, id="help.up", tooltip="Scroll up"),
    ]

    def __init__(self, actions: list[Action], area: str = "") -> None:
        """``area`` is where the user is, whose keys come first."""
        super().__init__()
        self._actions = actions
        self._area = area

    def compose(self) -> ComposeResult:
        """The areas, each with its keys."""
        with Vertical(classes="dialog -large", id="help"):
            yield Static("Keys", classes="dialog-title")
            with VerticalScroll(id="help-keys"):
                yield Static(self._table(), markup=False)
            hint = "Escape closes. Other keys can be set in config.toml under [keys]."
            yield Static(hint, classes="dialog-muted", markup=False)

    def action_scroll(self, lines: int) -> None:
        """Scroll the keys."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def _keys_of(self, area: str) -> dict[str, list[str]]:
        """What is done there, with its keys; the numbers of the models are one thing to do."""
        keys: dict[str, list[str]] = {}
        for action in self._actions:
            if action.area == area:
                keys.setdefault(action.tooltip, []).extend(dict.fromkeys(action.keys))
        return keys

    def _table(self) -> Content:
        lines: list[Content] = []
        areas = sorted(
            {action.area for action in self._actions}, key=lambda area: (area != self._area, AREAS.index(area))
        )
        for area in areas:
            lines += [Content.styled(area, "bold $text-accent")]
            for tooltip, keys in self._keys_of(area).items():
                lines.append(Content.assemble((f"  {_joined(keys):<{_KEYS_WIDTH}} ", "bold"), tooltip))
            lines.append(Content(""))
        return Content("\n").join(lines)


def _joined(keys: list[str]) -> str:
    return ", ".join(keys) if len(keys) <= _MOST_KEYS else f"{keys[0]} to {keys[-1]}"
