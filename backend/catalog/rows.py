"""What every row of the catalog goes through before it is shown: names cleaned, problems made sentences."""

from __future__ import annotations

import os

from msgspec import Struct, structs

from modeldeck.backend.catalog.files import reason
from modeldeck.backend.models import ModelInfo, ModelSource
from modeldeck.backend.text import clean_name, clean_text


class Identity(Struct, frozen=True):
    """What a row is called, before anything of it was read."""

    id: str
    name: str
    source: ModelSource
    revision: str | None = None
    """The commit, in the hub's cache."""
    refs: tuple[str, ...] = ()
    """The branches and tags that stand for it."""

    def row(self, path: str) -> ModelInfo:
        """A row of which nothing else is known yet."""
        return ModelInfo(
            id=self.id, name=self.name, path=path, source=self.source, revision=self.revision, refs=self.refs
        )


def finished(row: ModelInfo) -> ModelInfo:
    """The row with its names cleaned and its problems as sentences of one line."""
    problems = row.problems
    row_id, path = row.id, row.path
    if not _is_unicode(path):
        # Such a path cannot go over the wire to the engine, nor into TOML or JSON.
        row_id, path = clean_text(row_id), clean_text(path)
        problems = (*problems, "its path is not valid UTF-8: rename it")
    return structs.replace(
        row,
        id=row_id,
        name=clean_name(row.name),
        path=path,
        refs=tuple(clean_name(ref, 80) for ref in row.refs),
        problems=tuple(_sentence(problem) for problem in problems),
    )


def unreadable_row(identity: Identity, path: str, problem: str, disk_bytes: int = 0) -> ModelInfo:
    """A row for what could not even be listed; ``problem`` is a sentence without its full stop."""
    return finished(structs.replace(identity.row(path), problems=(problem,), disk_bytes=disk_bytes))


def unreadable_place(path: str, source: ModelSource, error: OSError) -> ModelInfo:
    """A row for a whole place that cannot be listed now, so that its models do not vanish without a word."""
    return unreadable_row(Identity(path, path, source), path, f"it cannot be read: {reason(error)}")


def _sentence(text: str) -> str:
    """The first letter is raised unless the sentence begins with the name of a file."""
    line = clean_name(text, 300)
    first = line.split(" ", 1)[0].rstrip(":")
    capital = line[:1].upper() if first.isalpha() else line[:1]
    return f"{capital}{line[1:]}."


def _is_unicode(path: str) -> bool:
    try:
        os.fsencode(path).decode("utf-8")
    except UnicodeError:
        return False
    return True
