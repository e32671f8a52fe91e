from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeck.tui import format as fmt


@pytest.mark.parametrize(
    ("byte_count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (12_345, "12 kB"),
        (842_000_000, "842 MB"),
        (18_400_000_000, "18.4 GB"),
        (80_000_000_000, "80.0 GB"),
        (999_960_000, "1.0 GB"),
    ],
)
def test_sizes_are_decimal(byte_count: int, shown: str) -> None:
    assert fmt.size(byte_count) == shown


def test_a_pair_of_sizes_shares_the_unit_of_the_total() -> None:
    assert fmt.size_of(52_100_000_000, 141_100_000_000) == "52.1 of 141.1 GB"
    assert fmt.size_of(0, 0) == "0 of 0 B"


@pytest.mark.parametrize(
    ("count", "shown"),
    [(None, "?"), (0, "0"), (135_000_000, "135M"), (8_200_000_000, "8.2B"), (70_600_000_000, "70.6B"), (999, "999")],
)
def test_parameters_read_like_a_model_card(count: int | None, shown: str) -> None:
    assert fmt.parameters(count) == shown


@pytest.mark.parametrize(
    ("duration", "shown"),
    [
        (0.18, "0.18 s"),
        (0.996, "1.0 s"),
        (4.21, "4.2 s"),
        (31.4, "31 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3720, "1 h 02 min"),
    ],
)
def test_durations(duration: float, shown: str) -> None:
    assert fmt.seconds(duration) == shown


@pytest.mark.parametrize("since_1970", [1e300, -1e300, 1e12, -1e12, float("inf"), float("nan")])
def test_a_time_beyond_all_calendars_is_not_known(since_1970: float) -> None:
    assert fmt.moment(since_1970) == "?"
    assert fmt.moment(1.7e9).startswith("2023-11-1")


def test_percent_says_100_only_when_it_is_done() -> None:
    assert (fmt.percent(0.38), fmt.percent(0.9999), fmt.percent(1.0)) == ("38%", "99%", "100%")


@given(st.integers(min_value=0, max_value=10**18))
def test_no_figure_is_wider_than_its_column(count: int) -> None:
    assert len(fmt.size(count)) <= 8
    assert len(fmt.parameters(count)) <= 8
