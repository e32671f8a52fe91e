"""The model card: README.md beside the weights, with a YAML head of which a few keys are read.

The head is read as lines, not as YAML: scalars and flat lists under the keys below, everything else is passed over.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from msgspec import Struct

from modeldeck.backend.catalog.files import ModelFolder, Unreadable, read_at
from modeldeck.backend.models import ModelFormat, ModelInfo
from modeldeck.backend.text import clean_name, clean_text

CARD = "README.md"
MAX_CARD = 256 * 1024
"""Bytes of a card that are shown."""
HEAD_BYTES = 16 * 1024
"""Bytes of a card that a scan reads."""
MAX_TAGS = 64
_KEYS = frozenset({"license", "license_name", "tags", "base_model", "pipeline_tag", "language"})
_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,40}):(?:[ \t]+(.*))?")
_LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")


class CardHead(Struct, frozen=True, kw_only=True):
    """What the head of a card says; untrusted text, cleaned."""

    licence: str | None = None
    tags: tuple[str, ...] = ()
    base_model: str | None = None
    pipeline_tag: str | None = None


def read_card(model: ModelInfo) -> str | None:
    """The card without its head, cleaned, at most ``MAX_CARD`` bytes of it; None where there is none. Blocking."""
    path = model.path if model.format is not ModelFormat.GGUF else str(Path(model.path).parent)
    roots = () if "/snapshots/" not in path else (path.partition("/snapshots/")[0],)
    try:
        folder = ModelFolder(os.path.realpath(path), tuple(os.path.realpath(root) for root in roots))
        text = _beginning(folder, MAX_CARD)
    except (OSError, ValueError, Unreadable):
        return None
    return clean_text(_split(text)[1]).strip("\n") if text is not None else None


def read_card_head(folder: ModelFolder) -> CardHead:
    """The head of the card, and a licence's file in its place. Never raises for what is there."""
    try:
        text = _beginning(folder, HEAD_BYTES)
    except (OSError, Unreadable):
        text = None
    head = parse_head(_split(text)[0]) if text else CardHead()
    if head.licence is not None:
        return head
    named = next((name for name in _LICENCE_FILES if name in folder), None)
    return CardHead(
        licence=f"see {named}" if named else None,
        tags=head.tags,
        base_model=head.base_model,
        pipeline_tag=head.pipeline_tag,
    )


def parse_head(text: str) -> CardHead:
    """The few keys, out of the lines between the two ``---``."""
    values: dict[str, list[str]] = {}
    key = ""
    for line in text.splitlines():
        stripped = line.strip()
        if line[:1] not in (" ", "\t", "-") and (match := _LINE.match(line)) is not None:
            key = match[1] if match[1] in _KEYS else ""
            if key:
                values[key] = _items(match[2] or "")
        elif key and stripped.startswith("- ") and len(values[key]) < MAX_TAGS:
            values[key].extend(_items(stripped[2:], is_item=True))
    licence = _first(values, "license")
    if licence == "other":
        licence = _first(values, "license_name") or licence
    return CardHead(
        licence=licence,
        tags=tuple(dict.fromkeys(values.get("tags", ())))[:MAX_TAGS],
        base_model=_first(values, "base_model"),
        pipeline_tag=_first(values, "pipeline_tag"),
    )


def _beginning(folder: ModelFolder, limit: int) -> str | None:
    if CARD not in folder:
        return None
    with folder.open(CARD) as (descriptor, _):
        return read_at(descriptor, 0, limit).decode("utf-8", "replace").removeprefix("\ufeff")


def _split(text: str) -> tuple[str, str]:
    """The head, and what comes after it; a head that does not end is all head."""
    first, newline, rest = text.partition("\n")
    if first.strip() != "---" or not newline:
        return "", text
    head: list[str] = []
    for line in rest.splitlines(keepends=True):
        if line.strip() == "---":
            return "".join(head), rest[sum(map(len, head)) + len(line) :]
        head.append(line)
    return rest, ""


def _items(text: str, is_item: bool = False) -> list[str]:
    """One scalar, or the items of ``[a, b]``."""
    text = text.strip()
    if not is_item and text.startswith("[") and text.endswith("]"):
        words = (_scalar(item) for item in text[1:-1].split(",", MAX_TAGS))
        return [word for word in words if word][:MAX_TAGS]
    word = _scalar(text)
    return [word] if word else []


def _scalar(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] in "'\"":
        end = text.find(text[0], 1)
        text = text[1:end] if end > 0 else text[1:]
    else:
        text = text.partition(" #")[0].strip()
    if text in ("", "|", ">", "|-", ">-", "null", "~") or text[0] in "{&*!":
        return ""
    return clean_name(text, 80)


def _first(values: dict[str, list[str]], key: str) -> str | None:
    return next(iter(values.get(key, ())), None)
