"""The options of a load as fields: only those that apply to the model, the machine and what else was chosen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import ClassVar, TypeVar

from msgspec import structs
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.css.query import NoMatches
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Checkbox, Input, Select, Static

from modeldeck.backend.estimate.eager import is_eager
from modeldeck.backend.estimate.figures import DEFAULT_CONTEXT
from modeldeck.backend.models import Attention, DeviceMap, LoadRequest, ModelFormat, ModelInfo, Quantization
from modeldeck.backend.quantizers import GPU_ONLY, LABELS, QUANTIZERS
from modeldeck.backend.text import clean_name
from modeldeck.config.settings import MOST_IDLE_MINUTES
from modeldeck.tui.code_consent import SeenCode
from modeldeck.tui.format import minutes
from modeldeck.tui.marks import short_dtype
from modeldeck.tui.memory_limits import WRONG, limits_text, parse_limits
from modeldeck.tui.widgets.tick import Tick

_DTYPES = ("auto", "float32", "float16", "bfloat16")
_ATTENTIONS = {Attention.AUTO: "auto (sdpa)", Attention.EAGER: "eager (not fused)"}
_DEVICE_MAPS = {
    DeviceMap.AUTO: "auto (spread evenly)",
    DeviceMap.SINGLE: "single (all on the first)",
    DeviceMap.SEQUENTIAL: "sequential (one after the other)",
}
_SEVERAL = "several"
_MOST_TOKENS = 10_000_000
Value = TypeVar("Value")


class Choice(Select[Value], inherit_bindings=False):
    """A list that opens on enter or space; up and down are left to move between the fields."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "show_overlay", "Choose", id="load.choose", tooltip="Show what can be chosen"),
    ]


class LoadFields(VerticalScroll, can_focus=False):
    """Begins with ``request``; ``adapters`` belong to the model. ``Changed`` tells that something was chosen."""

    class Changed(Message):
        """A field says something else, or more can be chosen."""

    def __init__(
        self, model: ModelInfo, request: LoadRequest, *, adapters: Sequence[ModelInfo] = (), own_code: bool = False
    ) -> None:
        super().__init__(id="fields")
        self._model = model
        self._request = request
        self._adapters = {adapter.path: adapter for adapter in adapters}
        self._own_code = own_code
        self._gpus: tuple[str, ...] | None = None
        """Those of this machine; None until that is known."""

    def compose(self) -> ComposeResult:
        """The common ones first."""
        model, request = self._model, self._request
        device = _SEVERAL if "+" in request.device else request.device
        yield field_row("Device", choice("device", [(name, name) for name in dict.fromkeys(["auto", device])], device))
        yield Horizontal(Static(classes="field-label"), id="gpus", classes="field")
        maps = [(label, kind) for kind, label in _DEVICE_MAPS.items()]
        yield field_row("Device map", choice("device-map", maps, request.device_map))
        yield field_row(
            "GB at most", _input("memory-limits", limits_text(request.memory_limits), "text", 60, "cuda:0=20 cpu=64")
        )
        yield field_row("CPU offload", Tick("What finds no room may lie in RAM", request.cpu_offload, id="cpu-offload"))
        stored = f"auto ({short_dtype(model.dtype)})" if model.dtype and not model.quantization else "auto"
        yield field_row("Dtype", choice("dtype", _dtypes(stored), request.dtype))
        yield field_row("Quantization", *self._quantization())
        yield Static(markup=False, classes="dialog-muted", id="stored-note")
        yield field_row("Scales", Tick("Quantized too", request.double_quantization, id="double-quantization"))
        yield field_row("Computed in", choice("compute-dtype", _dtypes("the model's dtype"), request.compute_dtype))
        if not is_eager(model.architecture):  # those have no other
            attentions = [(_ATTENTIONS.get(kind, kind.value), kind) for kind in _attentions(request.attention)]
            yield field_row("Attention", choice("attention", attentions, request.attention))
        limit = request.context_limit
        tokens = limit or min(DEFAULT_CONTEXT, model.context_length or DEFAULT_CONTEXT)
        unit = Static("tokens", classes="field-unit")
        yield field_row(
            "Context",
            _input("context", str(tokens), "integer", 8),
            unit,
            Tick("at most", limit is not None, id="context-limit"),
        )
        if self._adapters:
            chosen = request.adapter if request.adapter in self._adapters else ""
            adapters = [("none", ""), *((clean_name(one.name), path) for path, one in self._adapters.items())]
            yield field_row("Adapter", choice("adapter", adapters, chosen))
        unit = Static("minutes without a reply; 0 is never", classes="field-unit")
        yield field_row("Unload after", _input("idle", minutes(request.idle_minutes), "number", 8), unit)
        if self._own_code:
            label = "Run the code that comes with this model (it can do anything that you can)"
            yield Tick(label, False, id="remote-code")  # until it was looked at
            yield Static(markup=False, classes="dialog-muted", id="code-files")

    def on_mount(self) -> None:
        """The devices are asked for in a thread: a driver may take its time."""
        self.query_one("#stored-note").display = False
        for tick in self.query("#remote-code"):
            tick.disabled = True
        self._show_what_applies()
        self._fill_devices()

    @property
    def problem(self) -> str:
        """What is wrong with the first field that says nothing sensible; empty where all is well."""
        if self.context_tokens is None:
            return "Context must be 1 or more tokens."
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
                    offer.set_options(shown(_quantizations(kind, on_gpu=True)))
                    offer.value = kind
            self._show_what_applies()
            self.post_message(self.Changed())

    def _quantization(self) -> tuple[Widget, ...]:
        model, asked = self._model, self._request.quantization
        offer = choice("quantization", _quantizations(asked, on_gpu=False), asked)
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
        return boxes[0].value if boxes and (name == "remote-code" or self._is_shown(name)) else default

    def _chosen(self, name: str, default: Value) -> Value:
        for field in self.query(f"#{name}").results(Select):
            if isinstance(field.value, type(default)):
                return field.value
        return default


