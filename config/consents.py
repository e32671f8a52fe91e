"""Which models may run code of their own: asked once for that very code, and kept between runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Annotated

import msgspec
from msgspec import Meta

from modeldeck.config.atomic import write_atomically
from modeldeck.config.shared_file import locked, name_aside

MOST = 1000
"""Models that are remembered; for those that were allowed longest ago it is asked again."""
_MAX_BYTES = 8 * 2**20
"""Enough for as many of the longest paths."""
_Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_decoder = msgspec.json.Decoder(dict[str, _Digest])


class Consents:
    """The digest of the code that was allowed, by the id of the model.

    A file that cannot be read counts as none, and is kept aside before another takes its place. It is read at each
    question, so that what is withdrawn in one instance holds in all of them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._unwritten: dict[str, str | None] = {}
        """What could not be written down; None for a consent that was withdrawn."""

    def allows(self, model_id: str, digest: str) -> bool:
        """Whether this very code may run; never for an empty digest, which is that of code nobody has seen."""
        return bool(digest) and self.allowed(model_id) == digest

    def allowed(self, model_id: str) -> str:
        """The digest of what was allowed; empty for a model of which nothing was."""
        return _with(self._read()[0], self._unwritten).get(model_id, "")

    def put(self, model_id: str, digest: str) -> None:
        """Remember that this code of the model may run, and none that it had before. Blocking.

        Raises ValueError for what is no digest; OSError, or UnicodeEncodeError for an id that is no text, when it
        cannot be written down: it then holds until the program ends.
        """
        self._change(model_id, msgspec.convert(digest, _Digest))

    def withdraw(self, model_id: str) -> None:
        """Forget that code of this model may run. Blocking; raises as ``put`` does, and holds even so."""
        self._change(model_id, None)

    def _change(self, model_id: str, digest: str | None) -> None:
        with self._lock:
            self._unwritten = {**self._unwritten, model_id: digest}
            with locked(self._path):
                before, damaged = self._read()  # with what another instance has written meanwhile
                after = _with(before, {model_id: digest})  # an id that is no text must not keep others from the file
                if list(after.items()) != list(before.items()):
                    text = msgspec.json.format(msgspec.json.encode(after)).decode() + "\n"
                    path = Path(os.path.realpath(self._path))
                    write_atomically(path, text, keep_old_as=name_aside(path) if damaged else None)
            self._unwritten = {each: its for each, its in self._unwritten.items() if each != model_id}

    def _read(self) -> tuple[dict[str, str], bool]:
        """What the file holds, and whether it is there and holds no consents."""
        try:
            with self._path.open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
            return (_decoder.decode(data), False) if len(data) <= _MAX_BYTES else ({}, True)
        except (FileNotFoundError, NotADirectoryError):
            return {}, False
        except (OSError, ValueError, RecursionError):
            return {}, True


def _with(known: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """All of them after these changes, the newest last."""
    after = dict(known)
    for model_id, digest in changes.items():
        after.pop(model_id, None)
        if digest is not None:
            after[model_id] = digest
    return dict(list(after.items())[-MOST:])
