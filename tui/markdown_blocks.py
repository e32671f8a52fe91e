"""Cuts a growing Markdown text into blocks, so that a finished block is parsed once and never again."""

from __future__ import annotations

import re
from enum import Enum, auto

MAX_LIST_LINES = 40
"""A longer list goes on as a new one at its next item: a block that never closes would never become Markdown."""
MAX_PROSE_LINES = 200
"""The same for a paragraph or a table without any blank line."""

_FENCE = re.compile(r"^( {0,3})(`{3,}(?=[^`]*$)|~{3,})")
_NESTED_FENCE = re.compile(r"^\s+(`{3,}(?=[^`]*$)|~{3,})")
_HEADING = re.compile(r"^ {0,3}#{1,6}(\s|$)")
_ITEM = re.compile(r"^( {0,3})([-*+]|\d{1,9}[.)])\s+\S")


class _Kind(Enum):
    NONE = auto()
    PROSE = auto()
    LIST = auto()
    FENCE = auto()


class BlockSplitter:
    """Takes text as it comes and gives back the blocks that are closed; the open one can be read at any time.

    Follows CommonMark as far as a person would notice; joined again, the blocks say the same as the whole text.
    """

    def __init__(self) -> None:
        self._kind = _Kind.NONE
        self._lines: list[str] = []
        self._partial = ""
        self._fence = ""
        self._nested_fence = ""
        self._gap = False
        self._closed: list[str] = []
        self.opened = 0
        """Counts the open blocks there have been: when it moves, ``open_text`` has begun anew."""

    @property
    def in_code(self) -> bool:
        """Whether the open block is a code fence."""
        return self._kind is _Kind.FENCE

    @property
    def open_text(self) -> str:
        """The block that is not closed yet; of a fence only the code in it."""
        lines = self._lines[1:] if self.in_code else self._lines
        return "\n".join((*lines, self._partial))

    def feed(self, text: str) -> list[str]:
        """Add text; returns the sources of the blocks that it closed."""
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            self._add(line)
        return self._take()

    def finish(self) -> list[str]:
        """No more text comes; returns what was still open."""
        if self._partial:
            line, self._partial = self._partial, ""
            self._add(line)
        self._close()
        return self._take()

    def _take(self) -> list[str]:
        closed, self._closed = self._closed, []
        return closed

    def _add(self, line: str) -> None:
        if self._kind is _Kind.FENCE:
            self._lines.append(line)
            if _closes(line, self._fence):
                self._close()
        elif self._nested_fence:
            self._lines.append(line)
            if _closes(line, self._nested_fence):
                self._nested_fence = ""
        elif not line.strip():
            self._blank()
        else:
            self._text(line)

    def _blank(self) -> None:
        if self._kind is _Kind.LIST:
            self._lines.append("")
            self._gap = True
        else:
            self._close()

    def _text(self, line: str) -> None:
        item = _ITEM.match(line)
        if self._gap and not (item or line.startswith(("  ", "\t"))):
            self._close()
        self._gap = False
        if self._kind is _Kind.LIST and (nested := _NESTED_FENCE.match(line)):
            self._nested_fence = nested[1]
        elif fence := _FENCE.match(line):
            self._open(_Kind.FENCE)
            self._fence = fence[2]
        elif _HEADING.match(line):
            self._open(_Kind.PROSE)
            self._lines.append(line)
            self._close()
            return
        elif self._begins_block(item):
            self._open(_Kind.LIST if item else _Kind.PROSE)
        self._lines.append(line)

    def _begins_block(self, item: re.Match[str] | None) -> bool:
        """Whether a line of text starts a block of its own rather than going on with the open one."""
        match self._kind:
            case _Kind.PROSE:
                interrupts = item is not None and item[2] in {"-", "*", "+", "1.", "1)"}
                return interrupts or len(self._lines) >= MAX_PROSE_LINES
            case _Kind.LIST:
                return item is not None and not item[1] and len(self._lines) >= MAX_LIST_LINES
            case _:
                return True

    def _open(self, kind: _Kind) -> None:
        self._close()
        self._kind = kind
        self.opened += 1

    def _close(self) -> None:
        if self._lines:
            self._closed.append("\n".join(self._lines).rstrip("\n"))
        self._kind = _Kind.NONE
        self._lines = []
        self._nested_fence = ""
        self._gap = False
        self.opened += 1


def _closes(line: str, fence: str) -> bool:
    marks = line.strip()
    return len(marks) >= len(fence) and set(marks) == {fence[0]}


def code_lines(source: str) -> list[str]:
    """What stands in a closed block that is a fence, without the fence itself."""
    opening, *lines = source.split("\n")
    fence = _FENCE.match(opening)
    if lines and fence is not None and _closes(lines[-1], fence[2]):
        lines.pop()
    return lines
