"""An end to what a model's own template computes and writes, which may be anything and take for ever."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

from modeldeck.backend.engine.alarms import alarm
from modeldeck.backend.errors import GenerationError

TEMPLATE_SECONDS = 30.0
"""For one conversation with all that is read of it: templates take milliseconds, a million tokens some seconds."""
MOST_CHARACTERS = 2**20
"""That a template may write around what was said; the longest ones in use write some thousands."""
_RENDERERS = ("transformers.tokenization_utils_base", "transformers.processing_utils")
_said: ContextVar[int | None] = ContextVar("said", default=None)


@contextmanager
def template_limits(said: int) -> Iterator[None]:
    """Raise GenerationError out of a template that takes too long, or writes far more than the ``said`` characters.

    The length is looked at between the template and the tokenizer, which would not let go of it before its end.
    """
    for name in _RENDERERS:
        _watch(name)
    token = _said.set(said)
    try:
        with template_deadline():
            yield
    finally:
        _said.reset(token)


@contextmanager
def template_deadline() -> Iterator[None]:
    """Raise GenerationError out of what takes longer, where this is the main thread, as it is in an engine."""

    def late() -> None:
        raise GenerationError(
            f"The model's chat template took longer than {TEMPLATE_SECONDS:g} seconds, and was given up."
        )

    with alarm(TEMPLATE_SECONDS, late):
        yield


def _watch(module: str) -> None:
    """Have transformers ask whether the text is too long as soon as it has it; it offers no such place itself."""
    found: Any = sys.modules.get(module)
    render = getattr(found, "render_jinja_template", None)
    if render is None or hasattr(render, "__wrapped__"):
        return

    @wraps(render)
    def watched(*arguments: Any, **options: Any) -> Any:
        made = render(*arguments, **options)
        _refuse_endless(sum(map(len, made[0])))
        return made

    found.render_jinja_template = watched


def _refuse_endless(written: int) -> None:
    said = _said.get()
    if said is not None and written > 2 * said + MOST_CHARACTERS:  # a template may well repeat what was said
        raise GenerationError(f"The model's chat template makes {written:,} characters of {said:,}, and was given up.")
