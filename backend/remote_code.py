"""What ``trust_remote_code`` would run of a model: the Python files it names, read and never imported."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

from msgspec import Struct

from modeldeck.backend.catalog.files import Missing, Unreadable
from modeldeck.backend.code_places import CodePlace, own_place
from modeldeck.backend.code_references import CodeReference, named_in, parse
from modeldeck.backend.code_search import CodeSearch, FileKey
from modeldeck.backend.models import ModelFormat, ModelInfo
from modeldeck.backend.text import clean_name

CUSTOM_GENERATE = CodeReference("", "custom_generate/generate.py")
"""Runs with any model that has it, named or not (``GenerationMixin.load_custom_generate``)."""


class CodeFile(Struct, frozen=True):
    """One Python file; untrusted text, cleaned."""

    name: str
    """With its folders: ``modeling_x.py``."""
    repository: str = ""
    """``org/name`` where it comes from another repository; empty for the model's own folder."""
    commit: str | None = None
    """In the hub's cache; None for a folder, and for a repository that is not there."""
    size: int = 0
    """Bytes."""
    absent: str = ""
    """``missing``, ``not on this machine`` or ``cannot be read``; empty for a file that was read."""

    @property
    def origin(self) -> str:
        """Where it comes from, in words: ``org/name at 0123456789ab``."""
        place = self.repository or "the model's own folder"
        where = f"{place} at {self.commit[:12]}" if self.commit else place
        return f"{where}, {self.absent}" if self.absent else where


class OwnCode(Struct, frozen=True):
    """The code of a model's own that a load would run where the user allows it."""

    files: tuple[CodeFile, ...] = ()
    """Those of the model's own folder first."""
    digest: str = ""
    """SHA-256 over places, commits, names and bytes: another one is other code. Empty where there is a problem."""
    problem: str = ""
    """Why not all of the code could be looked at, a sentence; nobody can agree to such code."""


def own_code(model: ModelInfo, hub_cache: Path) -> OwnCode | None:
    """Find the code that a load of this model would run with ``trust_remote_code``; None where there is none.

    Blocking. Never raises for what is on the disk.
    """
    gguf = model.format is ModelFormat.GGUF
    try:
        place = own_place(os.path.dirname(model.path) if gguf else model.path, model.revision)  # noqa: PTH120
        named: dict[str, bool] = {}
        for text, needed in named_in(place.folder, gguf=gguf):
            named[text] = named.get(text, False) or needed
    except Unreadable as error:
        return OwnCode(problem=_sentence(error))
    search = CodeSearch(place, hub_cache)
    if _has_custom_generate(place):
        search.follow(CUSTOM_GENERATE)
    for text in sorted(named, key=lambda text: (not named[text], text)):
        try:
            search.follow(parse(text, named[text]))
        except Unreadable as error:
            search.complain(error, named[text])
    return _result(search)


def _has_custom_generate(place: CodePlace) -> bool:
    """Also where it cannot be read."""
    try:
        place.read(CUSTOM_GENERATE.module)
    except Missing:
        return False
    except Unreadable:
        return True
    return True


def _result(search: CodeSearch) -> OwnCode | None:
    files = tuple(_file(search, key) for key in sorted(search.found))
    if search.problem is not None:
        return OwnCode(files, problem=_sentence(search.problem))
    return None if all(file.absent for file in files) else OwnCode(files, _digest(search))


def _file(search: CodeSearch, key: FileKey) -> CodeFile:
    repository, name = key
    source = search.found[key]
    absent = ""
    if isinstance(source, Missing):
        absent = "not on this machine" if repository else "missing"
    elif isinstance(source, Unreadable):
        absent = "cannot be read"
    size = len(source) if isinstance(source, bytes) else 0
    commit = search.commit(repository)
    return CodeFile(clean_name(name), clean_name(repository), commit and clean_name(commit, 80), size, absent)


def _digest(search: CodeSearch) -> str:
    """Every part with its length in front, so that no two lists of files are one and the same text."""
    whole = sha256()
    for (repository, name), source in sorted(search.found.items(), key=lambda item: item[0]):
        if isinstance(source, bytes):
            words = (repository, search.commit(repository) or "", name)
            for part in (*(word.encode("utf-8", "surrogatepass") for word in words), source):
                whole.update(len(part).to_bytes(8) + part)
    return whole.hexdigest()


def _sentence(error: Unreadable) -> str:
    """The first letter is raised unless the sentence begins with the name of a file."""
    line = clean_name(str(error), 300)
    capital = line[:1].upper() if line.split(" ", 1)[0].isalpha() else line[:1]
    return f"{capital}{line[1:]}."
