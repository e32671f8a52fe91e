"""How a model shall be loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.util import find_spec
from typing import ClassVar, TypeVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.css.query import NoMatches
from textual.widget import Widget
from textual.widgets import Button, Checkbox, Input, Select, Static

from modeldeck.backend.estimate.eager import is_eager
from modeldeck.backend.estimate.figures import DEFAULT_CONTEXT, Verdict
from modeldeck.backend.estimate.planning import Room
from modeldeck.backend.models import Attention, LoadRequest, ModelFormat, ModelInfo, Quantization
from modeldeck.backend.text import clean_name
from modeldeck.config.settings import MOST_IDLE_MINUTES
from modeldeck.tui.fitting import Fitting
from modeldeck.tui.format import minutes, parameters, size
from modeldeck.tui.marks import model_type, short_dtype
from modeldeck.tui.screens.dialog import Dialog
from modeldeck.tui.widgets.fit_view import FitView

_DTYPES = ("auto", "float32", "float16", "bfloat16")
_QUANTIZATIONS = (
    ("none", Quantization.NONE),
    ("8bit (bitsandbytes)", Quantization.INT8),
    ("4bit (bitsandbytes nf4)", Quantization.NF4),
)
_ATTENTIONS = {Attention.AUTO: "auto (sdpa)", Attention.EAGER: "eager (not fused)"}


Value = TypeVar("Value")


_MOST_TOKENS = 10_000_000
_SHARE_OF_WINDOW = 0.94
_OTHER_LINES = 9
"""Of the dialog, beside the fields and the verdict: frame, title, path, facts, gaps, buttons."""
_LEAST_FIELDS = 4


class Choice(Select[Value], inherit_bindings=False):
    """A list that opens on enter or space; up and down are left to move between the fields."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "show_overlay", "Choose", id="load.choose", tooltip="Show what can be chosen"),
    ]


