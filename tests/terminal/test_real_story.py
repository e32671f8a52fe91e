"""A new user's first hour, with the real engine and real weights: load, talk, tune, leave, come back."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

from modeldeck.config.generation import GenerationSettings
from modeldeck.config.store import GenerationStore
from tests.terminal.harness import Terminal, is_alive, terminal
from tests.terminal.test_terminal import LOADED, set_temperature

pytestmark = [pytest.mark.pty, pytest.mark.real_model, pytest.mark.timeout(400)]


def test_load_the_starter_hold_three_turns_change_the_temperature_quit_and_find_it_kept(home: Path) -> None:
    GenerationStore(home / ".config" / "modeldeck" / "generation.toml").save(
        None, GenerationSettings(max_new_tokens=24, seed=1)
    )
    with terminal(columns=120, rows=45) as opened:
        opened.wait_for("SmolLM2", 60)
        opened.wait_for("enter loads", 60)
        opened.press("enter")
        opened.wait_for(LOADED, 180)
        opened.press("tab")
        opened.wait_for("Send")
        for turn, prompt in enumerate(("Say hello.", "What is two plus two?", "Thank you."), start=1):
            opened.press(prompt)
            opened.wait_for(f"> {prompt}")
            opened.press("enter")
            opened.wait_for(partial(_replies, opened, turn), 120)
        set_temperature(opened, "0.35")
        opened.press("ctrl+q")
        assert opened.ended(30) == 0
        assert not any(is_alive(child) for child in opened.seen)
    assert "temperature = 0.35" in (home / ".config" / "modeldeck" / "generation.toml").read_text()
    with terminal(columns=120, rows=45) as opened:
        opened.wait_for("temp 0.35", 60)


def _replies(opened: Terminal, wanted: int) -> bool:
    """Whether so many replies have ended: the line with the figures then says why; a running one says none."""
    return len(re.findall(r"· (stop|length)\b", opened.text)) >= wanted
