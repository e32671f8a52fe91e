"""The presets: take one for a model or for all, keep what is set as one, rename, delete, hand on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from modeldeck.backend.text import clean_name
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.names import LONGEST_NAME
from modeldeck.config.preset_sharing import take_presets, write_preset
from modeldeck.config.presets import BUILT_IN_PRESETS
from modeldeck.config.store import GenerationStore, SaveError
from modeldeck.config.wording import shown_path
from modeldeck.tui.screens.dialog import Dialog
from modeldeck.tui.settings_line import said_values

_KEYS = "enter takes it · s saves what is set as one · r rename · d delete · x to a file · o from a file"


class PresetDialog(Dialog[str]):
    """Answers the preset that was taken, an empty text for none, or None where the choice stays as it was.

    ``chosen`` is what a new preset would keep; None where nothing is set.
    """

    DEFAULT_CSS = """
    PresetDialog OptionList { height: auto; max-height: 12; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "keep", "Save as", id="presets.keep", tooltip="Save what is set as a preset"),
        Binding("r", "rename", "Rename", id="presets.rename", tooltip="Give the preset another name"),
        Binding("d", "delete", "Delete", id="presets.delete", tooltip="Delete the preset; asks once"),
        Binding("x", "write", "To a file", id="presets.write", tooltip="Write the preset to a file, to be handed on"),
        Binding("o", "take_in", "From a file", id="presets.take_in", tooltip="Take in the presets of a file"),
    ]

    def __init__(
        self, store: GenerationStore, model_id: str | None, model_name: str | None, chosen: GenerationSettings
    ) -> None:
        super().__init__()
        self._store = store
        self._model_id = model_id
        self._whom = clean_name(model_name or model_id, 50) if model_id else "all models"
        self._chosen = chosen
        self._then: Callable[[str], str] | None = None
        """What the text is for that is being typed: it does that and returns what to highlight."""
        self._to_delete = ""

    def compose(self) -> ComposeResult:
        """The presets, a field that comes when something has to be typed, and what must be said."""
        with Vertical(classes="dialog"):
            yield Static(Content(f"Presets · for {self._whom}"), classes="dialog-title")
            yield OptionList(id="presets", compact=True)
            yield Input(compact=True, select_on_focus=False, id="typed")
            yield Static(markup=False, classes="dialog-problem", id="problem")
            yield Static(_KEYS, markup=False, classes="dialog-muted", id="keys")

    def on_mount(self) -> None:
        """Begin at the one that holds."""
        self.query_one("#typed").display = False
        self._fill(self._store.preset(self._model_id) or "")
        self.query_one(OptionList).focus()

    def _fill(self, highlight: str) -> None:
        options = self.query_one(OptionList)
        options.clear_options()
        holds = self._store.preset(self._model_id) or ""
        for name in ("", *self._store.preset_names):
            mark = "●" if name == holds else "\N{NO-BREAK SPACE}"
            values = said_values(self._store.preset_values(name)) if name else "no preset"
            own = "" if not name or name in BUILT_IN_PRESETS else " · yours"
            label = Content.assemble(f"{mark} {clean_name(name, LONGEST_NAME):<15} ", (values + own, "$text-muted"))
            options.add_option(Option(label))
        names = ("", *self._store.preset_names)
        options.highlighted = names.index(highlight) if highlight in names else 0

    @property
    def _preset(self) -> str:
        """The preset under the cursor; empty for none."""
        at = self.query_one(OptionList).highlighted or 0
        names = ("", *self._store.preset_names)
        return names[at] if at < len(names) else ""

    @on(OptionList.OptionSelected)
    @work(exclusive=True)
    async def _take(self) -> None:
        name = self._preset
        own = self._model_id is not None and not name and self._store.preset(None) is not None
        try:
            await asyncio.to_thread(self._store.choose_preset, name or None, self._model_id)
        except SaveError as error:
            self._say(str(error))
            return
        if own and self._store.preset(self._model_id):
            self._say(f"{self._store.preset(None)} still holds, since it is taken for all models")
            self._fill(self._store.preset(None) or "")
            return
        self.dismiss(name)

    def action_keep(self) -> None:
        """Ask for a name."""
        self._ask("", "the name of the new preset", lambda name: self._store.save_preset(name, self._chosen))

    def action_rename(self) -> None:
        """Ask for the other name."""
        if (name := self._own_one()) is not None:
            self._ask(name, "its new name", lambda new: self._store.rename_preset(name, new))

    def action_write(self) -> None:
        """Ask where to."""
        if not (name := self._preset):
            self._say("Choose a preset first")
            return

        def write(text: str) -> str:
            write_preset(self._store, name, Path(text).expanduser())
            return name

        self._ask(shown_path(Path.home() / f"{name.replace('/', '-')}.toml"), "the file to write", write)

    def action_take_in(self) -> None:
        """Ask for the file."""

        def take(text: str) -> str:
            names, problems = take_presets(self._store, Path(text).expanduser())
            if problems:
                self.app.call_from_thread(self._say, "; ".join(str(problem) for problem in problems))
            return names[-1]

        self._ask("", "the file with presets", take)

    @work(exclusive=True)
    async def action_delete(self) -> None:
        """Delete one of the user's own, when asked for twice."""
        if (name := self._own_one()) is None:
            return
        if self._to_delete != name:
            self._to_delete = name
            self._say(f"d again deletes {clean_name(name)}")
            return
        self._to_delete = ""
        try:
            await asyncio.to_thread(self._store.delete_preset, name)
        except SaveError as error:
            self._say(str(error))
        else:
            self._say("")
            self._fill("")

    def action_close(self) -> None:
        """Leave the field first, then the dialog."""
        if self._then is not None:
            self._leave_field()
        else:
            self.dismiss(None)

    def _own_one(self) -> str | None:
        """The preset under the cursor, where it may be changed."""
        name = self._preset
        if name in BUILT_IN_PRESETS:
            self._say(f"{name} is built in; s saves what is set under a name of yours")
        elif not name:
            self._say("Choose a preset of yours first")
        else:
            return name
        return None

    def _ask(self, text: str, what: str, then: Callable[[str], str]) -> None:
        self._then = then
        self._say("")
        field = self.query_one("#typed", Input)
        field.placeholder, field.value, field.display = what, text, True
        self.query_one("#keys", Static).update(Content(f"Type {what}: enter does it, escape leaves the field"))
        field.focus()

    def _leave_field(self) -> None:
        self._then = None
        self.query_one("#keys", Static).update(Content(_KEYS))
        self.query_one("#typed").display = False
        self.query_one(OptionList).focus()

    @on(Input.Submitted)
    @work(exclusive=True)
    async def _typed(self, event: Input.Submitted) -> None:
        if self._then is None:
            return
        try:
            highlight = await asyncio.to_thread(self._then, event.value)
        except SaveError as error:
            self._say(str(error))  # what was typed stays
            return
        self._leave_field()
        self._fill(highlight)

    @on(OptionList.OptionHighlighted)
    def _moved(self) -> None:
        if self._to_delete and self._to_delete != self._preset:
            self._to_delete = ""
            self._say("")

    def _say(self, sentence: str) -> None:
        problem = self.query_one("#problem", Static)
        problem.update(Content(f"! {clean_name(sentence, 400)}"))
        problem.display = bool(sentence)
