"""One row of the generation form: label, field, where the value comes from, what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import UNSET
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static, TextArea

from modeldeck.backend.text import clean_name, clean_text
from modeldeck.config.declaration import Setting, show
from modeldeck.tui.generation_draft import GenerationDraft
from modeldeck.tui.widgets.few_choices import FewChoices


class SettingRow(Vertical):
    """Shows one setting of a draft and passes on what is typed."""

    DEFAULT_CSS = """
    SettingRow {
        height: auto;
    }
    SettingRow > Horizontal { height: auto; }
    SettingRow .row--label { width: 20; }
    SettingRow .row--from { width: 13; color: $text-muted; }
    SettingRow .row--from.-beside { width: auto; }
    SettingRow .row--limits {
        width: 1fr;
        height: 1;
        color: $text-muted;
        text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    SettingRow .row--error { color: $text-error; padding-left: 20; display: none; }
    SettingRow.-invalid .row--error { display: block; }
    SettingRow.-invalid .row--label { color: $text-error; }
    SettingRow Input, SettingRow FewChoices { width: 16; margin-right: 1; }
    SettingRow Input { background: transparent; padding: 0; }
    SettingRow Input:focus, SettingRow TextArea:focus { background: $foreground 15%; }
    SettingRow TextArea {
        width: 1fr;
        height: auto;
        min-height: 1;
        max-height: 5;
        border: none;
        padding: 0;
        background: transparent;
        margin-right: 2;
    }
    """

    @dataclass
    class Edited(Message):
        """The user changed the field."""

        name: str
        text: str

    def __init__(self, setting: Setting, draft: GenerationDraft, choices: Sequence[str]) -> None:
        super().__init__()
        self.setting = setting
        self._draft = draft
        self._choices = choices
        """Those of a choice that are offered."""
        self._field = self._make_field()

    @property
    def limits(self) -> str:
        """What is allowed, in the words of this form."""
        match self.setting.kind:
            case "bool":
                return "on or off"
            case "choice":
                return f"{', '.join(self._choices[:-1])} or {self._choices[-1]}"
            case _:
                return self.setting.range

    @property
    def shows_limits(self) -> bool:
        """Whether all of them can be read in the row, or there are none."""
        shown = self.query(".row--limits")
        return not self.limits or (bool(shown) and len(self.limits) <= shown.first().size.width)

    @property
    def text(self) -> str:
        """What the field holds now; the draft follows as soon as the message arrives."""
        return self._field.value if isinstance(self._field, Input) else self._field.text

    def compose(self) -> ComposeResult:
        """The four columns, and a line for what is wrong."""
        with Horizontal():
            yield Static(self.setting.label, classes="row--label", markup=False)
            yield self._field
            if isinstance(self._field, TextArea):
                yield Static(classes="row--from -beside", markup=False)
            else:
                yield Static(classes="row--from", markup=False)
                yield Static(Content(self.limits), classes="row--limits")
        yield Static(classes="row--error", markup=False)

    def on_mount(self) -> None:
        """Show what the draft holds."""
        self.refresh_row()

    def refresh_row(self, *, keep_field: bool = False) -> None:
        """Show what the draft holds now; the cursor stays where it is when the text is the same.

        ``keep_field`` leaves the text alone: while the user types, the field is ahead of the draft.
        """
        name = self.setting.name
        text, value = self._draft.text(name), self._draft.below(name).value
        below = self.setting.unset if value is UNSET else show(self.setting, value)
        match self._field:
            case Input() as field:
                field.placeholder = below
                if field.value != text and not keep_field:
                    field.value = text
            case TextArea() as field:
                field.placeholder = Content(clean_text(below))
                if field.text != text and not keep_field:
                    field.text = text
            case FewChoices() as field:
                field.show_value(text, below)
        error = self._draft.errors.get(name, "")
        self.set_class(bool(error), "-invalid")
        self.query_one(".row--error", Static).update(Content(clean_name(f"! {error}")))
        origin = self._draft.origin(name)
        if isinstance(self._field, TextArea) and origin != "edited":  # it takes all columns: no head stands above this
            origin = f"from {origin}"
        self.query_one(".row--from", Static).update(Content(origin))

    def focus_field(self) -> None:
        """Let the user type here."""
        self._field.focus()

    @on(Input.Changed)
    @on(TextArea.Changed)
    @on(FewChoices.Changed)
    def _changed(self, event: Input.Changed | TextArea.Changed | FewChoices.Changed) -> None:
        event.stop()
        match event:
            case Input.Changed():
                text = event.value
            case TextArea.Changed():
                text = event.text_area.text
            case FewChoices.Changed():
                text = event.text
        self.post_message(self.Edited(self.setting.name, text))

    def _make_field(self) -> Input | TextArea | FewChoices:
        match self.setting.kind:
            case "bool":
                return FewChoices({"true": "on", "false": "off"})
            case "choice":
                return FewChoices({choice: choice for choice in self._choices})
            case "text" | "list":
                return TextArea(tab_behavior="focus", highlight_cursor_line=False, show_line_numbers=False)
            case _:
                return Input(compact=True, select_on_focus=False)
