"""Which modules of its own a model names: every ``auto_map`` in its JSON files, and the imports from module to module.

As transformers 5.23 follows them: ``dynamic_module_utils.get_class_from_dynamic_module`` and ``get_relative_imports``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from modeldeck.backend.catalog.files import Missing, ModelFolder, Unreadable
from modeldeck.backend.catalog.json_file import read_json_object

_MAX_JSON = 16 * 2**20
_MAX_VERSIONS = 20
_OTHER_FILES = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "audio_tokenizer_config.json",
    "generation_config.json",
)
_CONFIG_CLASSES = frozenset({"AutoConfig", "AutoModelForCausalLM"})
_TOKENIZER_CLASSES = frozenset({"AutoTokenizer"})
_NOBODY: frozenset[str] = frozenset()
_REPOSITORY = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?", re.ASCII)
_IMPORTS = (
    re.compile(r"^[^\S\n]*import\s+\.(\S+)\s*$", re.MULTILINE),
    re.compile(r"^[^\S\n]*from\s+\.(\S+)\s+import", re.MULTILINE),
)
r"""The library begins both with ``^\s*``, which finds the same, in hours where a file is full of empty lines."""


class CodeReference(Struct, frozen=True):
    """``module.Class`` or ``org/name--module.Class``, as a file names it."""

    repository: str
    """Empty for the model's own folder."""
    module: str
    """The file with its folders: ``modeling_x.py``."""
    needed: bool = True
    """Whether a load reads it in any case; other references are followed only where the model's code asks for it."""


def parse(text: str, needed: bool) -> CodeReference:
    """Take a reference apart. Raises Missing for one that leads nowhere, Unreadable for one that leads out."""
    repository, dashes, rest = text.rpartition("--")
    module, _, name = rest.partition(".")
    if "--" in repository or "." in name or not (module and name):
        raise Missing(f"“{text}” does not name a class in a way that transformers can follow")
    if dashes and not _REPOSITORY.fullmatch(repository):
        raise Unreadable(f"its code is to come from “{repository}”, which is no repository of the hub")
    if not all(module.split("/")):
        raise Unreadable(f"its code is to come from {module}.py, outside of its folder")
    return CodeReference(repository, f"{module}.py", needed)


def named_in(folder: ModelFolder, *, gguf: bool) -> Iterator[tuple[str, bool]]:
    """Every reference in the folder's JSON files, and whether a load follows it. Raises Unreadable.

    A GGUF file holds the model's configuration itself, so there no load follows config.json.
    """
    config = _read(folder, "config.json")
    followed = _NOBODY if gguf else _CONFIG_CLASSES
    yield from _references(config, followed)
    for name in _versions(config, folder):
        yield from _references(_read(folder, name), followed)
    yield from _references(_read(folder, "tokenizer_config.json"), _TOKENIZER_CLASSES)
    for name in _OTHER_FILES:
        yield from _references(_read(folder, name), _NOBODY)


def relative_imports(source: bytes) -> set[str]:
    """The modules that a module imports from beside it; what only looks like an import counts, as over there."""
    text = source.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")  # as open() reads it
    return {found[1] for pattern in _IMPORTS for found in pattern.finditer(text)}


def _versions(config: Mapping[str, Any], folder: ModelFolder) -> list[str]:
    """Files that certain releases of transformers read in place of config.json. Raises Unreadable for too many."""
    listed = config.get("configuration_files")
    named = {name for name in listed if isinstance(name, str)} if isinstance(listed, list) else set()
    there = [name for name in folder.names if name in named]
    if len(there) > _MAX_VERSIONS:
        raise Unreadable(f"config.json has more than {_MAX_VERSIONS} versions")
    return there


def _read(folder: ModelFolder, name: str) -> dict[str, Any]:
    """An absent file says nothing. Raises Unreadable."""
    try:
        return read_json_object(folder, name, _MAX_JSON)
    except Missing:
        return {}


def _references(document: Mapping[str, Any], followed: frozenset[str]) -> Iterator[tuple[str, bool]]:
    """Those of the file's own ``auto_map``, then those of its parts, which only code of the model's own may follow."""
    yield from _mapped(document.get("auto_map"), followed)
    parts: list[object] = [part for name, part in document.items() if name != "auto_map"]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            yield from _mapped(part.get("auto_map"), _NOBODY)
            parts.extend(part.values())
        elif isinstance(part, list):
            parts.extend(part)


def _mapped(auto_map: object, followed: frozenset[str]) -> Iterator[tuple[str, bool]]:
    """The references of one ``auto_map``. Of two tokenizers, a slow and a fast one, the last is taken."""
    if isinstance(auto_map, list):
        auto_map = {"AutoTokenizer": auto_map}  # the old way to say it
    for auto_class, value in auto_map.items() if isinstance(auto_map, dict) else ():
        names = [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]
        yield from ((name, auto_class in followed and name == names[-1]) for name in names)
