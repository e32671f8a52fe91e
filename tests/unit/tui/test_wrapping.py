from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from modeldeck.tui.wrapping import GrowingText


def test_breaks_between_words_and_inside_a_word_that_is_too_long() -> None:
    text = GrowingText(10)
    text.extend("one two three fourfourfourfour x\nnew")
    assert [row.rstrip() for row in text.rows] == ["one two", "three", "fourfourfo", "urfour x", "new"]


def test_code_breaks_at_the_edge() -> None:
    text = GrowingText(4, words=False)
    text.extend("ab cdef\n\tx")
    assert text.rows == ["ab c", "def", "    ", "x"]


def test_extend_tells_the_first_row_that_changed() -> None:
    text = GrowingText(20)
    text.extend("one\ntwo\nth")
    assert text.extend("ree") == 2
    assert text.rows == ["one", "two", "three"]


@given(st.lists(st.text(alphabet="ab \n漢\u0301é", max_size=12), max_size=12), st.integers(min_value=2, max_value=12))
def test_no_row_is_wider_and_no_letter_is_lost(pieces: list[str], width: int) -> None:
    text = GrowingText(width)
    for piece in pieces:
        text.extend(piece)
    assert all(cell_len(row.rstrip()) <= width for row in text.rows)
    assert "".join("".join(text.rows).split()) == "".join("".join(pieces).split())


@given(st.lists(st.text(alphabet="ab \n", max_size=12), max_size=12), st.integers(min_value=2, max_value=12))
def test_growing_wraps_like_wrapping_once(pieces: list[str], width: int) -> None:
    grown, once = GrowingText(width), GrowingText(width)
    for piece in pieces:
        grown.extend(piece)
    once.extend("".join(pieces))
    assert [row.rstrip() for row in grown.rows if row.strip()] == [row.rstrip() for row in once.rows if row.strip()]
