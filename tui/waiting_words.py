"""What a load waits for, in words."""

from __future__ import annotations

from modeldeck.backend.text import clean_name
from modeldeck.backend.waiting import Shortage
from modeldeck.tui.format import gigabytes

_NAMED = 2


def waiting_words(short: Shortage) -> str:
    """``waiting for 12.0 GB on cuda:0, 3.1 GB free; held by pid 4312 (ann) 60.0 GB``."""
    place = "in RAM" if short.device == "ram" else f"on {clean_name(short.device)}"
    said = f"waiting for {gigabytes(short.needed_bytes)} GB {place}, {gigabytes(short.free_bytes)} GB free"
    held = [
        f"pid {one.pid} ({clean_name(one.user, 20)})"
        + ("" if one.used_bytes is None else f" {gigabytes(one.used_bytes)} GB")
        for one in short.holders[:_NAMED]
    ]
    more = f" and {len(short.holders) - _NAMED} more" if len(short.holders) > _NAMED else ""
    return f"{said}; held by {', '.join(held)}{more}" if held else said
