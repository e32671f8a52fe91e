"""What an unload gave back, in words."""

from __future__ import annotations

from collections.abc import Sequence

from modeldeck.backend.text import clean_name
from modeldeck.backend.unloading import Freed
from modeldeck.tui.format import size, size_of

_NAMED = 3


def freed_words(freed: Sequence[Freed]) -> str:
    """``freed 14.2 GB of cuda:0``; where a rest is missing, ``freed 2.0 of 14.2 GB of cuda:0``; empty for nothing."""
    return ", ".join(_words(one) for one in freed)


def missing_sentence(freed: Sequence[Freed]) -> str:
    """What did not come back, and who holds memory there now; empty where all is well."""
    return " ".join(_missing(one) for one in freed if not one.complete)


def _words(freed: Freed) -> str:
    device = "RAM" if freed.device == "ram" else clean_name(freed.device)
    amount = size(freed.held_bytes) if freed.complete else size_of(freed.freed_bytes, freed.held_bytes)
    return f"freed {amount} of {device}"


def _missing(freed: Freed) -> str:
    holders = [
        f"{clean_name(one.name, 40)} (pid {one.pid}, {clean_name(one.user, 20)})"
        + ("" if one.used_bytes is None else f" {size(one.used_bytes)}")
        for one in freed.holders[:_NAMED]
    ]
    who = f" On it now: {', '.join(holders)}." if holders else " No process is named that holds it."
    return f"Only {size_of(freed.freed_bytes, freed.held_bytes)} of {clean_name(freed.device)} came back.{who}"
