"""The question before files are deleted: what goes, how much room that gives, and what cannot be undone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static

from modeldeck.backend.errors import CatalogError
from modeldeck.backend.text import clean_name, clean_text
from modeldeck.tui import format as fmt
from modeldeck.tui.screens.dialog import Dialog

_MOST_PATHS = 200
"""A hub revision may have thousands of files; the rest are counted."""


class Shown(Protocol):
    """What the dialog needs of a ``DeletionPlan``."""

    @property
    def paths(self) -> Sequence[str]:
        """Files and folders that go, absolute."""
        ...

    @property
    def freed_bytes(self) -> int:
        """What the disk really gets back: files that others share do not count."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What whoever looks at the figure should know, sentences."""
        ...


class DeleteDialog(Dialog[Shown]):
    """Answers the plan when the user says yes; None for anything else, and cancel is what enter says at first.

    ``make_plan`` looks at the disk, in a thread; it raises CatalogError where nothing may or can be deleted.
    """

    AUTO_FOCUS = "#cancel"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "go('cancel')", "Cancel", show=False, id="delete.left", tooltip="To Cancel"),
        Binding("right", "go('delete')", "Delete", show=False, id="delete.right", tooltip="To Delete"),
    ]

    def __init__(self, name: str, make_plan: Callable[[], Shown]) -> None:
        super().__init__()
        self._name = clean_name(name)
        self._make_plan = make_plan
        self._plan: Shown | None = None

    def compose(self) -> ComposeResult:
        """The question, what goes, and the two answers."""
        with Vertical(classes="dialog -large"):
            question = f"Delete {self._name} from the disk?"
            yield Static(Content(question), classes="dialog-title -error")
            yield Static(Content("Looking at what belongs to it ..."), id="what", classes="dialog-text")
            with VerticalScroll(classes="dialog-detail", can_focus=False):
                yield Static(markup=False, id="paths")
            with Horizontal(classes="dialog-buttons"):
                yield Button("Cancel", id="cancel", variant="primary", compact=True)
                yield Button("Delete", id="delete", variant="error", compact=True, disabled=True)

    def on_mount(self) -> None:
        """Ask the disk."""
        self.query_one(".dialog-detail").display = False
        self._look()

    @work(group="delete.plan", exit_on_error=False)
    async def _look(self) -> None:
        what = self.query_one("#what", Static)
        try:
            plan = await asyncio.to_thread(self._make_plan)
        except CatalogError as error:
            what.update(Content(clean_text(str(error))))
            return
        self._plan = plan
        freed = f"That frees {fmt.size(plan.freed_bytes)}" if plan.freed_bytes else "That frees nothing"
        count = len(plan.paths)
        what.update(Content(f"{freed}. {'This' if count == 1 else f'These {count:,}'} will be deleted for good:"))
        shown = [clean_name(path, 1000) for path in plan.paths[:_MOST_PATHS]]
        more = [f"... and {count - _MOST_PATHS:,} more"] if count > _MOST_PATHS else []
        notes = [clean_text(note) for note in plan.notes]
        self.query_one("#paths", Static).update(Content("\n".join([*shown, *more, *notes])))
        self.query_one(".dialog-detail").display = True
        self.query_one("#delete", Button).disabled = False

    def action_go(self, button: str) -> None:
        """To one of the two buttons; one that is disabled is not entered."""
        self.query_one(f"#{button}", Button).focus()

    @on(Button.Pressed)
    def _answer(self, event: Button.Pressed) -> None:
        event.stop()
        self.dismiss(self._plan if event.button.id == "delete" else None)
