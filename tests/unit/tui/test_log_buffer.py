from __future__ import annotations

import logging

import pytest

from modeldeck.tui.log_buffer import MAX_LINE_LENGTH, EngineLogBuffer


def test_lines_are_cleaned_cut_and_bounded(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "modeldeck.engine")
    log = EngineLogBuffer(max_lines=3)
    log.append("\x1b]52;c;ZXZpbA==\x07\n")
    log.append("a\nb")
    log.append("x" * 10_000)
    assert log.total == 4
    assert list(log.lines)[:2] == ["a", "b"]
    assert len(log.lines[-1]) == MAX_LINE_LENGTH
    assert "\x1b" not in caplog.text
    assert "␛]52" in caplog.text


def test_newest_gives_what_was_not_seen() -> None:
    log = EngineLogBuffer(max_lines=2)
    for line in "abc":
        log.append(line)
    assert log.newest(0) == ["b", "c"]
    assert log.newest(2) == ["c"]
    assert log.newest(3) == []


def test_subscribers_hear_until_they_leave() -> None:
    log = EngineLogBuffer()
    heard: list[int] = []
    leave = log.subscribe(lambda: heard.append(log.total))
    log.append("one")
    leave()
    leave()
    log.append("two")
    assert heard == [1]
