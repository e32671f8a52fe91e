r"""Strings as single lines: how a form shows one stop string a line, and reads it back.

A newline in a stop string is written ``\n``, as in TOML; ``\t``, ``\r``, ``\\`` and ``\u0020`` likewise.
"""

from __future__ import annotations

import re

_ESCAPE = r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[ntr\\])"
_ESCAPED = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_MEANT = {escape[1]: char for char, escape in _ESCAPED.items()}
_LAST_CODE = 0x10FFFF


def escaped(text: str) -> str:
    """Write a string as one line with nothing invisible in it."""
    line = "".join(_ESCAPED.get(char) or (char if char.isprintable() else _code(char)) for char in text)
    return line if line.strip() else "".join(map(_code, line))


def unescaped(line: str) -> str:
    """Read such a line; a backslash that starts no escape is itself."""
    return re.sub(_ESCAPE, _meant, line)


def _meant(found: re.Match[str]) -> str:
    """The character that an escape stands for; a code past the last of Unicode stays as typed."""
    escape = found[1]
    if escape in _MEANT:
        return _MEANT[escape]
    code = int(escape[1:], 16)
    return chr(code) if code <= _LAST_CODE else found[0]


def _code(char: str) -> str:
    """A character as its code, as TOML writes it."""
    return f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}"
