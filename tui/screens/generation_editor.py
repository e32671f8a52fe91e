"""The generation settings of one model or of all, as a form."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from modeldeck.backend.text import clean_name, clean_text
from modeldeck.config.store import SaveError
from modeldeck.tui.generation_desk import GenerationDesk
from modeldeck.tui.generation_draft import BY_NAME, GenerationDraft, Scope
from modeldeck.tui.settings_line import conflicts
from modeldeck.tui.widgets.generation_form import GenerationForm

_WIDE = 80
"""Columns from which the buttons tell their keys."""
_KEYS = {
    "save-here": ("Save ^s", "Save"),
    "save-all": ("For all ^g", "All"),
    "save-now": ("For now ^n", "Now"),
    "presets": ("Presets ^l", "Presets"),
    "reset": ("Reset ^r", "Reset"),
    "reset-all": ("Reset all", "Reset all"),
}
"""What the buttons say where there is room for their keys, and where there is not."""


class GenerationEditor(ModalScreen[bool]):
    """Edits what holds for the next reply; the result is True when something else may hold now."""

    DEFAULT_CSS = """
    GenerationEditor { align: center middle; }
    GenerationEditor > Vertical {
        width: 98%;
        max-width: 96;
        height: 100%;
        max-height: 36;
        padding: 0 2;
        border: round $foreground 30%;
        background: $surface;
    }
    GenerationEditor .form--title { text-style: bold; height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    GenerationEditor .form--says { height: auto; max-height: 4; color: $text-warning; }
    GenerationEditor .form--says.-error { color: $text-error; }
    GenerationEditor .form--keys { height: 1; margin-top: 1; }
    GenerationEditor .form--keys Button { margin-right: 1; width: auto; min-width: 0; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save_here", "Save", id="form.save", tooltip="Save for this model, or for all where none is"),
        Binding("ctrl+g", "save_all", "Save for all models", id="form.save_all", tooltip="Save for all models"),
        Binding("ctrl+n", "keep_now", "For now", id="form.session", tooltip="Let it hold until modeldeck ends"),
        Binding("ctrl+l", "presets", "Presets", id="form.presets", tooltip="Take a preset, or make one of this"),
        Binding("ctrl+r", "reset_value", "Reset value", id="form.reset", tooltip="Let the layer below decide this one"),
        Binding("escape", "leave", "Close", id="form.close", tooltip="Close; asks once when something is not saved"),
        Binding("up", "app.focus_previous", "Up", show=False, id="form.up", tooltip="Go to the field above"),
        Binding("down", "app.focus_next", "Down", show=False, id="form.down", tooltip="Go to the field below"),
    ]

    def __init__(
        self, desk: GenerationDesk, model_id: str | None, model_name: str | None, context_length: int | None = None
    ) -> None:
        super().__init__()
        self._desk = desk
        self._draft = GenerationDraft(desk, model_id)
        self._model_name = model_name
        self._whom = clean_name(model_name or model_id, 60) if model_id else "all models"
        self._context_length = context_length
        self._kept = False
        self._asked = False
        self._saving = False

    def compose(self) -> ComposeResult:
        """Title, rows, what must be said, and the keys."""
        with Vertical():
            yield Static(classes="form--title", markup=False)
            yield GenerationForm(self._draft, self._desk.abilities(self._draft.model_id))
            yield Static(classes="form--says", markup=False)
            with Horizontal(classes="form--keys"):
                for name in _KEYS:
                    if name != "save-all" or self._draft.model_id is not None:
                        yield Button(id=name, compact=True, variant="primary" if name == "save-here" else "default")

    def on_mount(self) -> None:
        """Say what holds."""
        self._show_state()

    def on_resize(self) -> None:
        """Where there is room, the buttons tell their keys."""
        wide = self.size.width >= _WIDE
        for button in self.query(Button):
            long, short = _KEYS[button.id or ""]
            button.label = Content(long if wide else short)

    def refresh_from_file(self) -> None:
        """Somebody else has written the file; what was typed here stays."""
        self._refresh()
        self._say("The settings file was changed by somebody else; what it says now is shown.")

    @on(GenerationForm.Changed)
    def _edited(self) -> None:
        self._asked = False
        self._show_state()

    @on(Input.Submitted)
    def _next_field(self) -> None:
        self.focus_next()

    @on(Button.Pressed)
    async def _pressed(self, event: Button.Pressed) -> None:
        actions = {
            "save-here": self.action_save_here,
            "save-all": self.action_save_all,
            "save-now": self.action_keep_now,
            "presets": self.action_presets,
            "reset": self.action_reset_value,
        }
        actions.get(event.button.id or "", self._reset_all)()

    def action_save_here(self) -> None:
        """Save for this model, or for all models where the form is about all."""
        self._keep("this model" if self._draft.model_id is not None else "all models")

    def action_save_all(self) -> None:
        """Save what was changed for all models."""
        self._keep("all models")

    def action_keep_now(self) -> None:
        """Let what was changed hold until the program ends."""
        self._keep("this session")

    def action_reset_value(self) -> None:
        """Let the layer below decide about the focused setting."""
        if self._saving:
            return
        self._form.take_what_was_typed()
        self._form.reset_value()
        self._edited()

    def action_presets(self) -> None:
        """Show the presets; one that is taken holds at once."""
        from modeldeck.tui.screens.preset_dialog import PresetDialog

        if self._saving:
            return
        self._form.take_what_was_typed()

        def closed(name: str | None) -> None:
            self._kept = True  # presets may have been renamed or deleted, too
            self._refresh()
            if name and (covered := self._desk.covered(self._draft.model_id)):
                left = ", ".join(BY_NAME[each].label for each in covered)
                self._say(f"{clean_name(name)} holds, but for what is set here: {left}. Ctrl+r lets go of a value.")

        dialog = PresetDialog(self._desk.store, self._draft.model_id, self._model_name, self._draft.chosen())
        self.app.push_screen(dialog, closed)

    def action_leave(self) -> None:
        """Close; unsaved changes are dropped only when asked for twice. A save that runs closes the form itself."""
        if self._saving:
            return
        self._form.take_what_was_typed()
        if self._draft.changed and not self._asked:
            self._asked = True
            self._say("Unsaved changes: escape again drops them, ctrl+s saves them, ctrl+n keeps them for now.")
        else:
            self.dismiss(self._kept)

    @property
    def _form(self) -> GenerationForm:
        return self.query_one(GenerationForm)

    def _reset_all(self) -> None:
        self._draft.reset_all()
        self._asked = False
        self._refresh()
        self._say("Every value goes back to its default with the next save.")

    def _keep(self, scope: Scope) -> None:
        if not self._saving:
            self._form.take_what_was_typed()
            self._save(scope)

    @work(group="save", exclusive=True)
    async def _save(self, scope: Scope) -> None:
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
        self._kept |= saved
        self._refresh()
        if not self._draft.errors:
            self._end(scope, saved)
            return
        left = "; ".join(f"{BY_NAME[name].label} {error}" for name, error in self._draft.errors.items())
        done = f"Saved for {scope}, but not what is marked" if saved else "Nothing was saved"
        self._say(f"{done}: {left}", error=True)

    def _end(self, scope: Scope, saved: bool) -> None:
        """Close, unless there is something that the user does not expect."""
        hidden = self._draft.hidden_by_preset() if scope == "all models" else ()
        if not saved:
            self._say("Nothing was changed; only changed values are saved.")
        elif hidden:
            names = ", ".join(BY_NAME[name].label for name in hidden)
            self._say(f"Saved for all models; the preset decides here about {names}.")
        else:
            self.dismiss(True)

    def _lock(self, saving: bool) -> None:
        """While a save runs, which may wait for another modeldeck, nothing can be typed that it would lose."""
        self._saving = saving
        for part in self.query("GenerationForm, .form--keys"):
            part.disabled = saving
        if saving:
            self._say("Saving ...")

    def _refresh(self) -> None:
        self._form.refresh_rows()
        self._show_state()

    def _show_state(self) -> None:
        """The title and the conflicts."""
        model_id = self._draft.model_id
        parts = ("Generation", clean_name(self._desk.preset_title(model_id)), f"for {self._whom}")
        self.query_one(".form--title", Static).update(Content(" · ".join(part for part in parts if part)))
        abilities = self._desk.abilities(model_id)
        said = conflicts(self._draft.preview(), abilities, context_length=self._context_length)
        if model_id is None and (hidden := self._draft.hidden_by_preset()):
            names = ", ".join(BY_NAME[name].label for name in hidden)
            said.append(f"The preset {clean_name(self._desk.store.preset(None) or '')} decides about {names}")
        self._say("\n".join(f"! {line}." for line in said))

    def _say(self, text: str, *, error: bool = False) -> None:
        says = self.query_one(".form--says", Static)
        says.set_class(error, "-error")
        says.display = bool(text)
        says.update(Content(clean_text(text)))
