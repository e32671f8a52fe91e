"""Reading TOML files that people edit: whatever is in them, the answer is a table or one sentence."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeldeck.config.wording import shown_path

MAX_BYTES = 2 * 1024 * 1024
"""A larger file is not read: parsing it would hold up the start for seconds (1 MB takes 0.2 to 1.3 s)."""

_MOST_PARTS = 32
"""Of a dotted key. The parser keeps every beginning of one: 30,000 parts in 60 kB take 6 s and 4 GB."""
_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_\\-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{_MOST_PARTS}}}")
_PLACE = r"(?s)^(?P<what>.*) \(at (?P<place>line \d+, column \d+|end of document)\)$"


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing wrong with one file; every other value in it still counts."""

    path: Path
    key: str
    """Where in the file (``temperature``, ``models.org/name.top_k``); empty for the file as a whole."""
    message: str
    """What is wrong and what is allowed."""

    def __str__(self) -> str:
        return ": ".join(part for part in (shown_path(self.path), self.key, self.message) if part)


class Unreadable(Exception):
    """The file exists and nothing in it can be used; the message says why in one sentence."""


class Damaged(Unreadable):
    """What the file holds is no TOML; it could be read, so it may be kept aside and replaced."""


def read_toml(path: Path) -> dict[str, Any] | None:
    """Read a TOML file; None when there is none. Raises ``Unreadable`` or ``Damaged``."""
    try:
        data = _read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise Damaged(f"is larger than {MAX_BYTES // 1024**2} MiB, so nothing in it is used")
    import tomllib  # a start without a file does not need it

    try:
        text = data.decode("utf-8-sig")  # a byte order mark is what Windows editors write
        if _LONG_KEY.search(text):
            raise Damaged(f"has a key of more than {_MOST_PARTS} parts, so nothing in it is used")
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Damaged(f"is not UTF-8 text (line {line}), so nothing in it is used") from None
    except RecursionError:
        raise Damaged("is nested too deeply, so nothing in it is used") from None
    except ValueError as error:  # TOMLDecodeError, and the bare error of an int of more than 4300 digits
        raise Damaged(f"is not valid TOML: {_reason(error)}; nothing in it is used") from None


def _read(path: Path) -> bytes:
    """Read a regular file up to just past the limit; a pipe or device is refused, not waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(None, "it is not a file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)


def _reason(error: ValueError) -> str:
    """The parser's words with the place in front."""
    if found := re.match(_PLACE, str(error)):
        return f"{found['place']}, {found['what'][:1].lower()}{found['what'][1:]}"
    return "a number has too many digits"
