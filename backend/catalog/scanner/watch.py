"""Whether anything changed that the rows hang on: a stat for each, which works on network file systems, too."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

from modeldeck.backend.catalog.index import Signature

YOUNG_NANOSECONDS = 2 * 10**9
"""A file changed so recently may change again without a new mtime, since file systems keep it that coarsely."""


def look(path: str) -> os.stat_result | None:
    """Links followed; None where there is nothing to be had."""
    try:
        return os.stat(path)  # noqa: PTH116  # strings throughout the scan, and thousands of them a round
    except (OSError, ValueError):
        return None


def signature(status: os.stat_result | None) -> Signature:
    """What a change of the file or folder would change; reading it changes nothing here."""
    return None if status is None else (status.st_mtime_ns, status.st_size, status.st_ino)


def is_young(status: os.stat_result) -> bool:
    """Whether a change may still hide behind this mtime; one from the future, by another clock, tells nothing."""
    return 0 <= time.time_ns() - status.st_mtime_ns < YOUNG_NANOSECONDS


class Watch:
    """The files and folders of one scan, as they were just before they were read."""

    def __init__(self, known: Mapping[str, Signature] | None = None) -> None:
        self.known: dict[str, Signature] = dict(known or {})
        """Every path with what it looked like."""
        self.young = False
        """Whether one had changed so recently that nobody can tell whether it changed again."""

    def __len__(self) -> int:
        return len(self.known)

    def remember(self, path: str) -> None:
        """Ask now what it looks like; the first answer counts, since a later one may hide a change in between."""
        if path not in self.known:
            self.take(path, look(path))

    def take(self, path: str, status: os.stat_result | None) -> None:
        """The same, where the caller has asked already."""
        self.known[path] = signature(status)
        self.young = self.young or (status is not None and is_young(status))

    def changed(self, visit: Callable[[str], None]) -> bool:
        """Whether a scan would find anything else; True once more after a change that was very fresh.

        ``visit`` is told every path before it is asked for.
        """
        if self.young:
            return True
        for path, seen in self.known.items():
            visit(path)
            if signature(look(path)) != seen:
                return True
        return False
