"""What the list of models keeps between runs: favourites, what was loaded last, the order. No harm if it is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock

import msgspec
from msgspec import Struct, structs

from modeldeck.config.atomic import write_atomically

MOST_RECENTS = 50
"""Loads that are remembered; the oldest go first."""
MOST_FAVOURITES = 1000
_MAX_BYTES = 2**20


class ListMemory(Struct, frozen=True, kw_only=True):
    """The ids are those of ``ModelInfo``; an id whose model is gone stays, since it may come back."""

    favourites: tuple[str, ...] = ()
    recents: tuple[str, ...] = ()
    """The last loaded first."""
    sort: str = ""
    """The column that the list is sorted by; empty is the default order."""
    reverse: bool = False


class RememberedList:
    """One small file. One that cannot be read counts as none; keys of a newer version are left out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._memory: ListMemory | None = None

    @property
    def memory(self) -> ListMemory:
        """What is remembered. Reads the small file when it is asked first."""
        if self._memory is None:
            self._memory = self._read()
        return self._memory

    def set_favourite(self, model_id: str, favourite: bool) -> None:
        """Remember that a model is one, or is none. Blocking; raises as ``_change`` does."""

        def edited(before: ListMemory) -> ListMemory:
            others = tuple(known for known in before.favourites if known != model_id)
            newest = (*others, model_id)[-MOST_FAVOURITES:] if favourite else others
            return structs.replace(before, favourites=newest)

        self._change(edited)

    def add_recent(self, model_id: str) -> None:
        """Remember that a model was loaded just now. Blocking; raises as ``_change`` does."""

        def edited(before: ListMemory) -> ListMemory:
            others = (known for known in before.recents if known != model_id)
            return structs.replace(before, recents=(model_id, *others)[:MOST_RECENTS])

        self._change(edited)

    def set_order(self, sort: str, *, reverse: bool) -> None:
        """Remember the order. Blocking; raises as ``_change`` does."""
        self._change(lambda before: structs.replace(before, sort=sort, reverse=reverse))

    def _change(self, edited: Callable[[ListMemory], ListMemory]) -> None:
        """Raises OSError, or UnicodeEncodeError for an id that is no text, when it cannot be written down.

        It is then remembered until the program ends.
        """
        with self._lock:
            before = self._read()  # with what another instance has written meanwhile
            self._memory = after = edited(before)
            if after != before:
                write_atomically(self._path, msgspec.json.format(msgspec.json.encode(after)).decode() + "\n")

    def _read(self) -> ListMemory:
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(_MAX_BYTES), type=ListMemory)
        except (OSError, ValueError, RecursionError):
            return ListMemory()
