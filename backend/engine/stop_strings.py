"""Ending a reply where a stop string appears, in text that comes in pieces."""

from __future__ import annotations

from collections.abc import Sequence


class StopFilter:
    """Lets text through until one of the stop strings appears; the stop string itself is never let through."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.found = False
        """Whether a stop string has appeared; nothing is let through afterwards."""

    def feed(self, text: str) -> str:
        """Take the next piece; return what is certain not to belong to a stop string."""
        if self.found or not self._stops:
            return "" if self.found else text
        self._held += text
        at = min((i for stop in self._stops if (i := self._held.find(stop)) >= 0), default=-1)
        if at >= 0:
            self.found = True
            text, self._held = self._held[:at], ""
            return text
        keep = max(overlap(self._held, stop) for stop in self._stops)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text

    def rest(self) -> str:
        """What was still held back when the reply ended otherwise."""
        text, self._held = self._held, ""
        return text


def overlap(text: str, stop: str) -> int:
    """How many characters at the end of ``text`` may be the beginning of ``stop``."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
