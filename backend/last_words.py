"""What a child said on stderr: passed on line by line, and its end kept for the error."""

from __future__ import annotations

import asyncio
import codecs
from collections import deque
from collections.abc import Callable

from modeldeck.backend.protocol import IMPORTED
from modeldeck.backend.text import clean_text

LINES = 200
BYTES = 8192
LONGEST_LINE = 4000
"""Characters of one line that are kept; the rest becomes the next line."""

_CHUNK = 65536
_LINES_A_TURN = 64
"""After so many lines the event loop gets its turn, however much is still buffered."""


class LastWords:
    """Reads a child's stderr to its end, so that the child never blocks on it.

    ``on_log`` gets every line, cleaned and without its end; a carriage return ends a line, too (progress bars).
    """

    def __init__(self, on_log: Callable[[str], None]) -> None:
        self._on_log = on_log
        self._lines: deque[str] = deque(maxlen=LINES)

    def text(self) -> str:
        """The last lines, at most 8 KB."""
        kept = "\n".join(self._lines).encode("utf-8", "replace")[-BYTES:]
        return kept.decode("utf-8", "ignore")

    def last_line(self) -> str:
        """The last line that says anything, or nothing; of a traceback that is the exception."""
        return self._lines[-1].strip() if self._lines else ""

    async def drain(self, stderr: asyncio.StreamReader) -> None:
        """Read until the pipe ends."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        while chunk := await stderr.read(_CHUNK):
            *lines, rest = (rest + decoder.decode(chunk)).replace("\r", "\n").split("\n")
            if len(rest) >= LONGEST_LINE:
                lines, rest = [*lines, rest], ""
            for count, line in enumerate(lines, 1):
                self._keep(line)
                if count % _LINES_A_TURN == 0:
                    await asyncio.sleep(0)
        self._keep(rest)

    def _keep(self, line: str) -> None:
        for start in range(0, len(line), LONGEST_LINE):
            part = clean_text(line[start : start + LONGEST_LINE]).rstrip()
            if part == IMPORTED:
                self._lines.clear()
            elif part:
                self._lines.append(part)
                self._on_log(part)
