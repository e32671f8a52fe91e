from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modeldeck.config.paths import Paths
from modeldeck.config.settings import Settings, model_folders
from tests.conftest import made_in

_BOTH = """
import json, os, sys
from modeldeck.config.paths import Paths
ours = {}
for i, env in enumerate(json.loads(sys.argv[1])):
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)
    os.environ.update(env)
    ours[i] = str(Paths.from_environment().hub_cache)
    assert "huggingface_hub" not in sys.modules or i
    import huggingface_hub.constants as hub, importlib
    importlib.reload(hub)
    assert ours[i] == os.path.abspath(hub.HF_HUB_CACHE), (env, ours[i], hub.HF_HUB_CACHE)
"""


class TestUnderTheHomeFolder:
    def test_the_xdg_defaults(self, home: Path, paths: Paths) -> None:
        assert paths.config_file == home / ".config/modeldeck/config.toml"
        assert paths.generation_file == home / ".config/modeldeck/generation.toml"
        assert paths.profiles_file == home / ".config/modeldeck/profiles.toml"
        assert paths.state == home / ".local/state/modeldeck"
        assert paths.consents == home / ".local/state/modeldeck/consents.json"
        assert paths.remembered_loads == home / ".local/state/modeldeck/loads.json"
        assert paths.load_times == home / ".local/state/modeldeck/load_times.json"
        assert paths.cache == home / ".cache/modeldeck"
        assert paths.gguf_copies == home / ".cache/modeldeck/gguf"
        assert paths.compiled == home / ".cache/modeldeck/compiled"
        assert paths.log_file == home / ".local/state/modeldeck/log/modeldeck.log"
        assert paths.hub_cache == home / ".cache/huggingface/hub"
        assert paths.model_folders is None

    def test_nothing_is_created(self, home: Path, paths: Paths) -> None:
        assert made_in(home) == []

    def test_the_xdg_variables(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("CONFIG", "STATE", "CACHE"):
            monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
        paths = Paths.from_environment()
        assert paths.config_file == tmp_path / "CONFIG/modeldeck/config.toml"
        assert paths.state == tmp_path / "STATE/modeldeck"
        assert paths.cache == tmp_path / "CACHE/modeldeck"

    def test_a_relative_xdg_variable_is_ignored(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CONFIG_HOME", "somewhere")
        assert Paths.from_environment().config_file == home / ".config/modeldeck/config.toml"


class TestOwnVariables:
    @pytest.mark.parametrize(
        ("value", "file"),
        [("~/deck.toml", "{home}/deck.toml"), ("deck.toml", "{cwd}/deck.toml"), ("/etc/../deck.toml", "/deck.toml")],
    )
    def test_the_config_file(self, value: str, file: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MODELDECK_CONFIG", value)
        paths = Paths.from_environment()
        assert str(paths.config_file) == file.format(home=home, cwd=Path.cwd())
        assert paths.generation_file == paths.config_file.parent / "generation.toml"

    def test_an_empty_one_says_nothing(self, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MODELDECK_CONFIG", "")
        assert Paths.from_environment() == paths

    def test_even_a_folder_as_config_file_is_a_path(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MODELDECK_CONFIG", "/")
        assert Paths.from_environment().generation_file == Path("/generation.toml")

    def test_model_folders(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MODELDECK_MODEL_DIRS", "~/a::/b:rel:/b:~no-such-user/c")
        paths = Paths.from_environment()
        expected = (home / "a", Path("/b"), Path.cwd() / "rel", Path.cwd() / "~no-such-user/c")
        assert paths.model_folders == expected
        assert model_folders(Settings(model_folders=("/other",)), paths) == expected

    def test_no_model_folders_at_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MODELDECK_MODEL_DIRS", "")
        assert model_folders(Settings(), Paths.from_environment()) == ()


class TestModelFoldersOfTheFile:
    def test_the_default(self, home: Path, paths: Paths) -> None:
        assert model_folders(Settings(), paths) == (home / "models",)

    def test_home_variables_and_relative_folders(
        self, home: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SCRATCH", "/scratch/me")
        named = ("~/a", "$SCRATCH/b", "c/../d", "/e/", "/e", "$NOT_SET/f")
        config = home / ".config/modeldeck"
        assert model_folders(Settings(model_folders=named), paths) == (
            home / "a",
            Path("/scratch/me/b"),
            config / "d",
            Path("/e"),
            config / "$NOT_SET/f",
        )


def test_the_hub_cache_is_where_huggingface_hub_says() -> None:
    environments: list[dict[str, str]] = [
        {},
        {"XDG_CACHE_HOME": "/xdg"},
        {"XDG_CACHE_HOME": "xdg"},
        {"XDG_CACHE_HOME": ""},
        {"HF_HOME": "/hf"},
        {"HF_HOME": "~/hf"},
        {"HF_HOME": "$HOME/hf/../x"},
        {"HF_HOME": ""},
        {"HF_HOME": "relative", "XDG_CACHE_HOME": "/xdg"},
        {"HF_HUB_CACHE": "/hub", "HF_HOME": "/hf", "HUGGINGFACE_HUB_CACHE": "/old"},
        {"HF_HUB_CACHE": "~/$USER/hub"},
        {"HF_HUB_CACHE": ""},
        {"HUGGINGFACE_HUB_CACHE": "~/old", "HF_HOME": "/hf"},
        {"HUGGINGFACE_HUB_CACHE": ""},
        {"XDG_CACHE_HOME": "~/xdg"},
        {"XDG_CACHE_HOME": "$HOME/xdg"},
    ]
    done = subprocess.run(
        [sys.executable, "-c", _BOTH, json.dumps(environments)],
        env=dict(os.environ) | {"USER": "me"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
