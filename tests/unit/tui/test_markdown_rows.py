"""Markdown as rows: what hundreds of replies have in common is there once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from modeldeck.tui.markdown_rows import Look, MarkdownRenderer

LOOK = Look("default", "default", "default", dark=True)
SOURCE = "# One\n\n- *two*\n- ~~three~~ [four](https://example.org)\n\n| a | b |\n|---|---|\n| c | d |\n"


def rows(width: int) -> list[str]:
    """What a reply of its own draws."""
    return [strip.text for strip in MarkdownRenderer(width, LOOK).rows(SOURCE)]


def test_every_renderer_has_the_same_parser() -> None:
    assert MarkdownRenderer(40, LOOK)._parser is MarkdownRenderer(60, LOOK)._parser
    assert MarkdownRenderer(40, LOOK)._parser is not MarkdownRenderer(40, LOOK, image_addresses=False)._parser


def test_threads_that_share_the_parser_draw_the_same() -> None:
    expected = rows(60)
    with ThreadPoolExecutor(4) as threads:
        assert all(drawn == expected for drawn in threads.map(rows, [60] * 40))
