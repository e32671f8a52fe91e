from __future__ import annotations

import re
from pathlib import Path

from modeldeck.config.settings import Settings
from modeldeck.config.store import load_settings
from modeldeck.config.template import example_config
from tests.unit.config.values import QUANTIZATIONS


def test_the_example_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(example_config())
    assert load_settings(file) == (Settings(), ())


def test_with_every_line_in_force_it_sets_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(re.sub(r"^#(?! \w)", "", example_config(), flags=re.MULTILINE))
    assert load_settings(file) == (Settings(), ())
    assert all(f"\n{name} = " in file.read_text() for name in Settings.__struct_fields__ if name != "keys")


def test_every_setting_says_what_it_is_and_what_is_allowed() -> None:
    help_line = f"# What is done to the weights while a model loads (one of {QUANTIZATIONS})"
    assert f"{help_line}\n#quantization =" in example_config()
