"""One row of the generation form: label, field, where the value comes from, what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static, TextArea

from modeldeck.backend.text import clean_name, clean_text
from modeldeck.config.declaration import Setting, show
from modeldeck.tui.generation_draft import GenerationDraft


class OnOff(Static, can_focus=True):
    """A switch with a third position: empty, where the layer below decides. It says ``on`` or ``off`` in words."""

    DEFAULT_CSS = """
    OnOff { height: 1; }
    OnOff:focus { background: $foreground 15%; text-style: bold; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,enter", "switch", "Switch", id="form.switch", tooltip="Switch the setting on or off"),
        Binding(
            "backspace,delete", "empty", "Reset", show=False, id="form.empty", tooltip="Let the layer below decide"
        ),
    ]

    @dataclass
    class Changed(Message):
        """The user switched it, or let go of it."""

        text: str
        """As ``declaration.parse`` reads it: ``true``, ``false`` or empty."""

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._value = ""
        self._below = False

    def show_value(self, text: str, below: bool) -> None:
        """Show a value of its own, or dimmed what the layer below says."""
        self._value, self._below = text, below
        on = text == "true" if text else below
        word = "on" if on else "off"
        self.update(Content(word) if text else Content.styled(word, "$text-disabled"))

    @property
    def text(self) -> str:
        """As ``declaration.parse`` reads it: ``true``, ``false`` or empty."""
        return self._value

    def action_switch(self) -> None:
        """The other one of the two."""
        on = self._value == "true" if self._value else self._below
        self._change("false" if on else "true")

    def action_empty(self) -> None:
        """Back to the layer below."""
        self._change("")

    def _change(self, text: str) -> None:
        self.show_value(text, self._below)
        self.post_message(self.Changed(text))


class SettingRow(Vertical):
    """Shows one setting of a draft and passes on what is typed."""

    DEFAULT_CSS = """
    SettingRow {
        height: auto;
    }
    SettingRow > Horizontal { height: auto; }
    SettingRow .row--label { width: 20; }
    SettingRow .row--from { width: 12; color: $text-muted; }
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
    SettingRow Input, SettingRow OnOff { width: 14; margin-right: 2; }
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

    def __init__(self, setting: Setting, draft: GenerationDraft) -> None:
        super().__init__()
        self.setting = setting
        self._draft = draft
        self._field = self._make_field()

    @property
    def limits(self) -> str:
        """What is allowed, in the words of this form."""
        return "on or off" if self.setting.kind == "bool" else self.setting.limits

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
            yield Static(classes="row--from", markup=False)
            if not isinstance(self._field, TextArea):
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
        text, below = self._draft.text(name), self._draft.inherited(name)
        match self._field:
            case Input() as field:
                field.placeholder = show(self.setting, below.value) or "-"
                if field.value != text and not keep_field:
                    field.value = text
            case TextArea() as field:
                field.placeholder = Content(clean_text(show(self.setting, below.value)) or "-")
                if field.text != text and not keep_field:
                    field.text = text
            case OnOff() as field:
                field.show_value(text, below.value is True)
        error = self._draft.errors.get(name, "")
        self.set_class(bool(error), "-invalid")
        self.query_one(".row--error", Static).update(Content(clean_name(f"! {error}")))
        self.query_one(".row--from", Static).update(Content(self._draft.origin(name)))

    def focus_field(self) -> None:
        """Let the user type here."""
        self._field.focus()

    @on(Input.Changed)
    @on(TextArea.Changed)
    @on(OnOff.Changed)
    def _changed(self, event: Input.Changed | TextArea.Changed | OnOff.Changed) -> None:
        event.stop()
        match event:
            case Input.Changed():
                text = event.value
            case TextArea.Changed():
                text = event.text_area.text
            case OnOff.Changed():
                text = event.text
        self.post_message(self.Edited(self.setting.name, text))

    def _make_field(self) -> Input | TextArea | OnOff:
        match self.setting.kind:
            case "bool":
                return OnOff()
            case "text" | "list":
                return TextArea(tab_behavior="focus", highlight_cursor_line=False, show_line_numbers=False)
            case _:
                return Input(compact=True, select_on_focus=False)
