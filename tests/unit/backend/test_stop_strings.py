from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeck.backend.engine.stop_strings import StopFilter

letters = st.text("ab\n", max_size=30)


@given(st.lists(letters, max_size=12), st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3))
def test_however_the_text_is_cut_it_ends_before_the_first_stop_string(pieces: list[str], stops: list[str]) -> None:
    whole = "".join(pieces)
    stop_filter = StopFilter(stops)
    shown = "".join(stop_filter.feed(piece) for piece in pieces) + stop_filter.rest()
    if not any(stop in whole for stop in stops):
        assert (shown, stop_filter.found) == (whole, False)
    else:
        assert stop_filter.found
        assert whole.startswith(shown)
        assert not any(stop in shown for stop in stops)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["Hello", " wor", "ld\nUs", "er: hi"], "Hello world"),
        (["\nUser:"], ""),
        (["a\nUse", "d it"], "a\nUsed it"),
    ],
)
def test_a_stop_string_over_several_pieces(pieces: list[str], expected: str) -> None:
    stop_filter = StopFilter(["\nUser:"])
    assert "".join(stop_filter.feed(piece) for piece in pieces) + stop_filter.rest() == expected


def test_without_stop_strings_nothing_is_held_back() -> None:
    assert StopFilter([]).feed("text") == "text"
