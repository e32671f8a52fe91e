"""The report of a crash: what a bug report needs, nothing that was said, and for its owner alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from modeldeck.config.paths import Paths
from modeldeck.tui.crash_report import KEPT, write_crash_report
from tests.fakes.driving import a_request
from tests.tui.deck import services

PROMPT = "a question of mine"


def crashed(error: Exception) -> Exception:
    """The error as it comes out of code that holds what was said."""
    question = PROMPT
    try:
        try:
            os.environ[question]
        except KeyError as before:
            raise error from before
    except type(error) as caught:
        return caught
    raise AssertionError("it was raised above")


def test_f31_it_has_versions_state_log_and_place(paths: Paths) -> None:
    built = services()
    residents = built.manager.residents
    residents.put(residents.new(a_request("org/model")))
    for number in range(100):
        built.log.append(f"line {number}")
    path = write_crash_report(paths.crashes, crashed(TypeError("'int' object is not iterable")), built)
    assert path is not None
    text = path.read_text()
    for said in ("modeldeck 0.", "textual 8.", "torch 2.", "transformers 5.", "Python 3.", "TERM=", "org/model: "):
        assert said in text
    assert "line 99" in text
    assert "line 59" not in text
    assert "in crashed" in text
    assert "TypeError: 'int' object is not iterable" in text
    assert "KeyError (the log file has its message)" in text
    assert PROMPT not in text


@pytest.mark.parametrize("kind", [ValueError, KeyError, LookupError, AssertionError])
def test_f31_a_message_that_may_quote_what_was_said_is_left_out(paths: Paths, kind: type[Exception]) -> None:
    path = write_crash_report(paths.crashes, crashed(kind(PROMPT)))
    assert path is not None
    assert kind.__name__ in path.read_text()
    assert PROMPT not in path.read_text()


def test_f31_secrets_and_control_characters_are_taken_out(paths: Paths, home: Path) -> None:
    built = services()
    built.log.append("Authorization: Bearer abcdefghijklmnop")
    error = OSError(2, "No such file", f"{home}/hf_abcdefghijklmnopqrstuvwx\x1b]0;title\x07")
    path = write_crash_report(paths.crashes, error, built)
    assert path is not None
    text = path.read_text()
    assert "[removed]" in text
    assert "abcdefghijkl" not in text
    assert "\x1b" not in text
    assert str(home) not in text


def test_f31_it_is_its_owners_alone_and_only_the_newest_are_kept(paths: Paths) -> None:
    paths.crashes.mkdir(parents=True)
    for number in range(KEPT + 5):
        (paths.crashes / f"crash-20000101-0000{number:02}-1.txt").touch()
    path = write_crash_report(paths.crashes, ValueError())
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = sorted(paths.crashes.iterdir())
    assert len(kept) == KEPT
    assert kept[-1] == path


def test_f31_the_folder_is_its_owners_alone(paths: Paths) -> None:
    assert write_crash_report(paths.crashes, ValueError()) is not None
    assert stat.S_IMODE(paths.crashes.stat().st_mode) == 0o700


def test_f31_a_report_that_cannot_be_written_is_no_second_crash(paths: Paths) -> None:
    paths.crashes.parent.mkdir(parents=True)
    paths.crashes.touch()
    assert write_crash_report(paths.crashes, ValueError()) is None
