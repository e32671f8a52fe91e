"""What the list of models keeps between runs: favourites, what was loaded last, the order. No harm if it is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec
from msgspec import Struct, structs

from modeldeck.config.atomic import write_atomically
from modeldeck.config.shared_file import locked, name_aside
from modeldeck.config.toml_file import ConfigProblem
from modeldeck.config.wording import plain

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
    """One small file, which several instances may write; keys of a newer version stay in it.

    One that cannot be read counts as none, and is kept aside before another takes its place.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._memory: ListMemory | None = None

    @property
    def memory(self) -> ListMemory:
        """What is remembered. Reads the small file when it is asked first."""
        if self._memory is None:
            self._memory, _, _ = self._read()
        return self._memory

    @property
    def problems(self) -> tuple[ConfigProblem, ...]:
        """What is wrong with the file, as it is now."""
        _, _, why = self._read()
        if not why:
            return ()
        aside = f"the next change keeps it aside as {plain(self._path.name)}.corrupt-<time>"
        return (ConfigProblem(self._path, "", f"{why}, so favourites and recent models are not known; {aside}"),)

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
            self._memory = edited(self.memory)
            with locked(self._path):
                before, document, why = self._read()  # with what another instance has written meanwhile
                self._memory = after = edited(before)
                if after != before:
                    text = msgspec.json.format(msgspec.json.encode(document | structs.asdict(after))).decode() + "\n"
                    path = Path(os.path.realpath(self._path))
                    write_atomically(path, text, keep_old_as=name_aside(path) if why else None)

    def _read(self) -> tuple[ListMemory, dict[str, Any], str]:
        """What the file holds, all its keys, and why it cannot be used, or empty; one that is not there is no fault."""
        try:
            with self._path.open("rb") as file:
                document = msgspec.json.decode(file.read(_MAX_BYTES), type=dict[str, Any])
            return msgspec.convert(document, ListMemory), document, ""
        except (FileNotFoundError, NotADirectoryError):
            return ListMemory(), {}, ""
        except OSError as error:
            return ListMemory(), {}, f"cannot be read: {error.strerror or error}"
        except (ValueError, RecursionError):
            return ListMemory(), {}, "is damaged"
