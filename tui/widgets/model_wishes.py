"""What the user can want of the highlighted model: to load it, to talk to it, to delete it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.reactive import var

from modeldeck.backend.models import ModelInfo, ModelStatus
from modeldeck.tui.held_rows import HeldRows
from modeldeck.tui.widgets.model_list import ModelList
from modeldeck.tui.widgets.shelf_list import ShelfList

_ENTER = ("load", "talk", "explain")
"""What enter can do, one at a time."""


class ModelWishes(Vertical):
    """A pane around a list of models that says which one the user wants, and for what."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "load", "Load", id="model.load", tooltip="Load the highlighted model"),
        Binding("enter", "talk", "Chat", id="model.talk", tooltip="Talk to the highlighted model, which is loaded"),
        Binding("enter", "explain", "Error", id="model.explain", tooltip="Why the highlighted model failed"),
        Binding("D", "delete", "Delete", show=False, id="model.delete", tooltip="Delete the highlighted model's files"),
    ]

    held: var[HeldRows] = var({})
    """The models that engines hold, load or failed with; their rows are marked."""

    @dataclass
    class LoadRequested(Message):
        """The user asked for this model to be loaded."""

        model: ModelInfo

    @dataclass
    class DeleteRequested(Message):
        """The user asked for this model's files to be deleted."""

        model: ModelInfo

    def __init__(self, model_list: ShelfList, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.model_list = model_list
        """The list, for who moves the focus."""
        self._told_enter = "load"

    @property
    def highlighted(self) -> ModelInfo | None:
        """The model under the cursor."""
        return self.model_list.highlighted

    def action_load(self) -> None:
        """Ask for the highlighted model."""
        if (model := self.highlighted) is not None:
            self.post_message(self.LoadRequested(model))

    def action_talk(self) -> None:
        """Who is asked for a model that is loaded shows it."""
        self.action_load()

    def action_explain(self) -> None:
        """Who is asked for a model that failed shows why."""
        self.action_load()

    def action_delete(self) -> None:
        """Ask for the highlighted model to be deleted."""
        if (model := self.highlighted) is not None:
            self.post_message(self.DeleteRequested(model))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enter is said to do what it does."""
        return action not in _ENTER or action == self._enter

    def watch_held(self) -> None:
        """What enter does may have changed."""
        self._tell_enter()

    @on(ModelList.Highlighted)
    def _tell_enter(self) -> None:
        """The footer says what enter does; it is drawn anew only where that changes."""
        if (enter := self._enter) != self._told_enter:
            self._told_enter = enter
            self.refresh_bindings()

    @property
    def _enter(self) -> str:
        """Which action enter is on the highlighted model."""
        model = self.highlighted
        held = self.held.get(model.id) if model is not None else None
        if held is None or not (held.holds or held.status is ModelStatus.FAILED):
            return "load"
        return "talk" if held.holds else "explain"

    @on(ModelList.Chosen)
    def _load_chosen(self, message: ModelList.Chosen) -> None:
        message.stop()
        self.post_message(self.LoadRequested(message.model))
