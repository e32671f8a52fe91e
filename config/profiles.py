"""Named ways to load a model ("long context", "4-bit"), kept in ``profiles.toml`` beside ``generation.toml``."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from msgspec import structs

from modeldeck.config import profile_file
from modeldeck.config.declaration import InvalidValue
from modeldeck.config.document_store import Document, DocumentStore, SaveError
from modeldeck.config.names import clean_kept_name as clean_profile_name
from modeldeck.config.profile_file import SavedProfiles
from modeldeck.config.profile_values import checked_options
from modeldeck.config.remembered import LoadOptions
from modeldeck.config.shared_file import LOCK_SECONDS
from modeldeck.config.toml_file import ConfigProblem
from modeldeck.config.wording import plain

__all__ = ["DEFAULTS", "Profiles", "SaveError", "clean_profile_name"]

DEFAULTS = LoadOptions(device="auto", dtype="auto", quantization="none")
"""What holds where neither a profile nor anything else says it."""


class Profiles:
    """The user's load profiles, and which of them is taken for a model unless another is chosen.

    Several instances may write the same file: each change takes everything else from the disk. What changes the file
    blocks while another instance does (up to ``lock_seconds``) and until the disk has it, and raises ``SaveError``,
    after which the file is as it was.
    """

    def __init__(self, path: Path, lock_seconds: float = LOCK_SECONDS) -> None:
        self._path = path
        self._saved = SavedProfiles()
        self._file = DocumentStore(path, self._adopt, profile_file.TABLES, lock_seconds)

    @property
    def problems(self) -> tuple[ConfigProblem, ...]:
        """What is wrong with the file, as it was last read or written."""
        return self._file.problems

    def load(self) -> tuple[ConfigProblem, ...]:
        """Read the file (again). One that cannot be used leaves what was read before, and says so."""
        return self._file.load()

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
        self._file.change(lambda before: profile_file.with_profile(before, name, values), "profiles", name)
        return name

    def delete(self, name: str) -> None:
        """Delete a profile, which then is no model's default any more; one that is gone already is no failure."""
        self._file.change(lambda before: profile_file.without_profile(before, name))

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

        self._file.change(changed, *(() if model_id is None else ("model_defaults",)))

    def _adopt(self, path: Path, document: Document) -> tuple[ConfigProblem, ...]:
        """Take a document as what the file holds."""
        self._saved, problems = profile_file.understand(path, document)
        return problems
