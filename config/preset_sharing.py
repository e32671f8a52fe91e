"""Presets in files of their own, to be handed on: the ``[presets.<name>]`` tables of ``generation.toml``."""

from __future__ import annotations

from pathlib import Path

from modeldeck.config.atomic import write_atomically
from modeldeck.config.document_store import SCHEMA_VERSION, SaveError, read_document
from modeldeck.config.generation_file import set_values, understand
from modeldeck.config.store import GenerationStore
from modeldeck.config.toml_file import ConfigProblem, Unreadable
from modeldeck.config.wording import shown_path

_HEADER = "# A preset of modeldeck; the dialog of presets takes it in (key o).\n"


def write_preset(store: GenerationStore, name: str, path: Path) -> None:
    """Write one preset to a file that is not there yet. Blocking; raises ``SaveError``."""
    import tomli_w  # only a save needs it

    document = {"schema_version": SCHEMA_VERSION, "presets": {name: set_values(store.preset_values(name))}}
    if path.exists():
        raise SaveError(f"Nothing was written: {shown_path(path)} is there already")
    if not path.parent.is_dir():
        raise SaveError(f"Nothing was written: there is no folder {shown_path(path.parent)}")
    try:
        write_atomically(path, _HEADER + tomli_w.dumps(document))
    except OSError as error:
        raise SaveError(f"Nothing was written: {shown_path(path)}: {error.strerror or error}") from None


def take_presets(store: GenerationStore, path: Path) -> tuple[tuple[str, ...], tuple[ConfigProblem, ...]]:
    """Add the presets of a file to the user's own; the names, and what was wrong with the rest. Blocking.

    Raises ``SaveError`` where there is none in it, or one of that name is here already.
    """
    try:
        document = read_document(path)
    except Unreadable as error:
        raise SaveError(f"{shown_path(path)} {error}") from None
    if document is None:
        raise SaveError(f"{shown_path(path)} is not there")
    scopes, problems = understand(path, document)
    if not scopes.presets:
        raise SaveError(f"{shown_path(path)} holds no preset" + (f": {problems[0]}" if problems else ""))
    for name in scopes.presets:
        if name in store.preset_names:
            raise SaveError(f"Nothing was taken: there is a preset “{name}” already; rename or delete that first")
    return tuple(store.save_preset(name, values) for name, values in scopes.presets.items()), problems
