"""What all dialogs share: escape closes, tab moves, the panes behind stay visible."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

Result = TypeVar("Result")


class Dialog(ModalScreen[Result], inherit_bindings=False):
    """A box in the middle; closed with escape it answers None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="dialog.close", tooltip="Close without doing anything"),
        Binding("tab", "app.focus_next", "Next", show=False, id="dialog.next", tooltip="To the next field"),
        Binding("shift+tab", "app.focus_previous", "Back", show=False, id="dialog.back", tooltip="To the field before"),
    ]

    def on_mount(self) -> None:
        """A toast would cover what it has led to; what it said stands in the log."""
        self.app.clear_notifications()
        for screen in self.app.screen_stack[:-1]:  # Textual takes them off the screen on top alone
            screen.query("ToastHolder").remove()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The footer behind still shows the keys of the deck, which Textual looks up on the screen that is on top."""
        if not hasattr(self, f"action_{action}"):
            return self.app.screen_stack[0].check_action(action, parameters)
        return super().check_action(action, parameters)

    def action_close(self) -> None:
        """Answer nothing."""
        self.dismiss(None)
