"""The user's token gets into nothing that is shown, kept or handed on (S14); ``conftest`` looks after every test."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from modeldeck.backend.embedded import downloader_environment, engine_environment, scanner_environment
from modeldeck.backend.errors import BackendError, EngineDied, LoadError
from modeldeck.config.declaration import settings_of
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.paths import Paths
from modeldeck.config.settings import Settings
from modeldeck.config.store import load_settings
from modeldeck.tui.cli_commands.output import note
from modeldeck.tui.crash_report import write_crash_report
from modeldeck.tui.log_buffer import EngineLogBuffer
from tests.conftest import CANARY
from tests.fakes.driving import load, managing
from tests.fakes.engine_python import use_scripted_engine
from tests.fakes.scripted_engine import scripted_starter
from tests.unit.cli.conftest import Modeldeck

_SECRET_NAME = re.compile(r"(^|_)(token|secret|password|passwd|api_key|credentials?)$")


def test_s14_the_canary_is_in_every_test(home: Path) -> None:
    assert os.environ["HF_TOKEN"] == CANARY
    assert (home / ".cache" / "huggingface" / "token").read_text() == CANARY


@pytest.mark.parametrize("kind", [BackendError, LoadError, EngineDied])
def test_s14_no_error_carries_a_token(kind: type[BackendError]) -> None:
    error = kind(f"No access with {CANARY}.", f"GET /api\nAuthorization: Bearer {CANARY}\n")
    assert str(error) == "No access with hf_[removed]."
    assert CANARY not in error.detail + repr(error)


async def test_s14_an_engine_that_says_a_token_is_told_without_it() -> None:
    script = f"wait load\nstderr the token is {CANARY}\nfailed load No access with {CANARY}."
    async with managing(scripted_starter(script, f"stderr the token is {CANARY}\nexit 3")) as manager:
        with pytest.raises(LoadError, match=r"No access with hf_\[removed\]"):
            await load(manager)
        with pytest.raises(EngineDied, match=r"exit code 3: the token is hf_\[removed\]") as raised:
            await load(manager)
        assert raised.value.detail == "the token is hf_[removed]"


def test_s14_the_log_view_shows_no_token() -> None:
    log = EngineLogBuffer()
    log.append(f"one\nthe token is {CANARY}\nthree")
    assert list(log.lines) == ["one", "the token is hf_[removed]", "three"]


def test_s14_a_command_says_no_token(capsys: pytest.CaptureFixture[str]) -> None:
    note(f"the hub refuses {CANARY}")
    assert capsys.readouterr().err == "the hub refuses hf_[removed]\n"


def test_s14_run_prints_no_token_that_its_engine_says(modeldeck: Modeldeck, home: Path, model_folder: Path) -> None:
    use_scripted_engine(home, f"wait load\nstderr {CANARY}\nfailed load No access with {CANARY}.")
    ended = modeldeck("run", "tiny-llama", "hello")
    assert ended.code == 1
    assert "No access with hf_[removed]." in ended.err
    assert CANARY not in ended.out + ended.err


def test_s14_no_child_but_the_downloader_gets_the_token_and_none_is_made_talkative(paths: Paths) -> None:
    environ = {**os.environ, "HF_DEBUG": "1", "HF_HOME": "/models"}
    assert environ["HF_TOKEN"] == CANARY
    children = [engine_environment(paths, environ), scanner_environment(environ)]
    downloader = downloader_environment(paths, environ)
    assert not any(CANARY in child.values() for child in children)
    assert [name for name, value in downloader.items() if value == CANARY] == ["HF_TOKEN"]
    for environment in (*children, downloader):
        assert "HF_DEBUG" not in environment  # which logs each request as a line for curl
        assert environment["HF_HOME"] == "/models"


def test_s14_a_crash_report_holds_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", CANARY)
    report = write_crash_report(tmp_path / "crashes", RuntimeError(f"refused: {CANARY}"))
    assert report is not None
    said = report.read_text()
    assert "refused: hf_[removed]" in said
    assert "TERM=hf_[removed]" in said
    assert CANARY not in said


def test_s14_no_setting_and_no_option_takes_a_token(modeldeck: Modeldeck) -> None:
    declared = [one.name for struct in (Settings, GenerationSettings) for one in settings_of(struct)]
    assert not [name for name in declared if _SECRET_NAME.search(name)]
    for command in ("ls", "show", "run", "doctor", "paths", "config"):
        options = re.findall(r"--([a-z-]+)", modeldeck(command, "--help").out)
        assert not [name for name in options if _SECRET_NAME.search(name.replace("-", "_"))]


def test_s14_a_token_that_somebody_wrote_into_the_settings_is_not_repeated(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'hf_token = "{CANARY}"\ntheme = ["{CANARY}"]\n')
    _, problems = load_settings(config)
    assert len(problems) == 2
    assert not [problem for problem in problems if CANARY in str(problem)]
