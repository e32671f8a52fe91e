"""How a model shall be loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ClassVar

from msgspec import structs
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.css.query import NoMatches
from textual.widget import Widget
from textual.widgets import Button, Select, Static

from modeldeck.backend.estimate.figures import DEFAULT_CONTEXT, Verdict
from modeldeck.backend.estimate.planning import Room
from modeldeck.backend.models import LoadRequest, ModelFormat, ModelInfo
from modeldeck.backend.text import clean_name
from modeldeck.tui.code_consent import SeenCode
from modeldeck.tui.fitting import Fitting
from modeldeck.tui.format import parameters, size
from modeldeck.tui.load_profiles import LoadProfiles
from modeldeck.tui.marks import model_type
from modeldeck.tui.screens.dialog import Dialog
from modeldeck.tui.widgets.fields import choice, field_row, shown
from modeldeck.tui.widgets.fit_view import FitView
from modeldeck.tui.widgets.load_fields import LoadFields

_SHARE_OF_WINDOW = 0.94
_OTHER_LINES = 10
"""Of the dialog, beside the fields and the verdict: frame, title, path, facts, gaps, buttons."""
_LEAST_FIELDS = 4


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the dialog answers."""

    request: LoadRequest
    room: Room
    """What was said to make room."""
    code_digest: str = ""
    """Of the code of the model's own that was looked at; empty where there is none."""
    wait_for: dict[str, int] = field(default_factory=dict)
    """Bytes by device that must be free before the load begins; empty where it shall begin at once."""


