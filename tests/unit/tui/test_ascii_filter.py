"""What stands in for a drawn character takes one cell and is ASCII."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.color import Color

from modeldeck.tui.ascii_filter import DRAWN, AsciiFilter


def test_everything_drawn_becomes_one_ascii_character_of_the_same_width() -> None:
    for code, plain in DRAWN.items():
        assert plain.isascii()
        assert len(plain) == 1
        assert cell_len(chr(code)) == 1, chr(code)


def test_lines_are_lines_and_corners_are_corners() -> None:
    line = [Segment("╭─┬─╮│▏▁█", Style(bold=True)), Segment("日本 é", None)]
    drawn = AsciiFilter().apply(line, Color(0, 0, 0))
    assert [segment.text for segment in drawn] == ["+-+-+||_#", "日本 é"]
    assert drawn[0].style == Style(bold=True)


def test_f32_what_the_encoding_of_the_terminal_has_not_takes_as_many_cells_as_before() -> None:
    (drawn,) = AsciiFilter("iso8859-1").apply([Segment("│日本 é ü", None)], Color(0, 0, 0))
    assert drawn.text == "|???? é ü"
