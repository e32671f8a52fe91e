"""Textual's driver of the terminal, with two mistakes mended."""

from __future__ import annotations

import asyncio
import signal
from codecs import IncrementalDecoder, getincrementaldecoder
from functools import partial
from types import FrameType

from textual.drivers import linux_driver


class TerminalDriver(linux_driver.LinuxDriver):
    """Takes bytes that are no UTF-8 for a character that nobody knows, and sizes in their order.

    A Latin-1 terminal sends such bytes, and so does a paste of binary data. Textual's own reader ends with the whole
    app then. And Textual measures the window in the signal's handler, which the next signal interrupts: of two sizes
    in quick succession the older came last, and stayed. Here the loop measures, one signal after the other.
    """

    def start_application_mode(self) -> None:
        """Take the terminal, and be told of its sizes from now on."""
        super().start_application_mode()  # type: ignore[no-untyped-call]  # as Textual has it
        measure, loop = signal.getsignal(signal.SIGWINCH), asyncio.get_running_loop()
        if not callable(measure):
            return  # in the background of a shell there is no window

        def resized(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(measure, number, frame)

        signal.signal(signal.SIGWINCH, resized)

    def run_input_thread(self) -> None:
        """Read keys until the app leaves."""
        vars(linux_driver)["getincrementaldecoder"] = _lenient  # the reader looks it up there
        super().run_input_thread()


def _lenient(encoding: str) -> partial[IncrementalDecoder]:
    return partial(getincrementaldecoder(encoding), errors="replace")
