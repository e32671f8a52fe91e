"""Everything that can be done, read off the bindings: the help and the command palette never say anything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.binding import Binding

if TYPE_CHECKING:
    from textual.app import App
    from textual.dom import DOMNode
    from textual.screen import Screen

_AREA_OF = {
    "model": "Models",
    "models": "Models",
    "list": "Models",
    "filter": "Filter",
    "chat": "Chat",
    "prompt": "Chat",
    "generation": "Settings",
    "details": "Details",
    "log": "Log",
    "devices": "Devices",
}
"""The first part of a binding's id says where it belongs; the rest holds everywhere."""
AREAS = (*dict.fromkeys(_AREA_OF.values()), "Everywhere")
"""The headings in the order of the help."""
_SCROLLING = frozenset({"down", "up", "first", "last"})
MOVEMENT = frozenset({"list", "log", "pane", "filter", "prompt"})
"""Areas whose keys only move or type, so that they are of no use as commands."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that can be done, and where."""

    id: str
    title: str
    tooltip: str
    keys: tuple[str, ...]
    node: DOMNode
    action: str

    @property
    def area(self) -> str:
        """The heading it stands under."""
        return area_of(self.id)

    @property
    def is_command(self) -> bool:
        """Whether it makes sense without its key."""
        area, _, deed = self.id.partition(".")
        if deed.isdigit():
            return False  # the palette offers the models by their names
        return area not in MOVEMENT and not (area in {"details", "devices"} and deed in _SCROLLING)


def area_of(action_id: str) -> str:
    """The heading that an action stands under."""
    return _AREA_OF.get(action_id.split(".")[0], "Everywhere")


def declared_bindings(kind: type[DOMNode]) -> list[Binding]:
    """The bindings with an id that a class and those before it declare."""
    found: list[Binding] = []
    for cls in kind.__mro__:
        for binding in cls.__dict__.get("BINDINGS", ()):
            if isinstance(binding, Binding) and binding.id is not None:
                found.append(binding)
    return found


def all_actions(app: App[Any], screen: Screen[Any], keymap: dict[str, str]) -> list[Action]:
    """Every action of the app and of a screen with all its panes, each once; ``keymap`` are the user's own keys."""
    actions: dict[str, Action] = {}
    for node in (app, screen, *screen.walk_children()):
        for binding in declared_bindings(type(node)):
            assert binding.id is not None  # declared_bindings leaves the others out
            if binding.id not in actions:
                keys = tuple(
                    app.get_key_display(binding.with_key(key.strip()))
                    for key in keymap.get(binding.id, binding.key).split(",")
                )
                actions[binding.id] = Action(
                    binding.id, binding.description, binding.tooltip, keys, node, binding.action
                )
    return list(actions.values())
