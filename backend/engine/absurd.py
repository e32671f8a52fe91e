"""A configuration may name sizes that no machine has, which its class would try to build all the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from modeldeck.backend.catalog.config_part import MAX_COUNT, MAX_LAYERS
from modeldeck.backend.errors import UnsupportedModel
from modeldeck.backend.text import clean_name

_LAYERS = re.compile(r"(^|_)(layers?|depth|depths)$")
_SIZES = re.compile(r"(^|_)(size|heads?|experts|dim|embd|inner|ff)$")


def refuse_absurd(raw: Mapping[str, Any]) -> None:
    """Raise UnsupportedModel where config.json, as it was decoded, holds such a size in any of its parts."""
    for name, value in _figures(raw):
        if value > (MAX_LAYERS if _LAYERS.search(name) else MAX_COUNT):
            figure = f"{value:,}" if value < 10**18 else "more than 10**18"
            raise UnsupportedModel(f"config.json says that {clean_name(name)} is {figure}, which no machine can load.")


def _figures(raw: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    parts: list[Mapping[str, Any]] = [raw]
    while parts:
        for name, value in parts.pop().items():
            if isinstance(value, dict):
                parts.append(value)
            elif isinstance(value, int) and (_LAYERS.search(name) or _SIZES.search(name)):
                yield name, value
