"""From what a person types to one model of the list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches

from modeldeck.backend.models import ModelInfo, ModelSource
from modeldeck.backend.text import clean_name

_SHOWN = 3


class ModelNotFound(LookupError):
    """No model, or more than one, is meant; the message is one sentence for the user."""


class ModelAmbiguous(ModelNotFound):
    """More than one model is meant."""


def is_typed_path(text: str) -> bool:
    """Whether this can only be a path."""
    return text.startswith(("/", "~", "./", "../")) or text in (".", "..")


def choose(rows: Sequence[ModelInfo], text: str) -> ModelInfo:
    """The one model that is meant. Raises ModelNotFound.

    An id wins over a name, a whole name over the last part of one, and that over a part anywhere. Of several
    revisions of one repository the first in the list is meant, which is that of ``main``.
    """
    wanted = text.strip().casefold()
    if not wanted:
        raise ModelNotFound("No model was named.")
    tests: tuple[Callable[[ModelInfo], bool], ...] = (
        lambda row: row.id == text,
        lambda row: row.name.casefold() == wanted,
        lambda row: _last_part(row).casefold() == wanted,
        lambda row: "@" in wanted and row.id.casefold().startswith(wanted),
        lambda row: wanted in row.name.casefold(),
    )
    for test in tests:
        found: dict[str, ModelInfo] = {}
        for row in rows:
            if test(row):
                found.setdefault(_without_revision(row), row)
        if len(found) == 1:
            return next(iter(found.values()))
        if found:
            raise ModelAmbiguous(_ambiguous(text, list(found.values())))
    raise ModelNotFound(_unknown(text, rows))


def _without_revision(row: ModelInfo) -> str:
    return row.name if row.source is ModelSource.HUB_CACHE else row.id


def _last_part(row: ModelInfo) -> str:
    return row.name.rsplit("/", 1)[-1]


def _ambiguous(text: str, rows: Sequence[ModelInfo]) -> str:
    same_name = len({row.name for row in rows}) < len(rows)
    names = ", ".join(clean_name(row.id) if same_name else row.name for row in rows[:_SHOWN])
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return f"“{clean_name(text)}” fits {len(rows)} models: {names}{more}; say which, by its whole name or its id."


def _unknown(text: str, rows: Sequence[ModelInfo]) -> str:
    known = {name.casefold(): row for row in reversed(rows) for name in (row.id, row.name, _last_part(row))}
    close = get_close_matches(text.casefold(), known, n=_SHOWN, cutoff=0.6)
    names = list(dict.fromkeys(known[name].name for name in close))
    hint = f"did you mean {' or '.join(names)}?" if names else "modeldeck ls shows what is here."
    return f"There is no model “{clean_name(text)}”; {hint}"
