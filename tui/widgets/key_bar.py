"""The last line: the keys that do something now.

Textual's footer is a widget for each key and is composed anew for every change, which took half of the start. This is
one widget with one line.
"""

from __future__ import annotations

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget

_Hint = tuple[str, str, str]
_Hints = tuple[list[_Hint], _Hint]


class KeyBar(Widget):
    """Shows the active bindings; what does not fit is left out, and the palette always has all."""

    ALLOW_SELECT = False

    def __init__(self) -> None:
        super().__init__()
        self._shown: _Hints | None = None

    def on_mount(self) -> None:
        """Follow the focus and the state."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, screen: Screen[object]) -> None:
        if screen is self.screen and self._hints() != self._shown:
            self.refresh()

    def render(self) -> Content:
        """The keys from the left, the palette's on the right."""
        self._shown = hints, palette = self._hints()
        room = self.size.width - cell_len(palette[1]) - cell_len(palette[2]) - 1
        parts: list[Content] = []
        used = 0
        for _, shown, title in hints:
            wide = cell_len(shown) + cell_len(title)
            if used + wide <= room:
                parts += [Content.styled(shown, "bold $footer-key-foreground"), Content(title)]
                used += wide
        parts.append(Content(" " * (self.size.width - used - cell_len(palette[1]) - cell_len(palette[2]))))
        parts += [Content.styled(palette[1], "bold $footer-key-foreground"), Content(palette[2])]
        return Content("").join(parts)

    def on_click(self, event: events.Click) -> None:
        """A click on a key presses it."""
        hints, palette = self._hints()
        right = self.size.width - cell_len(palette[1]) - cell_len(palette[2])
        if event.x >= right:
            self.app.simulate_key(palette[0])
            return
        at = 0
        for key, shown, title in hints:
            at += cell_len(shown) + cell_len(title)
            if event.x < at <= right:
                self.app.simulate_key(key)
                return

    def _hints(self) -> _Hints:
        """Key, how it is shown, and what it does, for each action once; then those of the palette."""
        palette = ("", "", "")
        hints: dict[str, _Hint] = {}
        for key, active in self.screen.active_bindings.items():
            binding = active.binding
            hint = (key, f" {self.app.get_key_display(binding)} ", f"{binding.description} ")
            if binding.action == "command_palette":
                palette = hint
            elif binding.show and active.enabled:
                hints.setdefault(binding.action, hint)
        return list(hints.values()), palette
