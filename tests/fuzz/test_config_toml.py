"""``config.toml``: whatever is in it, the program starts, and says in one line each what it does not use."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from modeldeck.config.declaration import settings_of
from modeldeck.config.paths import Paths
from modeldeck.config.settings import Settings, model_folders
from modeldeck.config.store import load_settings
from modeldeck.config.template import example_config
from modeldeck.tui.settings_check import settings_problems
from tests.fuzz.broken import garbled
from tests.fuzz.profiles import fuzzed
from tests.fuzz.reading import modest
from tests.fuzz.toml import TOML_INSERTED, toml_documents

_KEYS = (*(setting.name for setting in settings_of(Settings)), "temperature", "devise", '"a b"', "keys.quit", "")
_documents = toml_documents(_KEYS, ("keys", "model_folders", "keys.engine", "x"))
_example = garbled(example_config().replace("# ", "").encode(), TOML_INSERTED)


@given(data=_documents | _example | st.binary(max_size=200))
@fuzzed
def test_whatever_is_in_it_the_program_starts(data: bytes, tmp_path: Path, paths: Paths) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(data)
    with modest():
        settings, problems = load_settings(file)
    assert isinstance(settings, Settings)
    assert all(str(problem).isprintable() for problem in problems)
    assert all(folder.is_absolute() for folder in model_folders(settings, paths))
    assert all(isinstance(problem, str) for problem in settings_problems(settings))
