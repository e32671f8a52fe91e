"""Has a process of its own compile a model's layer, once for a model and machine, and knows how that went."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from contextlib import suppress
from enum import Enum
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any

import torch
import transformers
from msgspec import DecodeError, Struct, ValidationError, json

from modeldeck.backend.engine.compiled_layers import are_alike
from modeldeck.backend.engine.compiling import LayerToCompile
from modeldeck.backend.engine.fixed_step import FixedStep
from modeldeck.backend.engine.layer_watch import decoder_of, layers_of
from modeldeck.backend.engine.libraries import COMPILED
from modeldeck.backend.text import clean_name

_COMPILER = "torch._inductor.compile_fx"
_BOOTSTRAP = Path(__file__).resolve().parents[1] / "bootstrap.py"
"""Starts a module in this interpreter, also where that is one of another environment."""
_FORMAT = 1
"""Raised where layers are compiled in another way than before."""
_DTYPES = (torch.bfloat16, torch.float16)
"""In float32 a reply is to be the same, token by token; compiled kernels round otherwise."""
_FREE_BYTES = 3 * 2**30
"""Of the GPU's memory; the process has a CUDA context of its own, one layer, and a cache of one layer."""
_SENT_AWAY = (-signal.SIGKILL, -signal.SIGTERM)
"""How a process ends that did nothing wrong."""
_PASSING = (
    "out of memory", "cannot allocate memory", "memoryerror", "bad_alloc", "alloc_failed",
    "no space left", "quota exceeded", "busy or unavailable",
    "c compiler", "c++ compiler",  # which may be installed by the next time
)  # fmt: skip
_END_SECONDS = 5.0
_LONGEST_SECONDS = 1200
"""It gives way to everything else, and half a minute of work may take long."""


class State(Enum):
    """How far it is."""

    RUNNING = "running"
    READY = "ready"
    """What the compiler made is in its cache."""
    LEFT = "left"
    """It cannot be done, or does not help."""


class Record(Struct, frozen=True):
    """What is kept of it for later loads."""

    left: str = ""
    """Why not; empty where it is ready."""


class LayerCompiler:
    """Of one model, which must outlive it unchanged."""

    def __init__(self, folder: Path, wanted: LayerToCompile, layers: list[torch.nn.Module]) -> None:
        self.layers = layers
        self._folder = folder
        self._wanted = json.encode(wanted)
        self._device = torch.device(wanted.device)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self.why_left = ""
        """Once it is left; empty where there is nothing to say."""

    @classmethod
    def of(cls, model: Any, step: FixedStep, length: int) -> LayerCompiler | None:
        """None where no folder is given, or the layers are not transformers' own, all alike and in 16 bits."""
        folder = os.environ.get(COMPILED)
        layers = layers_of(decoder_of(model))
        plain = getattr(model, "hf_quantizer", None) is None and not hasattr(model, "peft_config")
        own = type(model).__module__.startswith("transformers.models.")
        if not folder or not plain or not own or model.dtype not in _DTYPES or not are_alike(layers):
            return None
        config = model.config
        try:
            described: dict[str, Any] = json.decode(config.to_json_string(use_diff=False))
        except (TypeError, ValueError, DecodeError):  # a number that JSON does not have, or something that is none
            return None
        keys, values = step.layer_shapes
        wanted = LayerToCompile(
            module=type(model).__module__,
            model_class=type(model).__name__,
            config=described,
            attention=config._attn_implementation,
            dtype=_name(model.dtype),
            dtypes={name: _name(parameter.dtype) for name, parameter in layers[0].named_parameters()},
            device=str(model.device),
            length=length,
            keys=keys,
            values=values,
        )
        return cls(Path(folder), wanted, layers)

    def state(self) -> State:
        """How far it is; the first call starts it, where no earlier load has done so.

        Raises OSError where the folder cannot be written.
        """
        if self._process is None:
            record = self._record()
            if record is not None:
                self.why_left = record.left
                return State.LEFT if record.left else State.READY
            if self._device.type == "cuda" and torch.cuda.mem_get_info(self._device)[0] < _FREE_BYTES:
                return State.LEFT
            self._start()
        assert self._process is not None
        ended = self._process.poll()
        if ended is None and monotonic() - self._started < _LONGEST_SECONDS:
            return State.RUNNING
        self.stop()
        if ended == 0:
            self.keep()
            return State.READY
        self.leave(self._why(ended), for_good=ended is not None and ended not in _SENT_AWAY)
        return State.LEFT

    def keep(self, left: str = "") -> None:
        """Later loads go by this: what was compiled is good, or is ``left`` for this reason."""
        with suppress(OSError):  # then they find out for themselves
            self._file(".json").write_bytes(json.encode(Record(left)))

    def leave(self, why: str, *, for_good: bool) -> None:
        """It is not done, for this reason; ``for_good`` tells later loads so, unless it was for want of room.

        Else the next load begins anew.
        """
        self.why_left = why
        if for_good and not any(sign in why.lower() for sign in _PASSING):
            self.keep(why)
        else:
            with suppress(OSError):
                self._file(".json").unlink(missing_ok=True)

    def stop(self) -> None:
        """End the process, if it runs; it is begun anew by the next ``state``."""
        if self._process is not None:
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):  # a driver that hangs holds it
                self._process.wait(_END_SECONDS)
            self._process = None

    def import_compiler(self) -> bool:
        """Import what compiles, which takes a second; False where that was done before."""
        if _COMPILER in sys.modules:
            return False
        importlib.import_module(_COMPILER)
        return True

    def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-P", str(_BOOTSTRAP), "modeldeck.backend.engine.compiling", str(os.getpid())]
        asked = self._file(".layer")
        asked.write_bytes(self._wanted)
        with asked.open("rb") as wanted, self._file(".log").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=wanted, stdout=log, stderr=log)
        self._started = monotonic()

    def _record(self) -> Record | None:
        try:
            return json.decode(self._file(".json").read_bytes(), type=Record)
        except (OSError, DecodeError, ValidationError):
            return None

    def _why(self, ended: int | None) -> str:
        if ended is None:
            return f"the compiler was not done after {_LONGEST_SECONDS // 60} minutes"
        if ended < 0:
            return f"the compiler was ended by signal {-ended}"
        with suppress(OSError):
            lines = self._file(".log").read_text(errors="replace").split("\n")
            if last := next((line for line in reversed(lines) if line.strip()), ""):
                return clean_name(last, 300)
        return f"the compiler ended with status {ended}"

    def _file(self, ending: str) -> Path:
        return self._folder / f"{self._key}{ending}"

    @cached_property
    def _key(self) -> str:
        gpu = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else ""
        made_by = (_FORMAT, torch.__version__, transformers.__version__, sys.version, gpu)
        return sha256(self._wanted + repr(made_by).encode()).hexdigest()[:32]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
