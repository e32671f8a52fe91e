from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Verdict, difference, each, level, ratio
from benchmarks.turns import in_turns, in_turns_on_loop

figures = st.lists(st.floats(0.01, 100), min_size=3, max_size=12)


def test_a_clear_difference_is_met_or_missed() -> None:
    ours, theirs = [1.0, 1.1, 0.9, 1.0], [2.0, 2.1, 2.0, 1.9]
    assert ratio("x", "y", ours, theirs, target=0.8).verdict == "met"
    assert ratio("x", "y", ours, theirs, target=0.3).verdict == "missed"
    assert ratio("x", "y", ours, theirs, target=0.3, at_most=False).verdict == "met"
    assert ratio("x", "y", ours, theirs, target=0.8, at_most=False).verdict == "missed"
    assert ratio("x", "y", ours, theirs, target=None).verdict == "no target"


def test_noise_around_the_target_decides_nothing() -> None:
    chance = random.Random(1)
    theirs = [chance.uniform(0.5, 2) for _ in range(10)]
    ours = [chance.uniform(0.5, 2) for _ in range(10)]
    assert ratio("x", "y", ours, theirs, target=1.0).verdict == "undecided"


def test_one_pair_decides_nothing() -> None:
    assert ratio("x", "y", [1.0], [100.0], target=0.5).verdict == "undecided"


@pytest.mark.parametrize(("pairs", "verdict"), [(2, "undecided"), (3, "met")])
def test_two_pairs_of_lateness_decide_nothing(pairs: int, verdict: Verdict) -> None:
    assert difference("late", "idle", [5.0] * pairs, [1.0] * pairs, target=20.0).verdict == verdict


@given(figures)
def test_the_same_figures_have_the_ratio_one(values: list[float]) -> None:
    result = ratio("x", "y", values, values, target=1.0)
    assert (result.low, result.value, result.high) == (1.0, 1.0, 1.0)
    assert result.verdict == "met"


@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)), min_size=1, max_size=8))
def test_the_interval_holds_the_median_and_stays_within_the_pairs(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    result = ratio("x", "y", ours, theirs, target=1.0)
    ratios = [a / b for a, b in pairs]
    assert min(ratios) <= result.low <= result.value <= result.high <= max(ratios)


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], [1.0, 2.0]), ([0.0], [1.0])])
def test_what_is_no_pair_is_refused(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match=r"pairs|positive"):
        ratio("x", "y", ours, theirs, target=1.0)


def test_the_first_to_go_changes_each_time() -> None:
    order: list[str] = []

    def measured(name: str) -> float:
        order.append(name)
        return 1.0

    in_turns(3, lambda: measured("a"), lambda: measured("b"))
    assert order == ["a", "b", "b", "a", "a", "b"]


async def test_the_first_to_go_changes_each_time_on_a_loop_too() -> None:
    order: list[str] = []

    async def measured(name: str) -> float:
        order.append(name)
        return float(len(order))

    pairs = await in_turns_on_loop(3, lambda: measured("a"), lambda: measured("b"))
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert pairs == ((1.0, 4.0, 5.0), (2.0, 3.0, 6.0))


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([10.0, 12.0, 11.0, 13.0], "met"),
        ([50.0, 50.0, 50.0], "met"),
        ([60.0, 62.0, 61.0, 63.0], "missed"),
        ([10.0, 90.0, 12.0, 88.0, 45.0], "undecided"),
        ([10.0, 11.0], "undecided"),
    ],
)
def test_a_limit_is_met_only_where_the_whole_interval_is_within(values: list[float], verdict: Verdict) -> None:
    assert level("x", values, target=50.0, unit="ms").verdict == verdict


def test_where_each_round_shall_meet_the_target_one_that_does_not_is_enough() -> None:
    assert each("cancel", [71.0, 88.0, 142.0], target=300, unit="ms").verdict == "met"
    missed = each("cancel", [71.0, 88.0, 301.0], target=300, unit="ms")
    assert missed.verdict == "missed"
    assert str(missed) == "cancel: 88.0 ms (71.0 to 301), 3 rounds, each at most 300 ms: missed"
    assert missed.detail == "2 of 3 within"


def test_a_figure_tells_what_was_measured_against_what() -> None:
    found = ratio("start", "a bare app", [1.0, 1.1, 1.2], [1.0, 1.0, 1.0], target=1.3)
    assert str(found) == (
        "start against a bare app: 1.10x (1.00 to 1.20), 3 rounds, at most 1.3x: met   (ours 1.10 s, theirs 1.00 s)"
    )
