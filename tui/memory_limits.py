"""The most memory of each device, as people type it: ``cuda:0=20 cpu=64``, in GB."""

from __future__ import annotations

import re
from collections.abc import Mapping

_GB = 10**9
_LIMIT = re.compile(r"(cuda:[0-9]{1,2}|cpu)\s*=\s*([0-9]{1,6}(?:\.[0-9]{1,3})?)\Z")
WRONG = "GB at most must be like cuda:0=20 cpu=64, or empty."


def parse_limits(text: str) -> dict[str, int] | None:
    """Bytes by device; empty for an empty text, None where it is none of that."""
    limits: dict[str, int] = {}
    for word in re.sub(r"\s*=\s*", "=", text.replace(",", " ")).split():
        found = _LIMIT.match(word)
        if found is None or found[1] in limits:
            return None
        limits[found[1]] = round(float(found[2]) * _GB)
    return limits


def limits_text(limits: Mapping[str, int]) -> str:
    """The same as a text."""
    return " ".join(f"{name}={limit / _GB:.10g}" for name, limit in limits.items())
