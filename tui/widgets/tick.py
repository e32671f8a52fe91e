"""A box to tick that says by its sign, and not by a colour alone, whether it is ticked."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Checkbox


class Tick(Checkbox):
    """``[x]`` or ``[ ]``, and a label."""

    def __init__(
        self,
        label: str,
        value: bool,
        *,
        name: str | None = None,
        id: str | None = None,  # noqa: A002  # Textual's name
        classes: str | None = None,
    ) -> None:
        super().__init__(Content(label), value, compact=True, name=name, id=id, classes=classes)

    @property
    def _button(self) -> Content:
        return Content("[x]" if self.value else "[ ]")
