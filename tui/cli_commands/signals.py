"""Commands that take long end at the first signal, in good order and with its code."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import TypeVar

import typer

from modeldeck.tui.exit_codes import ExitCode

T = TypeVar("T")
_SIGNALS = {signal.SIGTERM: ExitCode.TERMINATED, signal.SIGHUP: ExitCode.HANGUP, signal.SIGINT: ExitCode.INTERRUPTED}


async def until_signal(work: Coroutine[None, None, T]) -> T:
    """Run to the end, or to the first signal: the work is then cancelled and cleans up after itself.

    Raises ``typer.Exit`` with the signal's code.
    """
    task = asyncio.ensure_future(work)
    ended_by: list[ExitCode] = []

    def end(code: ExitCode) -> None:
        ended_by.append(code)
        task.cancel()

    loop = asyncio.get_running_loop()
    for number, code in _SIGNALS.items():
        loop.add_signal_handler(number, end, code)
    try:
        return await task
    except asyncio.CancelledError:
        if not ended_by:
            raise
        raise typer.Exit(ended_by[0]) from None
