"""The options of a load as fields: only those that apply to the model, the machine and what else was chosen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from msgspec import structs
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.css.query import NoMatches
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Checkbox, Input, Select, Static

from modeldeck.backend.estimate.eager import is_eager
from modeldeck.backend.estimate.figures import DEFAULT_CONTEXT
from modeldeck.backend.models import Attention, DeviceMap, LoadRequest, ModelFormat, ModelInfo, Quantization
from modeldeck.backend.text import clean_name
from modeldeck.config.settings import MOST_IDLE_MINUTES
from modeldeck.tui.code_consent import SeenCode
from modeldeck.tui.format import minutes
from modeldeck.tui.marks import short_dtype
from modeldeck.tui.memory_limits import WRONG, limits_text, parse_limits
from modeldeck.tui.widgets.fields import Value, choice, field_row, shown, text_field
from modeldeck.tui.widgets.load_choices import ATTENTIONS, DEVICE_MAPS, attentions, dtypes, quantizations
from modeldeck.tui.widgets.tick import Tick

_CONSENTS = frozenset({"remote-code", "pickles"})
_SEVERAL = "several"
_MOST_TOKENS = 10_000_000


class LoadFields(VerticalScroll, can_focus=False):
    """Begins with ``request``; ``adapters`` belong to the model. ``Changed`` tells that something was chosen."""

    class Changed(Message):
        """A field says something else, or more can be chosen."""

    def __init__(
        self,
        model: ModelInfo,
        request: LoadRequest,
        *,
        adapters: Sequence[ModelInfo] = (),
        own_code: bool = False,
        pickles: bool = False,
    ) -> None:
        super().__init__(id="fields")
        self._model = model
        self._request = request
        self._adapters = {adapter.path: adapter for adapter in adapters}
        self._own_code = own_code
        self._pickles = pickles
        self._gpus: tuple[str, ...] | None = None
        """Those of this machine; None until that is known."""

    def compose(self) -> ComposeResult:
        """The common ones first."""
        model, request = self._model, self._request
        device = _SEVERAL if "+" in request.device else request.device
        yield field_row("Device", choice("device", [(name, name) for name in dict.fromkeys(["auto", device])], device))
        yield Horizontal(Static(markup=False, classes="field-label"), id="gpus", classes="field")
        maps = [(label, kind) for kind, label in DEVICE_MAPS.items()]
        yield field_row("Device map", choice("device-map", maps, request.device_map))
        yield field_row(
            "GB at most",
            text_field("memory-limits", limits_text(request.memory_limits), "text", 60, "cuda:0=20 cpu=64"),
        )
        yield field_row("CPU offload", Tick("What finds no room may lie in RAM", request.cpu_offload, id="cpu-offload"))
        stored = f"auto ({short_dtype(model.dtype)})" if model.dtype and not model.quantization else "auto"
        yield field_row("Dtype", choice("dtype", dtypes(stored), request.dtype))
        yield field_row("Quantization", *self._quantization())
        yield Static(markup=False, classes="dialog-muted", id="stored-note")
        yield field_row("Scales", Tick("Quantized too", request.double_quantization, id="double-quantization"))
        yield field_row("Computed in", choice("compute-dtype", dtypes("the model's dtype"), request.compute_dtype))
        if not is_eager(model.architecture):  # those have no other
            offered = [(ATTENTIONS.get(kind, kind.value), kind) for kind in attentions(request.attention)]
            yield field_row("Attention", choice("attention", offered, request.attention))
        limit = request.context_limit
        tokens = limit or min(DEFAULT_CONTEXT, model.context_length or DEFAULT_CONTEXT)
        unit = Static("tokens", classes="field-unit")
        yield field_row(
            "Context",
            text_field("context", str(tokens), "integer", 8),
            unit,
            Tick("at most", limit is not None, id="context-limit"),
        )
        if self._adapters:
            chosen = request.adapter if request.adapter in self._adapters else ""
            adapters = [("none", ""), *((clean_name(one.name), path) for path, one in self._adapters.items())]
            yield field_row("Adapter", choice("adapter", adapters, chosen))
        unit = Static("minutes without a reply; 0 is never", classes="field-unit")
        yield field_row("Unload after", text_field("idle", minutes(request.idle_minutes), "number", 8), unit)
        if self._own_code:
            label = "Run this model's own code: it can do anything that you can"
            yield Tick(label, False, id="remote-code")  # until it was looked at
            yield Static(markup=False, classes="dialog-muted", id="code-files")
        if self._pickles:
            yield Tick("Read its pickled weights: a form that can hold code", False, id="pickles")  # as above

    def on_mount(self) -> None:
        """The devices are asked for in a thread: a driver may take its time."""
        self.query_one("#stored-note").display = False
        for tick in self.query("#remote-code, #pickles"):
            tick.disabled = True
        self._show_what_applies()
        self._fill_devices()

    @property
    def problem(self) -> str:
        """What is wrong with the first field that says nothing sensible; empty where all is well."""
        if self.context_tokens is None:
            return "Context must be 1 or more tokens."
        if (most := self._model.context_length) is not None and int(self._text("context")) > most:
            return f"Context must be at most {most:,} tokens: this model was made for no more."
        if self._idle_minutes is None:
            return f"Unload after must be 0 to {MOST_IDLE_MINUTES:,} minutes."
        if self._is_shown("memory-limits") and parse_limits(self._text("memory-limits")) is None:
            return WRONG
        return "" if self._device else "Choose at least one GPU."

    @property
    def context_tokens(self) -> int | None:
        """What stands in the field, within the model's own limit; None where it is no number of tokens."""
        text = self._text("context")
        if not text.isdecimal() or int(text) < 1:
            return None
        return min(int(text), self._model.context_length or _MOST_TOKENS, _MOST_TOKENS)

    def asked(self) -> LoadRequest:
        """The load that the fields describe; those that do not apply say nothing."""
        quantization = self._chosen("quantization", Quantization.NONE)
        adapter = self._adapters.get(self._chosen("adapter", ""))
        return structs.replace(
            self._request,
            device=self._device or "auto",
            dtype=self._chosen("dtype", "auto"),
            quantization=quantization,
            double_quantization=self._ticked("double-quantization", True),
            compute_dtype=self._chosen("compute-dtype", "auto") if quantization.is_bnb_4bit else "auto",
            device_map=self._chosen("device-map", DeviceMap.AUTO),
            memory_limits=self._limits,
            cpu_offload=self._request.cpu_offload if self._gpus is None else self._ticked("cpu-offload", True),
            attention=self._chosen("attention", Attention.AUTO),
            context_limit=self.context_tokens if self._ticked("context-limit", False) else None,
            adapter=adapter.path if adapter is not None else None,
            adapter_bytes=adapter.size_bytes if adapter is not None else 0,
            idle_minutes=self._idle_minutes or 0.0,
            trust_remote_code=self._ticked("remote-code", False),
            allow_pickles=self._ticked("pickles", False),
        )

    @property
    def _limits(self) -> dict[str, int]:
        if self._gpus is None:
            return self._request.memory_limits
        return (parse_limits(self._text("memory-limits")) or {}) if self._is_shown("memory-limits") else {}

    def show_copy(self, prepared: bool) -> None:
        """Only the prepared copy of a GGUF file can be quantized, and that may not be there yet."""
        field: Select[Quantization] = self.query_one("#quantization", Select)
        field.display = prepared
        self.query_one("#stored").display = not prepared
        if not prepared:
            field.value = Quantization.NONE
            if self._request.prepared_copy_limit_bytes > 0:
                note = self.query_one("#stored-note", Static)
                note.update("Load it once; then its copy can be quantized.")
                note.display = True
        self.post_message(self.Changed())

    def show_code(self, seen: SeenCode) -> None:
        """Which files would run; code that was allowed before is ticked, what cannot be looked at cannot be allowed."""
        for tick in self.query("#remote-code").results(Tick):
            tick.value = seen.allowed and not seen.problem
            tick.disabled = bool(seen.problem)
            lines = [seen.problem] if seen.problem else seen.lines()
            self.query_one("#code-files", Static).update(Content("\n".join(lines)))

    def show_pickles(self, allowed: bool) -> None:
        """They can be allowed now; ticked where these very files were allowed before."""
        for tick in self.query("#pickles").results(Tick):
            tick.value = allowed
            tick.disabled = False

    @on(Select.Changed)
    @on(Input.Changed)
    @on(Checkbox.Changed)
    def _changed(self, event: Message) -> None:
        event.stop()
        self._show_what_applies()
        self.post_message(self.Changed())

    def _show_what_applies(self) -> None:
        """Rows that would do nothing are not there."""
        device = self._chosen("device", "auto")
        several = device == _SEVERAL or (device == "auto" and len(self._gpus or ()) > 1)
        on_gpus = bool(self._gpus) and device not in {"cpu", "mps"}
        in_4_bits = self._chosen("quantization", Quantization.NONE).is_bnb_4bit
        shown = {
            "gpus": device == _SEVERAL,
            "device-map": several,
            "memory-limits": on_gpus,
            "cpu-offload": on_gpus,
            "double-quantization": in_4_bits,
            "compute-dtype": in_4_bits,
        }
        for name, applies in shown.items():
            field = self.query_one(f"#{name}")
            row = field if name == "gpus" else field.parent
            if isinstance(row, Widget):
                row.display = applies

    @work
    async def _fill_devices(self) -> None:
        found = await asyncio.to_thread(_devices)
        with suppress(NoMatches):  # the dialog was closed meanwhile
            self._gpus = tuple(name for name in found if name.startswith("cuda:"))
            field: Select[str] = self.query_one("#device", Select)
            chosen = str(field.value)
            several = [_SEVERAL] if len(self._gpus) > 1 else []
            names = dict.fromkeys([*found[:-1], *several, *found[-1:], chosen])
            field.set_options(shown((clean_name(name), name) for name in names))
            field.value = chosen
            asked = self._request.device.split("+")
            boxes = [Tick(name, name in asked, name=name, classes="gpu") for name in self._gpus]
            await self.query_one("#gpus").mount(*boxes)
            if self._gpus:
                for offer in self.query("#quantization").results(Select):
                    kind = self._chosen("quantization", Quantization.NONE)
                    offer.set_options(shown(quantizations(kind, on_gpu=True)))
                    offer.value = kind
            self._show_what_applies()
            self.post_message(self.Changed())

    def _quantization(self) -> tuple[Widget, ...]:
        model, asked = self._model, self._request.quantization
        offer = choice("quantization", quantizations(asked, on_gpu=False), asked)
        if model.format is ModelFormat.GGUF:
            kind = clean_name(model.quantization or "GGUF", 20)
            offer.display = False  # until its copy was found
            return Static(Content(f"stored as {kind}; loaded in full"), classes="field-value", id="stored"), offer
        if model.quantization:
            kind = clean_name(model.quantization, 20)
            return (Static(Content(f"stored as {kind}, which is kept"), classes="field-value", id="stored"),)
        return (offer,)

    @property
    def _device(self) -> str:
        """As a request names it; empty where several are to be chosen and none is."""
        device = self._chosen("device", "auto")
        if device != _SEVERAL:
            return device
        if self._gpus is None:
            return self._request.device
        return "+".join(str(box.name) for box in self.query(".gpu").results(Checkbox) if box.value)

    @property
    def _idle_minutes(self) -> float | None:
        try:
            found = float(self._text("idle"))
        except ValueError:
            return None
        return found if 0 <= found <= MOST_IDLE_MINUTES else None

    def _text(self, name: str) -> str:
        return self.query_one(f"#{name}", Input).value.strip()

    def _is_shown(self, name: str) -> bool:
        return any(isinstance(field.parent, Widget) and field.parent.display for field in self.query(f"#{name}"))

    def _ticked(self, name: str, default: bool) -> bool:
        boxes = list(self.query(f"#{name}").results(Checkbox))
        return boxes[0].value if boxes and (name in _CONSENTS or self._is_shown(name)) else default

    def _chosen(self, name: str, default: Value) -> Value:
        for field in self.query(f"#{name}").results(Select):
            if isinstance(field.value, type(default)):
                return field.value
        return default


def _devices() -> tuple[str, ...]:
    from modeldeck.backend.memory import available_devices

    return available_devices()
