"""``paths``, ``config``, ``--version``, ``--help`` and wrong usage."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import msgspec
import pytest

from modeldeck.config.settings import Settings
from tests.conftest import made_in
from tests.unit.cli.conftest import Modeldeck


def test_paths_follow_the_environment(modeldeck: Modeldeck, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELDECK_CONFIG", str(home / "my.toml"))
    monkeypatch.setenv("MODELDECK_MODEL_DIRS", f"{home}/a:{home}/b")
    found = modeldeck("paths", "--json").document["paths"]
    assert found["config_file"] == str(home / "my.toml")
    assert found["generation_file"] == str(home / "generation.toml")
    assert found["profiles_file"] == str(home / "profiles.toml")
    assert found["model_folders"] == [f"{home}/a", f"{home}/b"]
    assert f"{home}/my.toml  (not there yet)" in modeldeck("paths").out


def test_asking_for_paths_creates_nothing(modeldeck: Modeldeck, home: Path) -> None:
    modeldeck("paths")
    assert made_in(home) == []


def test_the_printed_config_is_valid_and_holds_the_defaults(modeldeck: Modeldeck) -> None:
    ended = modeldeck("config")
    assert ended.code == 0
    uncommented = re.sub(r"^#(?! \S)", "", ended.out, flags=re.MULTILINE)
    document = tomllib.loads(uncommented)
    assert msgspec.convert(document, Settings) == Settings()


def test_config_tells_what_is_wrong_with_the_users_file(modeldeck: Modeldeck, home: Path) -> None:
    config = home / ".config" / "modeldeck" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("mouse = 3\n")
    ended = modeldeck("config")
    assert ended.code == 1
    assert "mouse" in ended.err
    assert config.read_text() == "mouse = 3\n"


def test_version_is_that_of_the_package(modeldeck: Modeldeck) -> None:
    assert modeldeck("--version").out == f"modeldeck {version('modeldeck')}\n"


def test_help_names_every_command(modeldeck: Modeldeck) -> None:
    ended = modeldeck("--help")
    assert ended.code == 0
    assert all(f"\n  {command} " in ended.out for command in ("ls", "show", "run", "doctor", "paths", "config"))


@pytest.mark.parametrize("arguments", [("nosuch",), ("ls", "--nosuch"), ("show",), ("run",)])
def test_wrong_usage_ends_with_2_and_says_so_on_stderr(modeldeck: Modeldeck, arguments: tuple[str, ...]) -> None:
    ended = modeldeck(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Error" in ended.err


def test_without_a_terminal_the_app_names_the_commands(modeldeck: Modeldeck) -> None:
    ended = modeldeck()
    assert (ended.code, ended.out) == (2, "")
    assert "modeldeck ls" in ended.err
    assert "modeldeck run" in ended.err
