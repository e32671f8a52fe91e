"""Leaving while much is going on: one question, then a clean shell at once."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest

from tests.fakes.engine_python import use_scripted_engine
from tests.fakes.hub_server import Slow, hub_server
from tests.terminal.harness import assert_restored, terminal
from tests.terminal.test_terminal import load, say
from tests.unit.cli.conftest import write_model

pytestmark = pytest.mark.pty
STUBBORN = "ignore stop\nignore term\nignore shutdown\nignore eof\n"


def test_f30_leaving_during_a_reply_and_a_download_asks_once_and_leaves_nothing(home: Path, tmp_path: Path) -> None:
    write_model(home / "models" / "tiny-llama")
    script = f"{STUBBORN}reply-gate {tmp_path}/gate\nreply seven words that are not said yet\nserve"
    use_scripted_engine(home).write_text(script)
    weights = Slow(bytes(2_000_000))
    with hub_server() as hub:
        hub.repos["org/slow"] = {"config.json": b'{"model_type": "llama"}', "model.safetensors": weights}
        with terminal(HF_ENDPOINT=hub.url, HF_HUB_DISABLE_XET="1") as opened:
            load(opened)
            say(opened, "good morning")
            opened.wait_for("seven words")
            opened.press("shift+tab", "a")
            opened.wait_for("Add a model")
            opened.press("org/slow", "enter")
            opened.wait_for(weights.started.is_set)
            opened.wait_for("DOWNLOADING org/slow")
            opened.wait_for(lambda: len(opened.children()) >= 4)  # two engines, the scanner, the download
            opened.press("ctrl+q")
            opened.wait_for("A reply and a download are still running.")
            answered = monotonic()
            opened.press("enter")
            assert opened.ended(5) == 0
            assert monotonic() - answered < 3
            assert_restored(opened)
            assert not any(child.is_running() for child in opened.seen)
