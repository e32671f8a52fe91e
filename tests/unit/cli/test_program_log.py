"""The log file: private, rotated, without secrets."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from logging.handlers import QueueHandler, RotatingFileHandler
from pathlib import Path
from queue import SimpleQueue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeck.backend.redaction import redact
from modeldeck.tui import program_log
from modeldeck.tui.program_log import MAX_BYTES, start_logging


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """The program's log; it is let go after the test."""
    root = logging.getLogger()
    before = list(root.handlers)
    yield tmp_path / "state" / "log" / "modeldeck.log"
    for handler in set(root.handlers) - set(before):
        root.removeHandler(handler)
        handler.close()


def written(log: Path) -> str:
    """What is in the file once everything is written."""
    for handler in logging.getLogger().handlers:
        handler.flush()
    return log.read_text()


def test_s14_lines_and_tracebacks_are_kept_without_tokens(log: Path) -> None:
    start_logging(log)
    try:
        raise ValueError("Authorization: Bearer abcdefghijkl and hf_abcdefghijKLMNOP")
    except ValueError:
        logging.getLogger("modeldeck.test").exception("failed with %s", "hf_0123456789abcdef")
    text = written(log)
    assert "failed with hf_[removed]" in text
    assert "ValueError" in text
    assert "abcdefghij" not in text
    assert "0123456789" not in text


def test_control_characters_cannot_reach_whoever_reads_the_file(log: Path) -> None:
    start_logging(log)
    logging.getLogger("modeldeck.engine").info("\x1b]0;title\x07")
    assert "\x1b" not in written(log)


def test_the_file_is_written_in_a_thread_and_whole_at_the_end(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[threading.Thread] = set()
    write = RotatingFileHandler.emit

    def noted(handler: RotatingFileHandler, record: logging.LogRecord) -> None:
        threads.add(threading.current_thread())
        write(handler, record)

    monkeypatch.setattr(RotatingFileHandler, "emit", noted)
    start_logging(log)
    for number in range(2000):
        logging.getLogger("modeldeck.engine").info("line %d", number)
    logging.getLogger().handlers[-1].close()
    assert log.read_text().count("line ") == 2000
    assert threading.main_thread() not in threads


def test_s18_file_and_folder_are_private_even_when_the_file_was_not(log: Path) -> None:
    log.parent.mkdir(parents=True)
    log.touch(mode=0o644)
    start_logging(log)
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_long_log_is_put_aside(log: Path) -> None:
    start_logging(log)
    log.write_bytes(b"x" * MAX_BYTES)
    logging.getLogger("modeldeck").info("the next line")
    text = written(log)
    assert log.with_name("modeldeck.log.1").stat().st_size == MAX_BYTES
    assert "the next line" in text
    assert log.stat().st_mode & 0o777 == 0o600


def test_f20_a_log_that_cannot_be_written_is_no_reason_to_stop(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    before = list(logging.getLogger().handlers)
    start_logging(tmp_path / "file" / "modeldeck.log")
    assert logging.getLogger().handlers == before


@given(st.text(), st.from_regex(r"hf_[A-Za-z0-9]{20,40}", fullmatch=True), st.text())
def test_s14_a_token_is_found_wherever_a_word_begins(before: str, token: str, after: str) -> None:
    assert token not in redact(f"{before} {token} {after}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("HF_TOKEN=hf_0123456789abcdefghij", "HF_TOKEN=hf_[removed]"),
        ("my_hf_0123456789abcdefghij", "my_hf_[removed]"),
        ("api_org_0123456789abcdefghij", "hf_[removed]"),
        ("hf_oauth_eyJhbGciOi.JIUzI1-NiIsInR", "hf_[removed]"),
        ("{'authorization': 'Bearer abcdefgh.ijkl'}", "{'authorization': 'Bearer [removed]'}"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [removed]"),
        ("proxy http://me:secret@proxy:3128 refused", "proxy http://[removed]@proxy:3128 refused"),
        ("hf_quantizer of /models/hf_model-00001.safetensors at http://host:80/a@b", None),
    ],
)
def test_s14_every_kind_of_credential_is_taken_out_and_nothing_else(text: str, said: str | None) -> None:
    assert redact(text) == (said or text)


def test_f14_a_flood_of_lines_takes_no_more_memory_than_the_queue_may(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_again = threading.Event()
    write = RotatingFileHandler.emit

    def slowly(handler: RotatingFileHandler, record: logging.LogRecord) -> None:
        open_again.wait()
        write(handler, record)

    monkeypatch.setattr(RotatingFileHandler, "emit", slowly)
    monkeypatch.setattr(program_log, "MOST_WAITING", 100)
    start_logging(log)
    handler = logging.getLogger().handlers[-1]
    assert isinstance(handler, QueueHandler)
    assert isinstance(handler.queue, SimpleQueue)
    engine = logging.getLogger("modeldeck.engine")
    for number in range(2000):
        engine.info("line %d", number)
    engine.error("this one is kept")
    waiting = handler.queue.qsize()
    open_again.set()
    assert waiting <= 103
    text = written(log)
    assert 100 <= text.count("line ") <= 102
    assert "lines came too fast to be kept" in text
    assert text.splitlines()[-1].endswith("this one is kept")
