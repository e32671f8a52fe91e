"""JSON that somebody else wrote, read as transformers would read it."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from modeldeck.backend.catalog.files import ModelFolder, Unreadable


def read_json_object(folder: ModelFolder, name: str, limit: int) -> dict[str, Any]:
    """A JSON object of at most ``limit`` bytes. Raises Unreadable."""
    text = folder.read(name, limit)
    try:
        value = _decode(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{name} is not valid JSON") from error
    if not isinstance(value, dict):
        raise Unreadable(f"{name} does not hold a JSON object")
    return value


def _decode(text: bytes) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:  # Python's own parser also takes NaN and Infinity, which real configs hold
        return json.loads(text)
