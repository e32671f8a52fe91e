"""The least that a Textual app can do with a key: it changes one label."""

from __future__ import annotations

from textual import events
from textual.app import App, ComposeResult
from textual.widgets import Static


class OneLabel(App[None]):
    """Counts keys."""

    def compose(self) -> ComposeResult:
        """The label."""
        yield Static("count 0.")

    def on_key(self, event: events.Key) -> None:
        """Every key is one more, escape none."""
        self.count = getattr(self, "count", 0) + 1
        self.query_one(Static).update(f"count {self.count}.")


if __name__ == "__main__":
    OneLabel().run()
