from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.compare import Verdict, compare, in_turns, in_turns_on_loop, within
from benchmarks.ui_delay import _report

figures = st.lists(st.floats(0.01, 100), min_size=3, max_size=12)


def test_a_clear_difference_is_met_or_missed() -> None:
    ours, theirs = [1.0, 1.1, 0.9, 1.0], [2.0, 2.1, 2.0, 1.9]
    assert compare("x", ours, theirs, target=0.8).verdict == "met"
    assert compare("x", ours, theirs, target=0.3).verdict == "missed"
    assert compare("x", ours, theirs, target=0.3, at_most=False).verdict == "met"
    assert compare("x", ours, theirs, target=0.8, at_most=False).verdict == "missed"


def test_noise_around_the_target_decides_nothing() -> None:
    chance = random.Random(1)
    theirs = [chance.uniform(0.5, 2) for _ in range(10)]
    ours = [chance.uniform(0.5, 2) for _ in range(10)]
    assert compare("x", ours, theirs, target=1.0).verdict == "undecided"


def test_one_pair_decides_nothing() -> None:
    assert compare("x", [1.0], [100.0], target=0.5).verdict == "undecided"


@given(figures)
def test_the_same_figures_have_the_ratio_one(values: list[float]) -> None:
    result = compare("x", values, values, target=1.0)
    assert (result.low, result.ratio, result.high) == (1.0, 1.0, 1.0)
    assert result.verdict == "met"


@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)), min_size=1, max_size=8))
def test_the_interval_holds_the_median_and_stays_within_the_pairs(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    result = compare("x", ours, theirs, target=1.0)
    ratios = [a / b for a, b in pairs]
    assert min(ratios) <= result.low <= result.ratio <= result.high <= max(ratios)


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], [1.0, 2.0]), ([0.0], [1.0])])
def test_what_is_no_pair_is_refused(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match=r"pairs|positive"):
        compare("x", ours, theirs, target=1.0)


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

    figures = await in_turns_on_loop(3, lambda: measured("a"), lambda: measured("b"))
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert figures == ((1.0, 4.0, 5.0), (2.0, 3.0, 6.0))


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
    assert within(values, 50.0) == verdict


@pytest.mark.parametrize(("pairs", "verdict"), [(2, "undecided"), (3, "met")])
def test_two_pairs_of_lateness_decide_nothing(pairs: int, verdict: str, capsys: pytest.CaptureFixture[str]) -> None:
    _report("loading", [5.0] * pairs, [1.0] * pairs)
    assert f"ms: {verdict} " in capsys.readouterr().out
