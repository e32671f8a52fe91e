"""How the chat, the details and the form look; ``--snapshot-update`` draws them anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from modeldeck.config.generation import GenerationSettings
from modeldeck.config.paths import Paths
from modeldeck.config.store import GenerationStore
from modeldeck.tui.widgets.details_view import DetailsView
from tests.fakes.in_process import FakeReplier
from tests.helpers import screen_text, wait_until
from tests.tui.test_chat_panel import ChatApp, say
from tests.tui.test_details_and_log import BROKEN
from tests.tui.test_details_and_log import Host as DetailsHost
from tests.tui.test_generation_editor import Host as FormHost

REPLY = """It walks the tree **depth first** and calls `visit` on every node. See [the docs](https://example.com).

1. push the root
2. pop a node
   - look at it

```python
def walk(node: Node) -> None:
    for child in node.children:
        walk(child)
```

| Step | Time |
|------|------|
| walk | O(n) |
"""

SnapCompare = Callable[..., bool]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_chat(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    app = ChatApp(FakeReplier(REPLY))

    async def talk(pilot: Pilot[object]) -> None:
        pilot.app.query_one(TextArea).cursor_blink = False
        await say(pilot, "What does this function do?")
        await wait_until(pilot, lambda: "first token" in screen_text(app))

    assert snap_compare(app, terminal_size=size, run_before=talk)


def test_details_of_a_broken_model(snap_compare: SnapCompare) -> None:
    view = DetailsView()
    view.set_reactive(DetailsView.model, BROKEN)
    assert snap_compare(DetailsHost(view), terminal_size=(80, 24))


def test_form_with_an_invalid_value(snap_compare: SnapCompare, paths: Paths) -> None:
    store = GenerationStore(paths.generation_file)
    store.save(None, GenerationSettings(top_p=0.8))
    store.save("m", GenerationSettings(do_sample=False, stop=("END", "\n\n"), system_prompt="Be brief."))
    app = FormHost(store, "m")

    async def mistype(pilot: Pilot[object]) -> None:
        for field in app.screen.query(Input):
            field.cursor_blink = False
        await pilot.press("tab", "tab", "7")
        await wait_until(pilot, lambda: "must be 0 to 2, not" in screen_text(app))

    assert snap_compare(app, terminal_size=(80, 24), run_before=mistype)
