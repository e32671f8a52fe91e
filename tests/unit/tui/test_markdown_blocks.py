from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from modeldeck.tui.markdown_blocks import MAX_LIST_LINES, BlockSplitter


def split(text: str) -> list[str]:
    splitter = BlockSplitter()
    return [*splitter.feed(text), *splitter.finish()]


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("one\ntwo\n\nthree", ["one\ntwo", "three"]),
        ("# head\ntext", ["# head", "text"]),
        ("- a\n- b\n\n- c\n\nafter", ["- a\n- b\n\n- c", "after"]),
        ("1. a\n\n   more of a\n2. b\ntext", ["1. a\n\n   more of a\n2. b\ntext"]),
        ("intro:\n- a", ["intro:", "- a"]),
        ("```py\na\n\nb\n```\nafter", ["```py\na\n\nb\n```", "after"]),
        ("text\n~~~\n```\n~~~\n", ["text", "~~~\n```\n~~~"]),
        ("- a\n  ```\n  x\n\n\n  y\n  ```\n- b", ["- a\n  ```\n  x\n\n\n  y\n  ```\n- b"]),
        ("```\nendless", ["```\nendless"]),
        ("| a |\n|---|\n| 1 |\n\nx", ["| a |\n|---|\n| 1 |", "x"]),
        ("```not a fence``` text\n", ["```not a fence``` text"]),
        ("\n\n\n", []),
    ],
)
def test_blocks(text: str, blocks: list[str]) -> None:
    assert split(text) == blocks


def test_the_open_block_can_be_read_and_code_comes_without_its_fence() -> None:
    splitter = BlockSplitter()
    assert splitter.feed("done\n\nope") == ["done"]
    assert (splitter.open_text, splitter.in_code) == ("ope", False)
    opened = splitter.opened
    assert splitter.feed("n\n```py\nx = 1\ny") == ["open"]
    assert (splitter.open_text, splitter.in_code) == ("x = 1\ny", True)
    assert splitter.opened != opened


def test_a_long_list_closes_at_an_item() -> None:
    blocks = split("".join(f"- item {number}\n" for number in range(3 * MAX_LIST_LINES)))
    assert len(blocks) == 3
    assert all(block.startswith("- item") for block in blocks)


_PIECES = st.lists(
    st.sampled_from(["text", "\n", "\n\n", "```", "~~~", "- a", "1. b", "  c", "# h", "> q", "|x|", "`", " ", "**b**"]),
    max_size=40,
)


@given(_PIECES, st.integers(min_value=1, max_value=7))
def test_how_the_text_is_cut_into_pieces_makes_no_difference(pieces: list[str], step: int) -> None:
    text = "".join(pieces)
    splitter = BlockSplitter()
    blocks: list[str] = []
    for start in range(0, len(text), step):
        blocks += splitter.feed(text[start : start + step])
    assert [*blocks, *splitter.finish()] == split(text)


@given(_PIECES)
def test_nothing_is_lost(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert "".join("".join(split(text)).split()) == "".join(text.split())


def test_blocks_mean_the_same_as_the_whole() -> None:
    text = "# h\n\npara *one*\nmore\n\n- a\n- b\n\n  deep\n\n1. x\n2. y\n\n```py\ncode\n\nmore\n```\n\n> q\n"
    parser = MarkdownIt("gfm-like", {"html": False, "linkify": False})
    assert "".join(parser.render(block) for block in split(text)) == parser.render(text)