class LoadDialog(Dialog[tuple[LoadRequest, Room]]):
    """Answers the options to load with and what was said to make room for it, or None."""

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
        own_code: bool = False,
    ) -> None:
        super().__init__()
        self._model = model
        self._request = request
        self._name_of = name_of
        """What people call a model that is held."""
        self._own_code = own_code or model.needs_remote_code
        """Whether the model may need code that comes with it; an engine may have found out what config.json hides."""
        self._fitting = fitting

    def compose(self) -> ComposeResult:
        """What the model is, what can be chosen for it, and what will happen."""
        model, request = self._model, self._request
        facts = (
            f"{parameters(model.parameters)} parameters · {clean_name(model_type(model))} · {size(model.size_bytes)}"
        )
        with Vertical(classes="dialog", id="load-dialog"):
            yield Static(Content(f"Load {clean_name(model.name)}"), classes="dialog-title")
            yield Static(Content(clean_name(model.path, 1000)), classes="dialog-muted", id="path")
            yield Static(Content(facts), classes="dialog-muted", id="facts")
            with VerticalScroll(id="fields", can_focus=False):
                devices = dict.fromkeys(["auto", request.device])
                yield from _field("Device", _select("device", [(name, name) for name in devices], request.device))
                stored = f"auto ({short_dtype(model.dtype)})" if model.dtype and not model.quantization else "auto"
                dtypes = [(stored if name == "auto" else name, name) for name in _DTYPES]
                yield from _field("Dtype", _select("dtype", dtypes, request.dtype))
                yield from _field("Quantization", *self._quantization())
                yield Static(markup=False, classes="dialog-muted", id="stored-note")
                if not is_eager(model.architecture):  # those have no other
                    attentions = [(_ATTENTIONS.get(kind, kind.value), kind) for kind in _attentions(request.attention)]
                    yield from _field("Attention", _select("attention", attentions, request.attention))
                unit = Static("tokens, for the estimate", classes="field-unit")
                yield from _field("Context", self._context_field(), unit)
                idle = Input(minutes(request.idle_minutes), type="number", max_length=8, compact=True, id="idle")
                unit = Static("minutes without a reply; 0 is never", classes="field-unit")
                yield from _field("Unload after", idle, unit)
                if self._own_code:
                    yield Checkbox(
                        "Run the code that comes with this model (it can do anything that you can)",
                        value=request.trust_remote_code,
                        compact=True,
                        id="remote-code",
                    )
            yield FitView(self._fitting, self._model, self._name_of)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Load", variant="primary", id="load", compact=True)
                yield Button("As code", id="as-code", compact=True)
                yield Button("Cancel", id="cancel", compact=True)

    def on_mount(self) -> None:
        """The devices are asked for in a thread: a driver may take its time."""
        self.query_one("#stored-note").display = False
        self._fill_devices()
        self._judge()
        if self._fitting.verdict(self._model, self._request) is Verdict.DOES_NOT_FIT:
            self.query_one("#cancel").focus()  # a second enter out of habit loads nothing
        if self._model.format is ModelFormat.GGUF:
            self._offer_quantization()

    def on_resize(self) -> None:
        """The verdict and the buttons are always in the window; the fields get what is left, and scroll."""
        self.call_after_refresh(self._share_height)

    def _share_height(self) -> None:
        fit, fields = self.query_one(FitView), self.query_one("#fields")
        most = int(self.size.height * _SHARE_OF_WINDOW)
        fields.styles.max_height = max(_LEAST_FIELDS, most - fit.size.height - _OTHER_LINES)

    @work
    async def _offer_quantization(self) -> None:
        """Only what was made of a GGUF file can be quantized, and that may not be there yet."""
        prepared = await asyncio.to_thread(self._fitting.look_for_copy, self._model)
        with suppress(NoMatches):  # the dialog was closed meanwhile
            self._show_copy(prepared)
            self._judge()

    def _show_copy(self, prepared: bool) -> None:
        field: Select[Quantization] = self.query_one("#quantization", Select)
        field.display = prepared
        self.query_one("#stored").display = not prepared
        if not prepared:
            field.value = Quantization.NONE
            if self._request.prepared_copy_limit_bytes > 0:
                note = self.query_one("#stored-note", Static)
                note.update("Load it once; its prepared copy can then be quantized.")
                note.display = True

    @work
    async def _fill_devices(self) -> None:
        found = await asyncio.to_thread(_devices)
        with suppress(NoMatches):  # the dialog was closed meanwhile
            field: Select[str] = self.query_one("#device", Select)
            chosen = str(field.value)
            names = dict.fromkeys([*found, chosen])
            field.set_options((clean_name(name), name) for name in names)
            field.value = chosen

    def _quantization(self) -> tuple[Widget, ...]:
        model = self._model
        choice = _select("quantization", _QUANTIZATIONS, self._request.quantization)
        if model.format is ModelFormat.GGUF:
            kind = clean_name(model.quantization or "GGUF", 20)
            choice.display = False  # until its copy was found
            return Static(Content(f"stored as {kind}; loaded in full"), classes="field-value", id="stored"), choice
        if model.quantization:
            kind = clean_name(model.quantization, 20)
            return (Static(Content(f"stored as {kind}, which is kept"), classes="field-value", id="stored"),)
        return (choice,)

    @on(Select.Changed)
    @on(Input.Changed)
    @on(Checkbox.Changed)
    def _judge(self) -> None:
        """What the fields say now, against what is free now."""
        view = self.query_one(FitView)
        if (tokens := self._context_tokens()) is None:
            view.say_wrong("Context must be 1 or more tokens.")
        elif self._idle_minutes() is None:
            view.say_wrong(f"Unload after must be 0 to {MOST_IDLE_MINUTES:,} minutes.")
        else:
            view.show_load(self._asked(), tokens)
        self.call_after_refresh(self._share_height)

    def _context_field(self) -> Input:
        tokens = min(DEFAULT_CONTEXT, self._model.context_length or DEFAULT_CONTEXT)
        return Input(str(tokens), type="integer", max_length=8, compact=True, id="context", select_on_focus=True)

    def _context_tokens(self) -> int | None:
        """What stands in the field, within the model's own limit; None where it is no number of tokens."""
        text = self.query_one("#context", Input).value
        if not text.isdecimal() or int(text) < 1:
            return None
        return min(int(text), self._model.context_length or _MOST_TOKENS)

    def _idle_minutes(self) -> float | None:
        """What stands in the field; None where it is no time-out."""
        try:
            found = float(self.query_one("#idle", Input).value)
        except ValueError:
            return None
        return found if 0 <= found <= MOST_IDLE_MINUTES else None

    @on(Button.Pressed, "#cancel")
    def _cancel(self) -> None:
        self.dismiss(None)

    @on(Button.Pressed, "#as-code")
    def _show_code(self) -> None:
        from modeldeck.tui.screens.code_dialog import CodeDialog

        request, tokens = self._asked(), self._context_tokens() or DEFAULT_CONTEXT
        self.app.push_screen(CodeDialog(self._model, request, tokens, self._fitting.uuid_of(request.device)))

    @on(Button.Pressed, "#load")
    def _load(self) -> None:
        if self._idle_minutes() is None:
            self.query_one("#idle").focus()
        else:
            self.dismiss((self._asked(), self.query_one(FitView).room))

    def _asked(self) -> LoadRequest:
        """The load that the fields describe."""
        quantization = [str(field.value) for field in self.query("#quantization").results(Select)]
        attention = [str(field.value) for field in self.query("#attention").results(Select)]
        remote_code = self.query("#remote-code").results(Checkbox)
        return LoadRequest(
            model_id=self._model.id,
            path=self._model.path,
            device=str(self.query_one("#device", Select).value),
            dtype=str(self.query_one("#dtype", Select).value),
            quantization=Quantization(quantization[0]) if quantization else Quantization.NONE,
            attention=Attention(attention[0]) if attention else Attention.AUTO,
            trust_remote_code=any(field.value for field in remote_code),
            prepared_copy_limit_bytes=self._request.prepared_copy_limit_bytes,
            size_bytes=self._request.size_bytes,
            idle_minutes=self._idle_minutes() or 0.0,
        )


def _field(label: str, *values: Widget) -> ComposeResult:
    with Horizontal(classes="field"):
        yield Static(label, classes="field-label")
        yield from values


def _select(name: str, options: Iterable[tuple[str, Value]], value: Value) -> Choice[Value]:
    return Choice(options, value=value, allow_blank=False, compact=True, id=name, classes="field-value")


def _attentions(chosen: Attention) -> tuple[Attention, ...]:
    """What can be chosen; flash-attn only where its package is."""
    flash = chosen is Attention.FLASH_2 or find_spec("flash_attn") is not None
    return tuple(kind for kind in Attention if flash or kind is not Attention.FLASH_2)


def _devices() -> tuple[str, ...]:
    from modeldeck.backend.memory import available_devices

    return available_devices()
