from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from modeldeck.tui import widgets
from tests.helpers import screen_text, wait_until
from tests.tui.test_chat_panel import chatting, say

DRAWS_REPLIES = "modeldeck.tui.widgets.streamed_reply"


class Importers:
    """Notes in which thread a module is looked for."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        if name == DRAWS_REPLIES:
            self.threads.append(threading.current_thread())
        return None


async def test_the_loop_does_not_wait_while_what_draws_replies_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    importers = Importers()
    monkeypatch.delitem(sys.modules, DRAWS_REPLIES)
    monkeypatch.delattr(widgets, DRAWS_REPLIES.rpartition(".")[2])
    monkeypatch.setattr(sys, "meta_path", [importers, *sys.meta_path])
    async with chatting("It is here.") as (app, pilot):
        await say(pilot, "Where?")
        await wait_until(pilot, lambda: "It is here." in screen_text(app))
    assert importers.threads
    assert threading.main_thread() not in importers.threads
