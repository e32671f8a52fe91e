"""What changes on the screen is drawn as Textual would draw it, and nothing beside it is."""

from __future__ import annotations

import pytest
from textual._compositor import Compositor
from textual.geometry import Region

from modeldeck.backend.models import ModelStatus
from modeldeck.tui.screens.partial_drawing import PartialCompositor
from modeldeck.tui.widgets.streamed_reply import StreamedReply
from tests.helpers import screen_text, wait_until
from tests.tui.deck import NARROW, WIDE, deck, opened, until_status

REPLY = "\n".join(f"tokens word{number}\\u0020" for number in range(60))


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[Region]:
    """Every partial update is drawn both ways, and is the same bytes; where each was."""
    areas: list[Region] = []

    def both(self: PartialCompositor) -> object:
        dirty = set(self._dirty_regions)
        ours = Compositor.render_partial_update(self)
        self._dirty_regions = set(dirty)
        with monkeypatch.context() as patch:
            patch.setattr(PartialCompositor, "_get_renders", Compositor._get_renders)
            theirs = Compositor.render_partial_update(self)
        if ours is not None and theirs is not None:
            assert self.root is not None
            console = self.root.app.console
            assert ours.render_segments(console) == theirs.render_segments(console)
            areas.extend(dirty)
        return ours

    monkeypatch.setattr(PartialCompositor, "render_partial_update", both)
    return areas


@pytest.mark.parametrize("size", [WIDE, NARROW])
async def test_every_change_of_a_session_is_drawn_as_textual_draws_it(
    size: tuple[int, int], compared: list[Region]
) -> None:
    app = deck(f"ready\nwait load\nprogress reading_weights 30 100\nfinished\nwait generate\n{REPLY}\nend stop\nserve")
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("down", "down", "up", "/", "q", "w", "escape", "escape", "tab", *"hello", "enter")
        await wait_until(pilot, lambda: "word59" in screen_text(app))
        await pilot.press("shift+tab", "up", "down", "tab", *"more", "up", "escape", "question_mark", "escape")
        await pilot.resize_terminal(size[0] - 7, size[1] - 2)
        await pilot.press("down", "up", "tab", "tab")
        await pilot.pause()
    assert len(compared) > 30


async def test_a_row_of_a_reply_draws_the_widgets_that_it_lies_in_and_one_row_of_each() -> None:
    """Textual draws each widget whose container is touched: the list, the prompt, all bars, and all rows of them."""
    app = deck("ready\nwait load\nfinished\nwait generate\ntokens one\nhang")
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("enter", *"hi", "enter")
        await wait_until(pilot, lambda: "one" in screen_text(app))
        await pilot.pause()
        reply = app.screen.query_one(StreamedReply)
        last = Region(reply.region.x, reply.region.bottom - 1, reply.region.width, 1)
        drawn = [len(rows) for _, _, rows in app.screen._compositor._get_renders(last)]
        assert drawn == [1] * len([one for one in reply.ancestors_with_self if one is not app])
