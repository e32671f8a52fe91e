"""Limits of memory as people type them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeck.tui.memory_limits import limits_text, parse_limits

GB = 10**9


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("", {}),
        ("cuda:0=20", {"cuda:0": 20 * GB}),
        (" cuda:0 = 20,cpu=0.5 ", {"cuda:0": 20 * GB, "cpu": GB // 2}),
        ("cuda:0=0", {"cuda:0": 0}),
    ],
)
def test_what_is_a_limit(text: str, limits: dict[str, int]) -> None:
    assert parse_limits(text) == limits


@pytest.mark.parametrize("text", ["20", "cuda=20", "cuda:0", "cuda:0=-1", "cuda:0=x", "cuda:0=1 cuda:0=2", "gpu:0=1"])
def test_what_is_none(text: str) -> None:
    assert parse_limits(text) is None


@given(
    st.dictionaries(st.sampled_from(["cpu", "cuda:0", "cuda:12"]), st.integers(0, 999_999).map(lambda mb: mb * 10**6))
)
def test_what_is_shown_can_be_read_again(limits: dict[str, int]) -> None:
    assert parse_limits(limits_text(limits)) == limits


@given(st.text(max_size=80))
def test_any_text_is_limits_or_none(text: str) -> None:
    found = parse_limits(text)
    assert found is None or all(limit >= 0 for limit in found.values())
