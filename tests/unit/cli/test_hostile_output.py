"""What commands print of hostile models, settings, replies, errors and arguments is text (S1)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.control_sequences import ON_DISK, SEQUENCES, strangers
from tests.faults.hostile_home import CORPUS, FIRST, make_hostile_home
from tests.unit.cli.conftest import Ended, Modeldeck

REPLIES = "log CORPUS\nstderr CORPUS\nready\nwait load\nfinished\nwait generate\ntokens CORPUS\nend\nserve"
SCRIPTS = {
    "replies": REPLIES,
    "fails to load": "stderr CORPUS\nfail-load load CORPUS\nserve",
    "fails to reply": "ready\nwait load\nfinished\nwait generate\ntokens CORPUS\nreply-failed CORPUS\nserve",
    "dies": "stderr CORPUS\nready\nwait load\nexit 3",
}


def assert_text(ended: Ended) -> None:
    assert not strangers(ended.out + ended.err, full_screen=False)
    assert "\r" not in ended.out + ended.err
    assert (ended.out + ended.err).encode()


@pytest.mark.parametrize(
    "arguments",
    [("ls",), ("ls", "-q"), ("ls", "--json"), ("show", FIRST), ("show", FIRST, "--estimate"), ("doctor",),
     ("doctor", "--json"), ("paths",), ("config",)],
    ids=" ".join,
)  # fmt: skip
def test_s1_what_was_found_is_printed_as_text(home: Path, modeldeck: Modeldeck, arguments: tuple[str, ...]) -> None:
    make_hostile_home(home, REPLIES)
    ended = modeldeck(*arguments)
    assert_text(ended)
    assert ended.out


def test_s1_a_model_with_a_hostile_path_is_shown_as_text(home: Path, modeldeck: Modeldeck) -> None:
    make_hostile_home(home, REPLIES)
    for name in ON_DISK[:8:2]:  # a child looks at each
        ended = modeldeck("show", f"{home}/models/{os.fsdecode(name)}")
        assert ended.out
        assert_text(ended)


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_s1_a_reply_and_every_error_are_printed_as_text(home: Path, modeldeck: Modeldeck, script: str) -> None:
    make_hostile_home(home, script)
    ended = modeldeck("run", FIRST, "hello")
    assert "owned" in ended.out + ended.err
    assert_text(ended)


@pytest.mark.parametrize(
    "arguments",
    [("show", "{}"), ("{}",), ("run", "{}", "hello"), ("run", FIRST, "hello", "--preset", "{}"), ("ls", "--{}"),
     ("run", FIRST, "hello", "--temperature", "{}"), ("show", FIRST, "--estimate", "--dtype", "{}")],
    ids=" ".join,
)  # fmt: skip
def test_s1_a_complaint_about_an_argument_shows_it_as_text(
    home: Path, modeldeck: Modeldeck, arguments: tuple[str, ...]
) -> None:
    make_hostile_home(home, REPLIES)
    for text in (CORPUS.replace("\0", ""), SEQUENCES["OSC 52 clipboard"], SEQUENCES["8-bit CSI"]):
        ended = modeldeck(*(one.replace("{}", text) for one in arguments))
        assert ended.code != 0
        assert ended.err
        assert_text(ended)


def test_a_command_line_that_is_wrong_is_told_as_before(modeldeck: Modeldeck) -> None:
    ended = modeldeck("nonsense")
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("Usage: modeldeck")
    assert "No such command 'nonsense'" in ended.err
