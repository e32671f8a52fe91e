"""What the README says about keys, settings, commands and files is what the code does."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli_w
from msgspec import UNSET, Struct
from textual.binding import Binding
from textual.dom import DOMNode

import modeldeck.tui
from modeldeck.config.declaration import settings_of
from modeldeck.config.generation import BUILT_IN, GenerationSettings
from modeldeck.config.settings import Settings
from modeldeck.tui.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
KEY_NAMES = {
    "/": "slash",
    "?": "question_mark",
    "-": "minus",
    "[": "left_square_bracket",
    "]": "right_square_bracket",
    "=": "equals_sign",
}


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """``main`` sets it for the process that it runs in."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def _table(heading: str) -> list[list[str]]:
    """The rows of the table that begins with this heading, as plain cells."""
    head, _, tail = README.partition(f"\n| {heading} |")
    assert head
    assert tail, f"no table {heading}"
    rows = tail.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip().replace("`", "") for cell in row.strip("|").split("|")] for row in rows]


def _bindings() -> Iterator[Binding]:
    """Every key of every widget and screen of ours."""
    for module in pkgutil.walk_packages(modeldeck.tui.__path__, "modeldeck.tui."):
        for thing in vars(importlib.import_module(module.name)).values():
            if isinstance(thing, type) and issubclass(thing, DOMNode) and thing.__module__ == module.name:
                yield from Binding.make_bindings(thing.BINDINGS)


def _shown(default: object) -> str:
    """A default as TOML writes it, on one line; ``-`` for none."""
    if default is UNSET:
        return "-"
    text = tomli_w.dumps({"x": default}) if default != {} else "x = {}"
    return re.sub(r"\[\s*|,\s*\]", lambda found: found[0].strip(" \n,"), text.removeprefix("x = ").strip())


def test_every_key_of_the_table_is_a_binding_that_does_that() -> None:
    known = {(binding.key, binding.id, binding.tooltip) for binding in _bindings()}
    for key, action, what in _table("Key"):
        assert (KEY_NAMES.get(key, key), action, what) in known


@pytest.mark.parametrize(
    ("heading", "struct", "defaults"),
    [("Setting | Default", Settings, Settings()), ("Setting | Built in", GenerationSettings, BUILT_IN)],
    ids=["config.toml", "generation.toml"],
)
def test_every_setting_stands_in_its_table_with_its_default(
    heading: str, struct: type[Struct], defaults: Struct
) -> None:
    rows = {name: rest for name, *rest in _table(heading)}
    expected = {one.name: [_shown(getattr(defaults, one.name)), one.help] for one in settings_of(struct)}
    assert rows == expected


def test_the_commands_of_the_table_exist_with_their_options(capsys: pytest.CaptureFixture[str]) -> None:
    for command, _what in _table("Command"):
        _, *words = shlex.split(command.replace("[", "").replace("]", ""))
        if not words:
            continue
        assert main([words[0], "--help"]) == 0
        help_text = capsys.readouterr().out
        assert all(word in help_text for word in words[1:])


def test_the_commands_that_need_nothing_run(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("ls", "paths", "config", "show starter", "ls --json", "paths --json"):
        assert f"modeldeck {command.split()[0]}" in README
        assert main(command.split()) == 0, capsys.readouterr().err


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in ("README.md", "CONTRIBUTING.md"):
        named = set(re.findall(r"make ([a-z-]+)", "\n".join(_code((ROOT / document).read_text()))))
        assert named
        assert named <= targets


def test_every_file_that_is_linked_or_named_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for name in re.findall(r"`([a-z_./]+/[a-z_./]*)`", text):
        assert (ROOT / name).exists(), name


def _code(text: str) -> list[str]:
    """What stands between backticks or is indented as code."""
    return [*re.findall(r"`([^`]+)`", text), *(line for line in text.splitlines() if line.startswith("    "))]
