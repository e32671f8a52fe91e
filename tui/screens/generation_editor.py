"""The generation settings of one model or of all, as a form."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Literal

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from modeldeck.backend.text import clean_name, clean_text
from modeldeck.config.store import SaveError
from modeldeck.tui.generation_draft import SETTINGS, GenerationDraft, OverridesStore
from modeldeck.tui.settings_line import conflicts
from modeldeck.tui.widgets.setting_row import SettingRow

Scope = Literal["this model", "all models"]
_WIDE = 80
"""Columns from which the long labels of the buttons fit."""


class GenerationEditor(ModalScreen[bool]):
    """Edits what holds for the next reply; the result is True when something was saved."""

    DEFAULT_CSS = """
    GenerationEditor { align: center middle; }
    GenerationEditor > Vertical {
        width: 98%;
        max-width: 92;
        height: 100%;
        max-height: 25;
        padding: 0 2;
        border: round $foreground 30%;
        background: $surface;
    }
    GenerationEditor .form--title { text-style: bold; }
    GenerationEditor .form--head { color: $text-muted; margin-bottom: 1; height: 1; text-wrap: nowrap; }
    GenerationEditor .form--rows { height: 1fr; scrollbar-size-vertical: 1; }
    GenerationEditor .form--help { color: $text-muted; margin-top: 1; height: auto; max-height: 2; }
    GenerationEditor .form--says { height: auto; max-height: 3; color: $text-warning; }
    GenerationEditor .form--says.-error { color: $text-error; }
    GenerationEditor .form--keys { height: 1; margin-top: 1; }
    GenerationEditor .form--keys Button { margin-right: 1; width: auto; min-width: 0; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save_here", "Save", id="form.save", tooltip="Save for this model, or for all where none is"),
        Binding("ctrl+g", "save_all", "Save for all models", id="form.save_all", tooltip="Save for all models"),
        Binding("ctrl+r", "reset_value", "Reset value", id="form.reset", tooltip="Let the layer below decide this one"),
        Binding("escape", "leave", "Close", id="form.close", tooltip="Close; asks once when something is not saved"),
        Binding("up", "app.focus_previous", "Up", show=False, id="form.up", tooltip="Go to the field above"),
        Binding("down", "app.focus_next", "Down", show=False, id="form.down", tooltip="Go to the field below"),
    ]

    def __init__(self, store: OverridesStore, model_id: str | None, model_name: str | None) -> None:
        super().__init__()
        self._draft = GenerationDraft(store, model_id)
        self._title_text = f"Generation · for {clean_name(model_name or model_id, 60) if model_id else 'all models'}"
        self._saved = False
        self._asked = False
        self._saving = False

    def compose(self) -> ComposeResult:
        """Title, rows, help of the focused row, what must be said, and the keys."""
        with Vertical():
            yield Static(Content(self._title_text), classes="form--title")
            yield Static("Setting             Value           From        Must be", classes="form--head", markup=False)
            with VerticalScroll(classes="form--rows", can_focus=False):
                for setting in SETTINGS:
                    yield SettingRow(setting, self._draft)
            yield Static(classes="form--help", markup=False)
            yield Static(classes="form--says", markup=False)
            with Horizontal(classes="form--keys"):
                if self._draft.model_id is not None:
                    yield Button(id="save-here", compact=True, variant="primary")
                    yield Button(id="save-all", compact=True)
                else:
                    yield Button(id="save-all", compact=True, variant="primary")
                yield Button(id="reset-all", compact=True)
                yield Button(id="close", compact=True)

    def on_mount(self) -> None:
        """Begin at the first field."""
        self._say_conflicts()
        self.query(SettingRow).first().focus_field()

    def on_resize(self) -> None:
        """Where there is room, the buttons tell their keys."""
        wide = self.size.width >= _WIDE
        one = self._draft.model_id is not None
        labels = {
            "save-here": "Save this model ^s" if wide else "Save this model",
            "save-all": ("All models ^g" if one else "Save for all models ^s") if wide else "All models",
            "reset-all": "Reset to defaults" if wide else "Defaults",
            "close": "Close esc" if wide else "Close",
        }
        for button in self.query(Button):
            button.label = Content(labels[button.id or ""])

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Explain the focused setting and keep all of its row in view."""
        row = next((node for node in event.widget.ancestors if isinstance(node, SettingRow)), None)
        if row is None:
            return
        limits = "" if row.shows_limits else f" · must be {row.limits}"
        self.query_one(".form--help", Static).update(Content(f"{row.setting.help}{limits}"))
        row.scroll_visible(animate=False)

    @on(SettingRow.Edited)
    def _edited(self, event: SettingRow.Edited) -> None:
        if event.text == self._draft.text(event.name):
            return  # the field shows what the draft already holds
        self._draft.enter(event.name, event.text)
        self._asked = False
        self._refresh(typing_in=event.name)

    @on(Input.Submitted)
    def _next_field(self) -> None:
        self.focus_next()

    @on(Button.Pressed)
    async def _pressed(self, event: Button.Pressed) -> None:
        match event.button.id:
            case "save-here":
                self.action_save_here()
            case "save-all":
                self.action_save_all()
            case "reset-all":
                self._reset_all()
            case _:
                self.action_leave()

    def action_save_here(self) -> None:
        """Save for this model, or for all models where the form is about all."""
        if self._saving:
            return
        self._take_what_was_typed()
        self._save("this model" if self._draft.model_id is not None else "all models")

    def action_save_all(self) -> None:
        """Save what was changed for all models."""
        if self._saving:
            return
        self._take_what_was_typed()
        self._save("all models")

    def action_reset_value(self) -> None:
        """Empty the focused field."""
        if self._saving:
            return
        focused = self.focused
        for row in self.query(SettingRow):
            if focused is not None and row in focused.ancestors:
                self._draft.enter(row.setting.name, "")
                self._asked = False
                self._refresh()

    def action_leave(self) -> None:
        """Close; unsaved changes are dropped only when asked for twice. A save that runs closes the form itself."""
        if self._saving:
            return
        self._take_what_was_typed()
        if self._draft.changed and not self._asked:
            self._asked = True
            self._say("Unsaved changes: escape again drops them, ctrl+s saves them.")
        else:
            self.dismiss(self._saved)

    def _take_what_was_typed(self) -> None:
        """A key such as ctrl+s may overtake the messages about the characters typed just before it."""
        for row in self.query(SettingRow):
            if row.text != self._draft.text(row.setting.name):
                self._draft.enter(row.setting.name, row.text)

    def _reset_all(self) -> None:
        self._draft.reset_all()
        self._asked = False
        self._refresh()
        self._say("Every value goes back to its default with the next save.")

    @work(group="save", exclusive=True)
    async def _save(self, scope: Scope) -> None:
        if not self._draft.changed:
            self._say("Nothing was changed; only changed values are saved.")
            return
        focused = self.focused
        self._lock(True)
        try:
            saved = await asyncio.to_thread(self._draft.save, scope)
        except SaveError as error:
            self._say(str(error), error=True)
            return
        finally:
            self._lock(False)
            self.set_focus(focused)
        self._saved |= saved
        if not self._draft.errors:
            self.dismiss(True)
            return
        self._refresh()
        left = "; ".join(f"{_label(name)} {error}" for name, error in self._draft.errors.items())
        done = f"Saved for {scope}, but not what is marked" if saved else "Nothing was saved"
        self._say(f"{done}: {left}", error=True)

    def _lock(self, saving: bool) -> None:
        """While a save runs, which may wait for another modeldeck, nothing can be typed that it would lose."""
        self._saving = saving
        for part in self.query(".form--rows, .form--keys"):
            part.disabled = saving
        if saving:
            self._say("Saving ...")

    def _refresh(self, typing_in: str | None = None) -> None:
        for row in self.query(SettingRow):
            row.refresh_row(keep_field=row.setting.name == typing_in)
        self._say_conflicts()

    def _say_conflicts(self) -> None:
        self._say("\n".join(f"! {line}." for line in conflicts(self._draft.preview())))

    def _say(self, text: str, *, error: bool = False) -> None:
        says = self.query_one(".form--says", Static)
        says.set_class(error, "-error")
        says.display = bool(text)
        says.update(Content(clean_text(text)))


def _label(name: str) -> str:
    return next(setting.label for setting in SETTINGS if setting.name == name)