class LoadDialog(Dialog[Chosen]):
    """Answers how to load the model, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "app.focus_previous", "Up", show=False, id="load.up", tooltip="To the field above"),
        Binding("down", "app.focus_next", "Down", show=False, id="load.down", tooltip="To the field below"),
    ]

    AUTO_FOCUS = "#load"

    def __init__(
        self,
        model: ModelInfo,
        request: LoadRequest,
        *,
        fitting: Fitting,
        name_of: Callable[[str], str],
        profiles: LoadProfiles,
        adapters: Sequence[ModelInfo] = (),
        look_at_code: Callable[[], SeenCode],
        own_code: bool = False,
        look_at_pickles: Callable[[ModelInfo, LoadRequest], bool] | None = None,
    ) -> None:
        super().__init__()
        self._model = model
        self._request = request
        self._name_of = name_of
        """What people call a model that is held."""
        self._profiles = profiles
        self._adapters = adapters
        self._own_code = own_code or model.needs_remote_code
        """Whether the model may need code that comes with it; an engine may have found out what config.json hides."""
        self._look_at_code = look_at_code
        self._look_at_pickles = look_at_pickles
        """Whether its pickles were allowed before; None where it has none."""
        self._digest = ""
        self._profile = ""
        """The one that was chosen; empty for none."""
        self._fitting = fitting

    def compose(self) -> ComposeResult:
        """What the model is, what can be chosen for it, and what will happen."""
        model = self._model
        facts = (
            f"{parameters(model.parameters)} parameters · {clean_name(model_type(model))} · {size(model.size_bytes)}"
        )
        with Vertical(classes="dialog", id="load-dialog"):
            yield Static(Content(f"Load {clean_name(model.name)}"), classes="dialog-title")
            yield Static(Content(clean_name(model.path, 1000)), classes="dialog-muted", id="path")
            yield Static(Content(facts), classes="dialog-muted", id="facts")
            yield field_row("Profile", choice("profile", self._profile_names(), ""))
            yield self._made_fields(self._request)
            yield FitView(self._fitting, self._model, self._name_of)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Load", variant="primary", id="load", compact=True)
                yield Button("Wait for room", id="wait", compact=True)
                yield Button("Profile", id="save-profile", compact=True)
                yield Button("As code", id="as-code", compact=True)
                yield Button("Cancel", id="cancel", compact=True)

    def _made_fields(self, request: LoadRequest) -> LoadFields:
        pickles = self._look_at_pickles is not None
        return LoadFields(self._model, request, adapters=self._adapters, own_code=self._own_code, pickles=pickles)

    def _profile_names(self) -> list[tuple[str, str]]:
        return [("last used", ""), *((name, name) for name in self._profiles.names)]

    def _show_profiles(self) -> None:
        """Where there are none, nothing is to be chosen."""
        row = self.query_one("#profile").parent
        if isinstance(row, Widget):
            row.display = bool(self._profiles.names)
        self._share_height()

    @on(Select.Changed, "#profile")
    @work(exclusive=True, group="profile")
    async def _take_profile(self, event: Select.Changed) -> None:
        """The fields begin anew with what the profile says."""
        name = str(event.value)
        request = self._profiles.request(name, self._model) if name else self._request
        if name or self._profile:
            self._profile = name
            await self._fields.remove()
            await self.query_one("#load-dialog").mount(self._made_fields(request), before=self.query_one(FitView))
            self._begin_fields()

    @on(Button.Pressed, "#save-profile")
    def _save_profile(self) -> None:
        if self._fields.problem:
            return
        from modeldeck.tui.screens.profile_dialog import ProfileDialog

        def answered(name: str | None) -> None:
            if name is not None:
                field: Select[str] = self.query_one("#profile", Select)
                with self.prevent(Select.Changed):  # the fields say it already
                    field.set_options(shown(self._profile_names()))
                    field.value = self._profile = name
                self._show_profiles()

        self.app.push_screen(ProfileDialog(self._profiles, self._model, self._asked(), self._profile), answered)

    def on_mount(self) -> None:
        """Where it does not fit, a second enter out of habit loads nothing."""
        self.query_one("#wait").display = False
        self._show_profiles()
        self._judge()
        if self._fitting.verdict(self._model, self._request) is Verdict.DOES_NOT_FIT:
            self.query_one("#cancel").focus()
        self._begin_fields()

    def _begin_fields(self) -> None:
        """What the fields cannot know at once."""
        if self._model.format is ModelFormat.GGUF:
            self._offer_quantization()
        if self._own_code:
            self._look_for_code()
        if self._look_at_pickles is not None:
            self._look_for_pickles(self._look_at_pickles)

    def on_resize(self) -> None:
        """The verdict and the buttons are always in the window; the fields get what is left, and scroll."""
        self._share_height()

    @on(FitView.Judged)
    def _offer_to_wait(self) -> None:
        """Where others would have to go first; what is larger than its device is not worth waiting for."""
        self.query_one("#wait").display = bool(self.query_one(FitView).wait_for)

    @on(FitView.Resized)
    def _share_height(self) -> None:
        if not self.query(LoadFields):  # a profile brings others in a moment
            return
        fit, fields = self.query_one(FitView), self._fields
        most = int(self.size.height * _SHARE_OF_WINDOW)
        profile = 1 if self._profiles.names else 0
        fields.styles.max_height = max(_LEAST_FIELDS, most - fit.size.height - _OTHER_LINES - profile)

    @property
    def _fields(self) -> LoadFields:
        return self.query_one(LoadFields)

    @work
    async def _offer_quantization(self) -> None:
        prepared = await asyncio.to_thread(self._fitting.look_for_copy, self._model)
        with suppress(NoMatches):  # the dialog was closed meanwhile
            self._fields.show_copy(prepared)

    @work
    async def _look_for_code(self) -> None:
        seen = await asyncio.to_thread(self._look_at_code)
        with suppress(NoMatches):  # the dialog was closed meanwhile
            self._digest = seen.digest
            self._fields.show_code(seen)

    @work
    async def _look_for_pickles(self, look: Callable[[ModelInfo, LoadRequest], bool]) -> None:
        allowed = await asyncio.to_thread(look, self._model, self._request)
        with suppress(NoMatches):  # the dialog was closed meanwhile
            self._fields.show_pickles(allowed)

    @on(LoadFields.Changed)
    def _judge(self) -> None:
        """What the fields say now, against what is free now."""
        if not self.query("LoadFields #context"):
            return  # a profile brings others in a moment, which tell when they are there
        view, fields = self.query_one(FitView), self._fields
        if problem := fields.problem:
            view.say_wrong(problem)
        else:
            view.show_load(self._asked(), fields.context_tokens or DEFAULT_CONTEXT)

    @on(Button.Pressed, "#cancel")
    def _cancel(self) -> None:
        self.dismiss(None)

    @on(Button.Pressed, "#as-code")
    def _show_code(self) -> None:
        from modeldeck.tui.screens.code_dialog import CodeDialog

        request, tokens = self._asked(), self._fields.context_tokens or DEFAULT_CONTEXT
        adapter = next((one.adapter for one in self._adapters if one.path == request.adapter), None)
        rank = adapter.rank if adapter is not None else None
        self.app.push_screen(CodeDialog(self._model, request, tokens, rank))

    @on(Button.Pressed, "#load")
    def _load(self) -> None:
        if self.query("LoadFields #context") and not self._fields.problem:
            self.dismiss(Chosen(self._asked(), self.query_one(FitView).room, self._digest))

    @on(Button.Pressed, "#wait")
    def _wait(self) -> None:
        view = self.query_one(FitView)
        if not self._fields.problem and view.wait_for:
            self.dismiss(Chosen(self._asked(), view.room, self._digest, view.wait_for))

    def _asked(self) -> LoadRequest:
        """The load that the fields describe, with the GPUs by their UUIDs."""
        asked = self._fields.asked()
        return structs.replace(asked, gpu_uuids=self._fitting.uuids_of(asked.device))
