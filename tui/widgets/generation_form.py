"""The rows of the generation form: the common settings, the others folded, and the help of the focused one."""

from __future__ import annotations

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from modeldeck.backend.generation_limits import Abilities
from modeldeck.config.declaration import Setting, show
from modeldeck.config.generation import BUILT_IN
from modeldeck.tui.generation_draft import SETTINGS, GenerationDraft
from modeldeck.tui.widgets.fold_row import FoldRow
from modeldeck.tui.widgets.setting_row import SettingRow

_HEAD = f"{'Setting':<20}{'Value':<17}{'From':<13}Must be"


class GenerationForm(Vertical):
    """Shows a draft and passes on what is typed; what the model cannot do is not offered."""

    DEFAULT_CSS = """
    GenerationForm { height: 1fr; }
    GenerationForm .form--head { color: $text-muted; height: 1; text-wrap: nowrap; }
    GenerationForm .form--rows { height: 1fr; scrollbar-size-vertical: 1; }
    GenerationForm .form--help { color: $text-muted; margin-top: 1; height: auto; max-height: 3; }
    """

    class Changed(Message):
        """The draft is another one."""

    def __init__(self, draft: GenerationDraft, abilities: Abilities) -> None:
        super().__init__()
        self._draft = draft
        self._abilities = abilities
        self._last_row: SettingRow | None = None
        """The one that a button is meant for, which takes the focus when it is clicked."""

    def compose(self) -> ComposeResult:
        """The columns, the rows, and the help."""
        offered = [setting for setting in SETTINGS if setting.name not in self._abilities.missing]
        yield Static(_HEAD, classes="form--head", markup=False)
        with VerticalScroll(classes="form--rows", can_focus=False):
            for setting in offered:
                if not setting.rare:
                    yield self._row(setting)
            yield FoldRow()
            for setting in offered:
                if setting.rare:
                    yield self._row(setting)
        yield Static(classes="form--help", markup=False)

    def _row(self, setting: Setting) -> SettingRow:
        choices = [choice for choice in setting.choices if choice in self._abilities.caches]
        return SettingRow(setting, self._draft, choices)

    def on_mount(self) -> None:
        """Begin at the first field."""
        self.refresh_rows()
        self.query(SettingRow).first().focus_field()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Explain the focused setting and keep all of its row in view."""
        row = next((node for node in event.widget.ancestors if isinstance(node, SettingRow)), None)
        # Later, since a longer help leaves less room for the rows.
        self.call_after_refresh((row or event.widget).scroll_visible, animate=False)
        if row is None:
            return
        self._last_row = row
        limits = "" if row.shows_limits else f" · must be {row.limits}"
        default = show(row.setting, getattr(BUILT_IN, row.setting.name)) or row.setting.unset
        default = {"true": "on", "false": "off"}.get(default, default)
        self.query_one(".form--help", Static).update(Content(f"{row.setting.help}{limits} · default {default}"))

    @on(FoldRow.Folded)
    def _fold(self, event: FoldRow.Folded) -> None:
        event.stop()
        self.refresh_rows()

    @on(SettingRow.Edited)
    def _edited(self, event: SettingRow.Edited) -> None:
        event.stop()
        if event.text == self._draft.text(event.name):
            return  # the field shows what the draft already holds
        self._draft.enter(event.name, event.text)
        for row in self.query(SettingRow):
            if row.setting.name == event.name:
                row.refresh_row(keep_field=True)
        self.post_message(self.Changed())

    def take_what_was_typed(self) -> None:
        """A key such as ctrl+s may overtake the messages about the characters typed just before it."""
        for row in self.query(SettingRow):
            if row.text != self._draft.text(row.setting.name):
                self._draft.enter(row.setting.name, row.text)

    def reset_value(self) -> None:
        """Let the layer below decide about the setting that has, or had, the keys."""
        if (row := self._last_row) is not None:
            self._draft.reset(row.setting.name)
            self.refresh_rows()
            row.focus_field()

    def refresh_rows(self) -> None:
        """Show what the draft holds now. What somebody has set is never folded away."""
        fold = self.query_one(FoldRow)
        hidden = 0
        for row in self.query(SettingRow):
            name = row.setting.name
            row.display = fold.open or not row.setting.rare or self._draft.is_set(name)
            hidden += not row.display
            row.refresh_row()
        fold.show_count(hidden)
