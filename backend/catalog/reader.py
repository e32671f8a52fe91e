"""How a scan touches the disk: every listing and every read of a model goes through one ``Reader``."""

from __future__ import annotations

import os

from modeldeck.backend.catalog.files import ModelFolder, list_folder
from modeldeck.backend.catalog.reading import Identity, read_folder, read_gguf
from modeldeck.backend.models import ModelInfo


class Reader:
    """Reads everything anew. Who keeps an index, names paths or watches them overrides the methods."""

    def visit(self, path: str) -> None:
        """The scan turns to this path. Raises OSError where it shall leave it alone."""

    def list(self, path: str) -> list[os.DirEntry[str]]:
        """The entries of a folder. Raises OSError."""
        return list_folder(path)

    def depends_on(self, path: str) -> None:
        """A row hangs on this file or folder, too, though nobody lists it."""

    def folder(self, folder: ModelFolder, identity: Identity) -> ModelInfo:
        """The row of a folder of config.json and weights. Never raises for what is in it."""
        return read_folder(folder, identity)

    def gguf(self, folder: ModelFolder, name: str, identity: Identity) -> ModelInfo:
        """The row of one GGUF file, or of the first part of a split one. Never raises for what is in it."""
        return read_gguf(folder, name, identity)
