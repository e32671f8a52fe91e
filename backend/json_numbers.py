"""Whole numbers in JSON that somebody else wrote: JSON lets them have any length, and nothing here counts so far."""

from __future__ import annotations

import re

import msgspec

_LONG = re.compile(rb"[0-9]{19}")
"""As many digits as 2**63 has; in texts they may stand too, and only then it takes a second look."""


def has_absurd_number(text: bytes) -> bool:
    """Whether one of its whole numbers takes more than 64 bits: no float holds such a one, and few words do.

    The text is valid JSON, or this raises ``msgspec.DecodeError``.
    """
    if _LONG.search(text) is None:
        return False
    parts = [msgspec.json.decode(text)]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            parts.extend(part.values())
        elif isinstance(part, list):
            parts.extend(part)
        elif isinstance(part, int) and not -(2**63) <= part < 2**63:
            return True
    return False
