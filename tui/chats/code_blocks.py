"""The code blocks of a reply, to be copied."""

from __future__ import annotations

from modeldeck.tui.markdown_blocks import BlockSplitter, code_lines


def code_blocks(text: str) -> list[str]:
    """What stands in the fences of a Markdown text, in order; an open one at the end counts."""
    splitter = BlockSplitter()
    blocks = [*splitter.feed(text), *splitter.finish()]
    return ["\n".join(code_lines(block)) for block in blocks if block.lstrip()[:3] in {"```", "~~~"}]