def field_row(label: str, *values: Widget) -> Horizontal:
    """One line with what stands beside it."""
    return Horizontal(Static(label, classes="field-label"), *values, classes="field")


def choice(name: str, options: Iterable[tuple[str, Value]], value: Value) -> Choice[Value]:
    """A list of which one is chosen."""
    return Choice(shown(options), value=value, allow_blank=False, compact=True, id=name, classes="field-value")


def shown(options: Iterable[tuple[str, Value]]) -> list[tuple[Content, Value]]:
    """Options whose names are text and nothing else: a name may look like markup."""
    return [(Content(label), value) for label, value in options]


def _input(name: str, value: str, kind: str, most: int, such_as: str = "") -> Input:
    return Input(value, placeholder=such_as, type=kind, max_length=most, compact=True, id=name, select_on_focus=True)  # type: ignore[arg-type]  # literals above


def _dtypes(auto: str) -> list[tuple[str, str]]:
    return [(auto if name == "auto" else name, name) for name in _DTYPES]


def _attentions(chosen: Attention) -> tuple[Attention, ...]:
    """What can be chosen; flash-attn only where its package is."""
    flash = chosen is Attention.FLASH_2 or find_spec("flash_attn") is not None
    return tuple(kind for kind in Attention if flash or kind is not Attention.FLASH_2)


def _quantizations(asked: Quantization, *, on_gpu: bool) -> list[tuple[str, Quantization]]:
    """What can be chosen: bitsandbytes comes with the program, others where their package is and their device."""
    usual = {Quantization.NONE, Quantization.INT8, Quantization.NF4, Quantization.FP4, asked}
    found = [
        kind
        for kind in Quantization
        if kind in usual or (QUANTIZERS[kind].installed and (on_gpu or kind not in GPU_ONLY))
    ]
    return [(LABELS[kind], kind) for kind in found]


def _devices() -> tuple[str, ...]:
    from modeldeck.backend.memory import available_devices

    return available_devices()
