"""From the references in a model's files to the Python files behind them, import by import; nothing is executed."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path

from modeldeck.backend.catalog.files import Missing, Unreadable
from modeldeck.backend.code_places import CodePlace, repository_place
from modeldeck.backend.code_references import CodeReference, relative_imports

MAX_FILES = 200
"""Python files of one model; the largest in use have about 30."""
MAX_BYTES = 32 * 2**20
"""Of all of them together."""

FileKey = tuple[str, str]
"""The repository, empty for the model's own folder, and the name in it."""


class CodeSearch:
    """Collects what it reads; ``problem`` is the first reason why not all of it could be looked at."""

    def __init__(self, own: CodePlace, hub_cache: Path) -> None:
        self._hub_cache = hub_cache
        self._places: dict[str, CodePlace | Unreadable] = {"": own}
        self._found: dict[FileKey, bytes | Unreadable] = {}
        self._bytes = 0
        self.problem: Unreadable | None = None

    @property
    def found(self) -> Mapping[FileKey, bytes | Unreadable]:
        """Every file that was asked for: what is in it, or why that is not known."""
        return self._found

    def commit(self, repository: str) -> str | None:
        """The commit that files of a repository are taken from."""
        place = self._places.get(repository)
        return place.commit if isinstance(place, CodePlace) else None

    def complain(self, error: Unreadable, needed: bool) -> None:
        """What is missing matters only where a load needs it; what is there and cannot be read always does."""
        if self.problem is None and (needed or not isinstance(error, Missing)):
            self.problem = error

    def follow(self, reference: CodeReference) -> None:
        """Read a module and all that it imports. Those that are needed come first: what is missing counts for them."""
        folder = posixpath.dirname(reference.module)
        waiting = [reference.module]
        while waiting:
            key = (reference.repository, waiting.pop())
            if key in self._found:
                continue
            if len(self._found) == MAX_FILES:
                self.complain(Unreadable(f"its code has more than {MAX_FILES} files"), True)
                return
            try:
                self._found[key] = source = self._read(*key)
                waiting.extend(_beside(folder, module) for module in sorted(relative_imports(source)))
            except Unreadable as error:
                self._found.setdefault(key, error)
                self.complain(error, reference.needed)

    def _read(self, repository: str, name: str) -> bytes:
        """Raises Unreadable."""
        source = self._place(repository).read(name)
        self._bytes += len(source)
        if self._bytes > MAX_BYTES:
            raise Unreadable(f"its code has more than {MAX_BYTES:,} bytes")
        return source

    def _place(self, repository: str) -> CodePlace:
        """Raises Unreadable."""
        if repository not in self._places:
            try:
                self._places[repository] = repository_place(self._hub_cache, repository)
            except Unreadable as error:
                self._places[repository] = error
        place = self._places[repository]
        if isinstance(place, Unreadable):
            raise place
        return place


def _beside(folder: str, module: str) -> str:
    """The file of an imported module. Raises Unreadable for a name that no import has, but the library would read."""
    if "/" in module:
        raise Unreadable(f"it imports “{module}”, which is no module")
    return posixpath.join(folder, f"{module}.py")
