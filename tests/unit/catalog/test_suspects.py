"""What hung is left alone, then tried again, less and less often."""

from __future__ import annotations

import pytest

from modeldeck.backend.catalog.places import Spot
from modeldeck.backend.catalog.suspects import LONGEST_RETRY_SECONDS, RETRY_SECONDS, Suspects

SPOT, OTHER = Spot(b"/mnt/share"), Spot(b"/mnt/other")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def retried(suspects: Suspects, clock: Clock) -> float:
    """How long it was left alone."""
    pause = suspects.due_in
    assert pause is not None
    clock.now += pause
    suspects.forgive()
    return pause


def test_f26_a_spot_that_hangs_again_and_again_waits_longer_each_time(clock: Clock) -> None:
    suspects, pauses = Suspects(clock=clock), []
    for _ in range(7):
        suspects.hung(SPOT, 5.0)
        assert [skip.spot for skip in suspects.skipped] == [SPOT]
        pauses.append(retried(suspects, clock))
        assert suspects.skipped == ()
    assert pauses == [30.0, 60.0, 120.0, 240.0, 480.0, LONGEST_RETRY_SECONDS, LONGEST_RETRY_SECONDS]


def test_f26_each_spot_has_a_time_of_its_own(clock: Clock) -> None:
    suspects = Suspects(clock=clock)
    suspects.hung(SPOT, 5.0)
    clock.now = 10.0
    suspects.hung(OTHER, 5.0)
    assert retried(suspects, clock) == RETRY_SECONDS - 10
    assert [skip.spot for skip in suspects.skipped] == [OTHER]


def test_f26_a_spot_that_answered_and_a_rescan_begin_anew(clock: Clock) -> None:
    suspects = Suspects(clock=clock)
    suspects.hung(SPOT, 5.0)
    retried(suspects, clock)
    suspects.settle()
    suspects.hung(SPOT, 5.0)
    assert suspects.due_in == RETRY_SECONDS
    suspects.clear()
    assert not suspects.skipped
    assert suspects.due_in is None
