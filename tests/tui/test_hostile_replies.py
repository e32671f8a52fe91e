from __future__ import annotations

import threading

import pytest
from textual.strip import Strip

from modeldeck.tui.markdown_rows import MarkdownRenderer
from modeldeck.tui.widgets.streamed_reply import StreamedReply
from tests.helpers import screen_text, wait_until
from tests.tui.test_chat_panel import chatting, say

HOSTILE = {
    "live markup": "[@click=app.quit]x[/] [/] [bold red]unclosed [",
    "clipboard write": "a\x1b]52;c;ZXZpbA==\x1b\\b\x9b31m\x07\x00",
    "entities that become controls": 'a&#x202e;b &#27;[31m &#x9b;1m\n\n[t](javascript:alert&#40;1&#41; "&#x202e;")',
    "html": "<script>x</script>\n\n<think>\nwhy\n</think>\n\n<b>y",
    "one long line": "word " * 2000 + "x" * 10_000,
    "endless fence": "```python\n" + "x = [1, 2]\n" * 300,
    "huge fence": "```\n" + "y" * 30_000 + "\n```\n",
    "odd fences": "```" + "[/x]" * 50 + "\ncode\n~~~~\n```\n````a b c\n```\n",
    "right to left": "\u202eevil\u2066 \u05e9\u05dc\u05d5\u05dd **\u0645\u0631\u062d\u0628\u0627**",
    "deep": ">" * 200 + " q\n\n" + "- " * 200 + "x\n\n" + "[" * 500 + "](" * 100 + "*" * 500,
    "odd table": "|a|[b](c)|![i](j)|\n|-|-|-|\n|`|`|**x|\n|1|\n||||||\n\n",
    "links in links": "[![alt *x*](img)](http://h) [a [b](c)](d) [](e) ![](f) [x]: http://y",
    "headings and rules": "####### no\n#\n# \n---\n***\n=\n===\n",
    "lone surrogates and zero width": "a\ud800b\u200b\u200d\ufeff\U0001f469\u200d\U0001f467 e\u0301" + "\u0301" * 100,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("size", [(80, 24), (30, 12)])
async def test_hostile_text_is_only_shown(text: str, size: tuple[int, int]) -> None:
    pieces = [text[start : start + 3000] for start in range(0, len(text), 3000)]
    async with chatting(*pieces, "\n\nTHE END", size=size) as (app, pilot):
        app.replier.gate.clear()
        await say(pilot, "go")
        await wait_until(pilot, lambda: "THE END" in screen_text(app))
        app.replier.gate.set()
        await wait_until(pilot, lambda: "first token" in screen_text(app))
        app.view.scroll_home(animate=False)
        await pilot.pause()
        reply = app.query_one(StreamedReply)
        for y in range(reply.size.height):
            for segment in reply.render_line(y):
                assert not set(segment.text) & set("\x1b\x07\x00\x9b\u202e\u2066")
                assert segment.style is None or segment.style.link is None
                assert segment.style is None or not any(key.startswith("@") for key in segment.style.meta)
        assert app.is_running


async def test_a_resize_draws_the_blocks_again() -> None:
    words = "alpha beta gamma delta epsilon zeta eta theta"
    async with chatting(f"{words}\n\n```\ncode\n```\n") as (app, pilot):
        await say(pilot, "go")
        await wait_until(pilot, lambda: "first token" in screen_text(app))
        assert words in screen_text(app)
        await pilot.resize_terminal(40, 24)
        await wait_until(pilot, lambda: words not in screen_text(app))
        assert "alpha" in screen_text(app)
        assert "theta" in screen_text(app)
        app.theme = "textual-light"
        await pilot.pause()
        assert "theta" in screen_text(app)


class TestLargeBlocks:
    """What takes long to draw must not hold up the keys."""

    @pytest.fixture
    def on_the_loop(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """The sizes of the blocks that were drawn on the thread of the loop."""
        sizes: list[int] = []
        rows = MarkdownRenderer.rows

        def noted(renderer: MarkdownRenderer, source: str) -> list[Strip]:
            if threading.current_thread() is threading.main_thread():
                sizes.append(len(source))
            return rows(renderer, source)

        monkeypatch.setattr(MarkdownRenderer, "rows", noted)
        return sizes

    async def test_a_large_block_of_code_is_drawn_in_a_thread(self, on_the_loop: list[int]) -> None:
        code = "value = [1, 2, 3]\n" * 200
        async with chatting(f"```python\n{code}", "```\n\nTHE END") as (app, pilot):
            await say(pilot, "go")
            await wait_until(pilot, lambda: "first token" in screen_text(app))
            reply = app.query_one(StreamedReply)
            await wait_until(pilot, lambda: len(list(reply.render_line(5))) > 3)  # in colours
            assert reply.render_line(5).text.rstrip() == " value = [1, 2, 3]"
            assert reply.size.height == 1 + 200 + 1 + 2 + 1
        assert all(size < 100 for size in on_the_loop)

    async def test_a_resize_draws_long_replies_in_a_thread(self, on_the_loop: list[int]) -> None:
        text = "alpha *beta* gamma delta epsilon zeta eta theta iota kappa\n\n" * 40
        async with chatting(text) as (app, pilot):
            await say(pilot, "go")
            await say(pilot, "again")
            await wait_until(pilot, lambda: "first token" in screen_text(app))
            reply = app.query(StreamedReply).last()
            await wait_until(pilot, lambda: reply.size.height == 1 + 40 * 2 + 1)
            before = len(on_the_loop)
            await pilot.resize_terminal(40, 24)
            await wait_until(pilot, lambda: reply.size.height == 1 + 40 * 3 + 1)
            await wait_until(pilot, lambda: app.view.scroll_y == app.view.max_scroll_y)
            assert len(on_the_loop) == before
