"""How fast a load goes and what is left of it, on a clock of the test's own."""

from __future__ import annotations

from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeck.backend.load_pace import LoadPace, Rate
from modeldeck.backend.load_times import StageTime
from modeldeck.backend.models import LoadStage as S
from modeldeck.backend.protocol import LoadProgress

GB = 10**9
TOTAL = 20 * GB
PAST = {
    S.STARTING: StageTime(4.0),
    S.READING_CONFIG: StageTime(1.0),
    S.READING_WEIGHTS: StageTime(10.0, TOTAL),
    S.WARMING_UP: StageTime(3.0),
}


def weights(done: int, total: int = TOTAL) -> LoadProgress:
    return LoadProgress(1, S.READING_WEIGHTS, done, total, "bytes")


def reading(pace: LoadPace, start: float, seconds: float, per_second: int, done: int = 0) -> int:
    """Ten reports a second from ``start`` on; returns the bytes that are done at the end."""
    for tick in range(round(seconds * 10) + 1):
        pace.see(weights(done + tick * per_second // 10), start + tick / 10)
    return done + round(seconds * per_second)


class TestRate:
    def test_it_is_that_of_the_last_moments(self) -> None:
        rate = Rate()
        for second in range(10):
            rate.see(second * 100, second)
        for second in range(10):
            rate.see(1000 + second * 10, 10 + second)
        assert rate.over(2.0, 19.0) == pytest.approx(10)
        assert rate.over(10.0, 19.0) == pytest.approx(19)

    def test_it_is_not_told_before_half_a_second_of_it_was_seen(self) -> None:
        rate = Rate()
        assert rate.over(2.0, 0.0) is None
        rate.see(0, 0.0)
        rate.see(100, 0.4)
        assert rate.over(2.0, 0.4) is None
        assert rate.over(2.0, 0.5) == pytest.approx(200)

    def test_large_steps_with_long_waits_between_them_are_no_standstill(self) -> None:
        rate = Rate()
        for step in range(4):
            rate.see(step * GB, step * 5.0)
        assert rate.over(2.0, 15.1) == pytest.approx(GB / 5, rel=0.1)
        assert rate.over(2.0, 19.0) == pytest.approx(GB / 9, rel=0.1)

    def test_after_a_long_standstill_there_is_none(self) -> None:
        rate = Rate()
        rate.see(0, 0.0)
        rate.see(GB, 1.0)
        assert rate.over(2.0, 11.5) is None

    def test_it_keeps_no_more_than_it_needs(self) -> None:
        rate = Rate()
        for tick in range(10_000):
            rate.see(tick, tick / 10)
        assert len(rate._steps) < 110


class TestWithoutAPast:
    def test_nothing_is_said_before_the_weights_were_read_for_two_seconds(self) -> None:
        pace = LoadPace({}, 0.0)
        assert pace.seconds_left(0.0) is None
        reading(pace, 1.0, 1.9, GB)
        assert pace.seconds_left(2.9) is None
        reading(pace, 2.9, 0.2, GB, 19 * GB // 10)
        assert pace.seconds_left(3.1) == pytest.approx(18, abs=0.2)

    def test_what_follows_the_weights_is_not_known_so_the_last_seconds_are_not_told(self) -> None:
        pace = LoadPace({}, 0.0)
        reading(pace, 0.0, 14.0, GB)
        assert pace.seconds_left(14.0) == pytest.approx(6)
        reading(pace, 14.0, 2.0, GB, 14 * GB)
        assert pace.seconds_left(16.0) is None
        reading(pace, 16.0, 4.0, GB, 16 * GB)
        assert pace.seconds_left(20.0) is None
        pace.see(LoadProgress(1, S.WARMING_UP), 20.1)
        assert pace.seconds_left(20.1) is None

    def test_tensors_are_counted_as_bytes_are_but_have_no_rate(self) -> None:
        pace = LoadPace({}, 0.0)
        for tick in range(31):
            pace.see(LoadProgress(1, S.MOVING, tick, 100, "tensors"), tick / 10)
        assert pace.seconds_left(3.0) == pytest.approx(7)
        assert pace.bytes_per_second(3.0) is None


class TestWithAPast:
    def test_before_the_weights_it_is_what_all_stages_took(self) -> None:
        pace = LoadPace(PAST, 100.0)
        assert pace.seconds_left(101.0) == pytest.approx(17)
        pace.see(LoadProgress(1, S.READING_CONFIG), 102.0)
        assert pace.seconds_left(102.5) == pytest.approx(13.5)

    def test_what_is_seen_replaces_the_past_of_the_weights_within_two_seconds(self) -> None:
        pace = LoadPace(PAST, 0.0)
        reading(pace, 0.0, 0.0, GB)
        assert pace.seconds_left(0.0) == pytest.approx(13)
        reading(pace, 0.0, 1.0, GB // 2)
        assert 13 < (pace.seconds_left(1.0) or 0) < 3 + 39
        reading(pace, 1.0, 2.0, GB // 2, GB // 2)
        assert pace.seconds_left(3.0) == pytest.approx(3 + 37)

    def test_a_load_from_the_page_cache_is_soon_known_to_be_one(self) -> None:
        pace = LoadPace({**PAST, S.READING_WEIGHTS: StageTime(100.0, TOTAL)}, 0.0)
        reading(pace, 0.0, 2.0, 4 * GB)
        assert pace.seconds_left(2.0) == pytest.approx(3 + 3)

    def test_a_disk_that_becomes_slower_makes_it_longer(self) -> None:
        pace = LoadPace(PAST, 0.0)
        done = reading(pace, 0.0, 5.0, 2 * GB)
        reading(pace, 5.0, 10.0, GB // 10, done)
        assert pace.seconds_left(15.0) == pytest.approx(3 + 90, rel=0.05)

    def test_nothing_is_said_of_weights_that_stand_still(self) -> None:
        pace = LoadPace(PAST, 0.0)
        reading(pace, 0.0, 4.0, GB)
        assert pace.seconds_left(15.0) is None
        assert pace.bytes_per_second(15.0) is None

    def test_nothing_is_said_where_the_weights_never_begin(self) -> None:
        pace = LoadPace(PAST, 0.0)
        pace.see(weights(0), 0.0)
        assert pace.seconds_left(5.0) is not None
        assert pace.seconds_left(15.0) is None

    def test_the_past_of_another_amount_of_weights_says_nothing_of_these(self) -> None:
        pace = LoadPace(PAST, 0.0)
        pace.see(weights(0, 2 * TOTAL), 0.0)
        assert pace.seconds_left(0.5) is None

    def test_the_last_stage_runs_out_and_then_nothing_is_said(self) -> None:
        pace = LoadPace(PAST, 0.0)
        pace.see(LoadProgress(1, S.WARMING_UP), 10.0)
        assert [pace.seconds_left(10.0 + after) for after in (0, 1, 2.4, 2.6, 5, 60)] == pytest.approx(
            [3, 2, 0.6, None, None, None]
        )

    def test_an_earlier_stage_that_takes_much_too_long_leaves_it_open(self) -> None:
        pace = LoadPace(PAST, 0.0)
        assert pace.seconds_left(5.0) == pytest.approx(14)
        assert pace.seconds_left(7.5) is None

    def test_weights_that_are_all_there_leave_what_follows(self) -> None:
        pace = LoadPace(PAST, 0.0)
        reading(pace, 0.0, 10.0, 2 * GB)
        assert pace.seconds_left(10.5) == pytest.approx(3)
        assert pace.seconds_left(20.0) is None

    def test_weights_that_are_in_memory_already_are_not_moved_once_more(self) -> None:
        cold = {S.READING_WEIGHTS: StageTime(10.0, TOTAL + 9000), S.MOVING: StageTime(8.0, TOTAL)}
        warm = LoadPace(cold, 0.0)
        reading(warm, 0.0, 3.0, GB)
        assert warm.seconds_left(3.0) == pytest.approx(17)
        again = LoadPace(cold, 0.0)
        again.see(weights(0, TOTAL + 9000), 0.0)
        assert again.seconds_left(0.0) == pytest.approx(18)


def test_the_times_of_a_load_are_those_of_its_stages() -> None:
    pace = LoadPace({}, 0.0)
    pace.see(LoadProgress(1, S.READING_CONFIG), 4.0)
    reading(pace, 5.0, 10.0, 2 * GB)
    pace.see(LoadProgress(1, S.WARMING_UP), 15.5)
    assert pace.times(18.0) == {
        S.STARTING: StageTime(4.0),
        S.READING_CONFIG: StageTime(1.0),
        S.READING_WEIGHTS: StageTime(10.5, TOTAL),
        S.WARMING_UP: StageTime(2.5),
    }


def test_a_load_that_begins_again_counts_from_there() -> None:
    pace = LoadPace({}, 0.0)
    reading(pace, 1.0, 3.0, GB)  # a prepared copy that turns out to be damaged
    pace.see(LoadProgress(1, S.READING_CONFIG), 4.0)
    pace.see(LoadProgress(1, S.WARMING_UP), 5.0)
    assert pace.times(6.0) == {S.READING_CONFIG: StageTime(1.0), S.WARMING_UP: StageTime(1.0)}


_SECONDS = st.floats(0, 1e5, allow_subnormal=False)
_COUNTS = st.integers(0, 2**63 - 1)
_TIMES = st.builds(StageTime, _SECONDS, _COUNTS)


@given(
    st.dictionaries(st.sampled_from(S), _TIMES),
    st.lists(st.tuples(st.sampled_from(S), st.lists(_COUNTS, min_size=1, max_size=8), _COUNTS), max_size=8),
    st.data(),
)
def test_what_is_left_is_a_number_above_zero_or_unknown(
    past: dict[S, StageTime], stages: list[tuple[S, list[int], int]], data: st.DataObject
) -> None:
    now = 0.0
    pace = LoadPace(past, now)
    for stage, counts, total in sorted(stages, key=lambda one: list(S).index(one[0])):
        for done in sorted(counts):
            now += data.draw(_SECONDS)
            pace.see(LoadProgress(1, stage, done, total, "bytes"), now)
            for later in (0.0, 0.5, 3.0, data.draw(_SECONDS)):
                left, rate = pace.seconds_left(now + later), pace.bytes_per_second(now + later)
                assert left is None or (isfinite(left) and left >= 0.5)
                assert rate is None or (isfinite(rate) and rate > 0)
    assert all(isfinite(time.seconds) and time.seconds >= 0 for time in pace.times(now).values())
