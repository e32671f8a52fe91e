"""Which models may run code of their own: asked once for that very code, and kept between runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Annotated

import msgspec
from msgspec import Meta

from modeldeck.config.atomic import write_atomically
from modeldeck.config.shared_file import locked

MOST = 1000
"""Models that are remembered; for those that were allowed longest ago it is asked again."""
_MAX_BYTES = 8 * 2**20
"""Enough for as many of the longest paths."""
_Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_decoder = msgspec.json.Decoder(dict[str, _Digest])


class Consents:
    """The digest of the code that was allowed, by the id of the model. A file that cannot be read counts as none.

    The file is read at each question, so that what is withdrawn in one instance holds in all of them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._unwritten: dict[str, str | None] = {}
        """What could not be written down; None for a consent that was withdrawn."""

    def allows(self, model_id: str, digest: str) -> bool:
        """Whether this very code may run; never for an empty digest, which is that of code nobody has seen."""
        return bool(digest) and _with(self._read(), self._unwritten).get(model_id) == digest

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
                before = self._read()  # with what another instance has written meanwhile
                after = _with(before, {model_id: digest})  # an id that is no text must not keep others from the file
                if list(after.items()) != list(before.items()):
                    write_atomically(self._path, msgspec.json.format(msgspec.json.encode(after)).decode() + "\n")
            self._unwritten = {each: its for each, its in self._unwritten.items() if each != model_id}

    def _read(self) -> dict[str, str]:
        try:
            with self._path.open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
            return _decoder.decode(data) if len(data) <= _MAX_BYTES else {}
        except (OSError, ValueError, RecursionError):
            return {}


def _with(known: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """All of them after these changes, the newest last."""
    after = dict(known)
    for model_id, digest in changes.items():
        after.pop(model_id, None)
        if digest is not None:
            after[model_id] = digest
    return dict(list(after.items())[-MOST:])
