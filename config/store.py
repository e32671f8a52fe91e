"""The two settings files: ``config.toml`` is the user's and only read, ``generation.toml`` is ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from modeldeck.config import generation_file
from modeldeck.config.atomic import PRIVATE_FILE, make_private_folder, write_atomically
from modeldeck.config.declaration import InvalidValue, Setting, convert, settings_of
from modeldeck.config.generation import BUILT_IN, GenerationSettings, merge
from modeldeck.config.generation_file import Scopes
from modeldeck.config.settings import Settings
from modeldeck.config.shared_file import name_aside
from modeldeck.config.toml_file import MAX_BYTES, ConfigProblem, Damaged, Unreadable, read_toml
from modeldeck.config.wording import did_you_mean, plain, shown_path

__all__ = ["ConfigProblem", "GenerationStore", "SaveError", "load_settings"]


class SaveError(Exception):
    """Nothing was saved and the file is as it was; the message says why in one sentence."""


def load_settings(path: Path) -> tuple[Settings, tuple[ConfigProblem, ...]]:
    """Read ``config.toml``; what is wrong in it keeps its default and is told, and all the rest counts.

    An absent file is no problem. Nothing is created or changed.
    """
    try:
        document = read_toml(path)
    except Unreadable as error:
        return Settings(), (ConfigProblem(path, "", str(error)),)
    if not document:
        return Settings(), ()
    known = {setting.name: setting for setting in settings_of(Settings)}
    generation = {setting.name for setting in settings_of(GenerationSettings)}
    values: dict[str, Any] = {}
    problems: list[ConfigProblem] = []
    for key, value in document.items():
        if key in known:
            values[key], wrong = _one_by_one(known[key], value)
            problems += [ConfigProblem(path, plain(place), message) for place, message in wrong]
        elif key in generation:
            problems.append(ConfigProblem(path, key, "is a generation setting, and those are kept in generation.toml"))
        else:
            problems.append(ConfigProblem(path, plain(key), f"is not a setting{did_you_mean(key, known)}"))
    return msgspec.convert(values, Settings), tuple(problems)


def _one_by_one(setting: Setting, value: object) -> tuple[Any, list[tuple[str, str]]]:
    """A value as the struct holds it, and what was wrong; one bad key of a table leaves its other keys."""
    try:
        return convert(setting, value), []
    except InvalidValue as error:
        if setting.kind != "mapping" or not isinstance(value, dict):
            return setting.default, [(setting.name, str(error))]
    good: dict[str, Any] = {}
    wrong: list[tuple[str, str]] = []
    for key, entry in value.items():
        try:
            good |= convert(setting, {key: entry})
        except InvalidValue as error:
            wrong.append((setting.name, str(error)))
    return good, wrong


class GenerationStore:
    """The user's generation settings for all models and for single ones, kept in ``generation.toml``.

    Several instances may write the same file: a save replaces its own scope and takes everything else from the disk.
    """

    def __init__(self, path: Path, lock_seconds: float = 5.0) -> None:
        self._path = path
        self._lock_seconds = lock_seconds
        self._document: dict[str, Any] = {}
        self._scopes = Scopes()
        self.problems: tuple[ConfigProblem, ...] = ()
        """What is wrong with the file, as it was last read or written."""

    def load(self) -> tuple[ConfigProblem, ...]:
        """Read the file (again). One that cannot be used leaves what was read before, and says so."""
        try:
            self._adopt(generation_file.read_document(self._path) or {})
        except Damaged as error:
            aside = f"the next save keeps it aside as {plain(self._path.name)}.corrupt-<time>"
            self.problems = (ConfigProblem(self._path, "", f"{error}; {aside}"),)
        except Unreadable as error:
            self.problems = (ConfigProblem(self._path, "", str(error)),)
        return self.problems

    def overrides(self, model_id: str | None) -> GenerationSettings:
        """What the user set for this model alone; for all models with None."""
        if model_id is None:
            return self._scopes.all_models
        return self._scopes.models.get(model_id, GenerationSettings())

    def effective(self, model_id: str | None) -> GenerationSettings:
        """What holds for this model: built-in values, under those for all models, under its own."""
        own = () if model_id is None else (self.overrides(model_id),)
        return merge(BUILT_IN, self.overrides(None), *own)

    def origin(self, model_id: str | None, name: str) -> Literal["built-in", "all models", "this model"]:
        """Which layer the effective value of a setting comes from; "built-in" also where nobody set it."""
        if model_id is not None and getattr(self.overrides(model_id), name) is not UNSET:
            return "this model"
        return "all models" if getattr(self.overrides(None), name) is not UNSET else "built-in"

    def save(self, model_id: str | None, overrides: GenerationSettings) -> None:
        """Replace what is set for one model, or for all models with None.

        Blocks while another instance saves (up to ``lock_seconds``) and until the disk has the file. Raises
        ``SaveError``; the file is then as it was.
        """
        path = Path(os.path.realpath(self._path))
        try:
            overrides = generation_file.checked(overrides)
            make_private_folder(path.parent)
            with self._locked(path):
                self._adopt(self._replace_scope(path, model_id, overrides))
        except InvalidValue as error:
            raise SaveError(f"Nothing was saved: {error}") from None
        except Unreadable as error:
            raise self._failed(str(error)) from None
        except OSError as error:
            raise self._failed(f"could not be written: {error.strerror or error}") from None

    def _replace_scope(self, path: Path, model_id: str | None, overrides: GenerationSettings) -> dict[str, Any]:
        """Write the file with one scope replaced, and return all that it now holds."""
        aside: Path | None = None
        try:
            document = generation_file.read_document(path) or {}
            if generation_file.would_lose(document, model_id):
                aside = name_aside(path)
        except Damaged:
            document, aside = self._document, name_aside(path)
        document = generation_file.with_scope(document, model_id, overrides)
        text = self._to_text(document)
        write_atomically(path, text, keep_old_as=aside)
        return document

    def _to_text(self, document: dict[str, Any]) -> str:
        """The document as TOML that ``load`` reads again; raises ``SaveError`` where there is none."""
        try:
            text = generation_file.to_text(document)
            size = len(text.encode())
        except UnicodeEncodeError:
            raise SaveError("Nothing was saved: the name of this model is not valid Unicode text") from None
        except (RecursionError, ValueError):  # tomllib reads deeper tables and longer numbers than can be written
            raise self._failed("holds values that cannot be written again; take them out") from None
        if size > MAX_BYTES:
            raise self._failed(f"would grow past {MAX_BYTES // 1024**2} MiB")
        return text

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        """Keep other instances from writing; raises ``SaveError`` when one does not finish."""
        import filelock  # only a save needs it, and it takes 15 ms to import

        lock = filelock.FileLock(path.parent / f".{path.name}.lock", timeout=self._lock_seconds, mode=PRIVATE_FILE)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise self._failed("is being written by another modeldeck; try again") from None
        try:
            yield
        finally:
            lock.release()

    def _adopt(self, document: dict[str, Any]) -> None:
        """Take a document as what the file holds."""
        self._scopes, self.problems = generation_file.understand(self._path, document)
        self._document = document

    def _failed(self, reason: str) -> SaveError:
        return SaveError(f"Nothing was saved: {shown_path(self._path)} {reason}")
