"""Python's garbage collector, kept from standing between a key and its frame."""

from __future__ import annotations

import gc

_THRESHOLDS = (2_000, 10, 50)
"""Python's own are 700, 10 and 10; a frame makes 5,000 objects and keeps none, so each would be looked through."""

_START_THRESHOLDS = (100_000, 10, 50)
"""What a start makes is there to stay: with Python's own the collector went through it 130 times, 40 ms in all."""


def spare_the_start() -> None:
    """Hardly look at anything until ``spare_what_stays`` is called. Call it before anything large is imported."""
    gc.set_threshold(*_START_THRESHOLDS)


def spare_what_stays() -> None:
    """Never look again through what is there now: modules, panes, models.

    The collector takes 20 ms for the panes alone, and 30 more for 10,000 models. Call it when something large has come
    to stay, and when nobody waits: it looks through everything once more.
    """
    gc.collect()  # what is garbage now would stay as well
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


def sweep() -> None:
    """Look through everything that came later, once many widgets were taken away; they hold each other.

    Left to itself the collector comes so late that the program takes 10 MB more by then, which it never gives back, for
    what stays lies scattered through them.
    """
    gc.collect()
