"""The marks of the states and the short words of narrow columns."""

from __future__ import annotations

from modeldeck.backend.estimate.figures import Verdict
from modeldeck.backend.models import ModelInfo, ModelStatus

_DTYPES = {"bfloat16": "bf16", "float16": "f16", "float32": "f32", "float64": "f64", "float8_e4m3fn": "fp8"}
_MARKS = {
    ModelStatus.NOT_LOADED: ("○", "o"),
    ModelStatus.LOADING: ("◐", "~"),
    ModelStatus.LOADED: ("●", "*"),
    ModelStatus.PARKING: ("◐", "~"),
    ModelStatus.PARKED: ("z", "z"),
    ModelStatus.WAKING: ("◐", "~"),
    ModelStatus.UNLOADING: ("◐", "~"),
    ModelStatus.FAILED: ("✗", "x"),
}
_FITS = {
    Verdict.FITS: ("✓", "v"),
    Verdict.TIGHT: ("~", "~"),
    Verdict.OFFLOADS: ("~", "~"),
    Verdict.DOES_NOT_FIT: ("✗", "x"),
    Verdict.UNKNOWN: ("?", "?"),
}
FAVOURITE = ("★", "+")
"""Marks a favourite; the second where only ASCII is drawn."""
RESIDENT = ("○", "o")
"""Marks a model that is held beside the one that is talked to; the second where only ASCII is drawn."""
BROKEN = "!"
"""Marks a row that cannot be loaded; the details say why."""


def status_mark(status: ModelStatus, ascii_only: bool) -> str:
    """One character for a state; a word always stands beside it, or its row in the list."""
    return _MARKS[status][1 if ascii_only else 0]


def fit_mark(verdict: Verdict | None, ascii_only: bool) -> str:
    """One character for whether a model fits; empty until that is known. The details say it in words."""
    return _FITS[verdict][1 if ascii_only else 0] if verdict is not None else ""


def short_dtype(dtype: str) -> str:
    """A dtype as it is written in a narrow column: ``bf16``."""
    return _DTYPES.get(dtype, dtype)


def model_type(model: ModelInfo) -> str:
    """How the weights are stored: the quantization, or else the dtype; ``?`` when unknown."""
    return model.quantization or (short_dtype(model.dtype) if model.dtype else "?")
