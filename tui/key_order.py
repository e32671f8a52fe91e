"""Keys in the order in which they were typed, also when a slow link delivers many at once.

Textual hands a key to the widget with the focus and looks for its binding only when the key has bubbled up again, so
the next character may overtake a key that moves the focus, breaks the line or sends it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from textual import events
from textual.app import App

LONGEST_WAIT = 0.25
"""Seconds; a widget that is busy for longer (it may wait for a dialog that needs keys) no longer holds up the next."""

Handler = Callable[[events.Event], Awaitable[None]]


class KeyOrder:
    """Hands on one key or paste at a time, and the next when all that could handle it have had it.

    Behind each key runs a callback through the same queues, from the widget with the focus up to the app: where it
    arrives, the key has been before it.
    """

    def __init__(self, app: App[Any], handle: Handler) -> None:
        self._app = app
        self._handle = handle
        self._waiting: deque[events.Event] = deque()
        self._under_way: object | None = None
        self._deadline: asyncio.TimerHandle | None = None

    async def take(self, event: events.Event) -> None:
        """Hand the event on now, or when its turn comes."""
        if self._under_way is not None:
            self._waiting.append(event)
        else:
            await self._hand_on(event)

    async def _hand_on(self, event: events.Event) -> None:
        self._under_way = turn = object()
        target = self._app.focused or self._app.screen
        way_up = target.ancestors_with_self
        route = [*way_up, *way_up, self._app]  # twice: what a binding posts, and the focus that it moves, come later
        await self._handle(event)
        self._deadline = asyncio.get_running_loop().call_later(
            LONGEST_WAIT, lambda: self._app.call_later(self._finish, turn)
        )
        self._follow(route, turn)

    def _follow(self, route: list[Any], turn: object) -> None:
        """Queue behind the key at the next node that still takes messages."""
        while route:
            node = route.pop(0)
            step = partial(self._follow, route, turn) if route else partial(self._finish, turn)
            if node.call_later(step):
                return

    async def _finish(self, turn: object) -> None:
        if turn is not self._under_way:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self._under_way = None
        if self._waiting:
            await self._hand_on(self._waiting.popleft())
