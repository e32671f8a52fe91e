"""Named ways to load a model ("long context", "4-bit"), kept in ``profiles.toml`` beside ``generation.toml``."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from msgspec import structs

from modeldeck.config import profile_file
from modeldeck.config.atomic import write_atomically
from modeldeck.config.declaration import InvalidValue
from modeldeck.config.generation_file import SCHEMA_VERSION, read_document
from modeldeck.config.profile_file import SavedProfiles, clean_profile_name
from modeldeck.config.profile_values import checked_options
from modeldeck.config.remembered import LoadOptions
from modeldeck.config.shared_file import LOCK_SECONDS, locked, name_aside
from modeldeck.config.store import SaveError
from modeldeck.config.toml_file import MAX_BYTES, ConfigProblem, Damaged, Unreadable
from modeldeck.config.wording import plain, shown_path

__all__ = ["DEFAULTS", "Profiles", "SaveError", "clean_profile_name"]

DEFAULTS = LoadOptions(device="auto", dtype="auto", quantization="none")
"""What holds where neither a profile nor anything else says it."""

Document = dict[str, Any]


class Profiles:
    """The user's load profiles, and which of them is taken for a model unless another is chosen.

    Several instances may write the same file: each change takes everything else from the disk. What changes the file
    blocks while another instance does (up to ``lock_seconds``) and until the disk has it, and raises ``SaveError``,
    after which the file is as it was.
    """

    def __init__(self, path: Path, lock_seconds: float = LOCK_SECONDS) -> None:
        self._path = path
        self._lock_seconds = lock_seconds
        self._document: Document = {}
        self._saved = SavedProfiles()
        self.problems: tuple[ConfigProblem, ...] = ()
        """What is wrong with the file, as it was last read or written."""

    def load(self) -> tuple[ConfigProblem, ...]:
        """Read the file (again). One that cannot be used leaves what was read before, and says so."""
        try:
            self._adopt(read_document(self._path) or {})
        except Damaged as error:
            aside = f"the next save keeps it aside as {plain(self._path.name)}.corrupt-<time>"
            self.problems = (ConfigProblem(self._path, "", f"{error}; {aside}"),)
        except Unreadable as error:
            self.problems = (ConfigProblem(self._path, "", str(error)),)
        return self.problems

    @property
    def names(self) -> tuple[str, ...]:
        """Every profile, the oldest first."""
        return tuple(self._saved.profiles)

    def values(self, name: str) -> dict[str, Any]:
        """What a profile says itself, by the fields of ``LoadOptions``; empty for one that is not there."""
        return dict(self._saved.profiles.get(name, {}))

    def get(self, name: str, base: LoadOptions = DEFAULTS) -> LoadOptions | None:
        """All options with this profile, where it says nothing those of ``base``; None for one that is not there."""
        values = self._saved.profiles.get(name)
        return None if values is None else structs.replace(base, **values)

    def save(self, name: str, options: LoadOptions, fields: Collection[str] | None = None) -> str:
        """Add a profile or replace one, and return its name as it is kept.

        It says these fields of the options; unless they are given, those that are not as in ``DEFAULTS``. A field that
        is None is never said.
        """
        said = structs.asdict(options)
        if fields is None:
            fields = [each for each, value in said.items() if value != getattr(DEFAULTS, each)]
        try:
            values = checked_options({each: said[each] for each in said if each in fields})
        except InvalidValue as error:
            raise SaveError(f"Nothing was saved: {error}") from None
        try:
            name = clean_profile_name(name)
        except InvalidValue as error:
            raise SaveError(f"Nothing was saved: the name {error}") from None
        self._change(lambda before: profile_file.with_profile(before, name, values), "profiles", name)
        return name

    def delete(self, name: str) -> None:
        """Delete a profile, which then is no model's default any more; one that is gone already is no failure."""
        self._change(lambda before: profile_file.without_profile(before, name))

    def default(self, model_id: str | None) -> str | None:
        """The profile that is taken for this model, its own before that for all; None where there is neither."""
        own = None if model_id is None else self._saved.model_defaults.get(model_id)
        return own or self._saved.default

    def own_default(self, model_id: str) -> str | None:
        """The profile that was set for this very model."""
        return self._saved.model_defaults.get(model_id)

    def set_default(self, name: str | None, model_id: str | None) -> None:
        """Take a profile, or none, for one model, or for all with None."""

        def changed(before: Document) -> Document:
            there, _ = profile_file.understand(self._path, before)
            if name is not None and name not in there.profiles:
                raise SaveError(f"Nothing was saved: there is no profile “{plain(name)}” any more")
            return profile_file.with_default(before, name, model_id)

        self._change(changed, *(() if model_id is None else ("model_defaults",)))

    def _change(self, changed: Callable[[Document], Document], *tables: str) -> None:
        """Write the file with one change; ``tables`` are those that it has to put something into."""
        path = Path(os.path.realpath(self._path))
        try:
            with locked(path, self._lock_seconds):
                self._adopt(self._written(path, changed, *tables))
        except Unreadable as error:
            raise self._failed(str(error)) from None
        except TimeoutError:
            raise self._failed("is being written by another modeldeck; try again") from None
        except OSError as error:
            raise self._failed(f"could not be written: {error.strerror or error}") from None

    def _written(self, path: Path, changed: Callable[[Document], Document], *tables: str) -> Document:
        """Write the file if the change is one, and return all that it now holds."""
        aside: Path | None = None
        try:
            before = read_document(path) or {}
            if profile_file.in_the_way(before, *tables):
                aside = name_aside(path)
        except Damaged:
            before, aside = self._document, name_aside(path)
        after = changed(before)
        if after == before and aside is None:
            return before
        after |= {"schema_version": SCHEMA_VERSION}
        write_atomically(path, self._to_text(after), keep_old_as=aside)
        return after

    def _to_text(self, document: Document) -> str:
        """The document as TOML that ``load`` reads again; raises ``SaveError`` where there is none."""
        try:
            text = profile_file.to_text(document)
            size = len(text.encode())
        except UnicodeEncodeError:
            raise SaveError("Nothing was saved: the name of this model is not valid Unicode text") from None
        except (RecursionError, ValueError):  # tomllib reads deeper tables and longer numbers than can be written
            raise self._failed("holds values that cannot be written again; take them out") from None
        if size > MAX_BYTES:
            raise self._failed(f"would grow past {MAX_BYTES // 1024**2} MiB")
        return text

    def _adopt(self, document: Document) -> None:
        """Take a document as what the file holds."""
        self._saved, self.problems = profile_file.understand(self._path, document)
        self._document = document

    def _failed(self, reason: str) -> SaveError:
        return SaveError(f"Nothing was saved: {shown_path(self._path)} {reason}")
