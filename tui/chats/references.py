"""``@path`` in a question: a text file that the model shall read, or an image that it shall see."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from modeldeck.backend.text import clean_name, clean_text
from modeldeck.tui.chats.turns import TextFile
from modeldeck.tui.format import size

MOST_BYTES = 2 * 2**20
"""Of a text file; no context has room for more."""
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
_REFERENCE = re.compile(r"(?:(?<=\s)|^)@(?:\"([^\"\n]+)\"|([^\s\"@]+))")
_TRAILING = ".,;:!?)]}'"


class BadReference(Exception):
    """A file that cannot come along, and why: one sentence, safe to draw."""


@dataclass(frozen=True, slots=True)
class References:
    """What a question brings along."""

    files: tuple[TextFile, ...] = ()
    images: tuple[str, ...] = ()


def named_paths(question: str) -> list[str]:
    """What stands behind each ``@``, once each, as typed; a name with spaces stands in quotes."""
    found = ((quoted or bare.rstrip(_TRAILING)) for quoted, bare in _REFERENCE.findall(question))
    return list(dict.fromkeys(path for path in found if path))


def read_references(question: str, *, takes_images: bool, model_name: str) -> References:
    """Look at the files that a question names. Blocking.

    A word behind an ``@`` that names no file and looks like none (``@alice``) is only a word. Raises BadReference.
    """
    files: list[TextFile] = []
    images: list[str] = []
    for name in named_paths(question):
        path = Path(os.path.abspath(os.path.expanduser(name)))  # noqa: PTH100, PTH111  (Path.expanduser raises)
        if not os.path.exists(path) and "/" not in name and "." not in name:  # noqa: PTH110  (Path.exists raises)
            continue
        if path.suffix.lower() in IMAGES:
            if not takes_images:
                raise BadReference(f"{clean_name(model_name, 60)} takes no images, so {_shown(name)} cannot be sent.")
            _look(path, name)
            images.append(str(path))
        else:
            files.append(TextFile(name, _text(path, name)))
    return References(tuple(files), tuple(images))


def _look(path: Path, name: str) -> int:
    """The size of the file in bytes."""
    try:
        status = path.stat()
        readable = os.access(path, os.R_OK)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise BadReference(f"{_shown(name)} cannot be read: {why or error}.") from error
    if not stat.S_ISREG(status.st_mode):
        raise BadReference(f"{_shown(name)} is no file.")
    if not readable:
        raise BadReference(f"{_shown(name)} cannot be read: Permission denied.")
    return status.st_size


def _text(path: Path, name: str) -> str:
    if (length := _look(path, name)) > MOST_BYTES:
        raise BadReference(f"{_shown(name)} is {size(length)}; the most that can be sent is {size(MOST_BYTES)}.")
    try:
        data = path.read_bytes()[: MOST_BYTES + 1]
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise BadReference(f"{_shown(name)} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError:
        raise BadReference(f"{_shown(name)} is no text in UTF-8.") from None
    if "\0" in text:
        raise BadReference(f"{_shown(name)} is no text.")
    return clean_text(text.replace("\r\n", "\n").replace("\r", "\n"))


def _shown(name: str) -> str:
    return clean_name(name, 120)
