"""What tests of every layer share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

from textual.app import App
from textual.pilot import Pilot


def screen_text(app: App[Any]) -> str:
    """The screen as plain lines, as a user would read it."""
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


async def wait_until(pilot: Pilot[Any], condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Let the app run until the condition holds; a timeout fails with the screen in the message."""
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"never happened:\n{screen_text(pilot.app)}"
        await pilot.pause(0.01)


async def eventually(condition: Callable[[], object], seconds: float = 10.0, what: str = "the condition") -> None:
    """Wait without an app until the condition holds."""
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"{what} never held"
        await asyncio.sleep(0.01)
