"""Which panes show, where they stand, and which one has the keys."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.reactive import var
from textual.screen import Screen
from textual.widgets import Static

from modeldeck.backend.models import LoadedModel, ModelInfo
from modeldeck.backend.text import clean_name
from modeldeck.tui.engine_view import EngineView
from modeldeck.tui.memory_feed import PERIOD_SECONDS
from modeldeck.tui.screens.partial_drawing import PartialCompositor
from modeldeck.tui.widgets.key_bar import KeyBar
from modeldeck.tui.widgets.model_browser import ModelBrowser
from modeldeck.tui.widgets.pane_bar import PANES, PaneBar
from modeldeck.tui.widgets.shelf_list import ShelfList

if TYPE_CHECKING:
    from modeldeck.backend.estimate.figures import Estimate
    from modeldeck.tui.services import Services
    from modeldeck.tui.widgets.right_side import RightSide
    from modeldeck.tui.widgets.status_bar import StatusBar

WIDE = 100
"""Columns from which both sides show at once."""
LEAST_WIDTH, LEAST_HEIGHT = 60, 16
"""Columns and lines below which there is no room for anything."""
_MOST_FOR_MODELS = 80
"""Columns; a wider list would only be emptier."""


class PanesScreen(Screen[None], inherit_bindings=False):
    """Two sides in a wide window, one pane at a time in a narrow one; the same keys move between them in both."""

    AUTO_FOCUS = "#models"

    BINDINGS: ClassVar[list[BindingType]] = [
        # Priority, and the focus moved at once: what is typed right behind it, as a slow link delivers it, goes there.
        Binding("tab", "next_pane(1)", "Next", id="pane.next", tooltip="To the next pane", priority=True),
        Binding(
            "shift+tab",
            "next_pane(-1)",
            "Pane back",
            show=False,
            id="pane.previous",
            tooltip="One pane back",
            priority=True,
        ),
    ]

    engine: var[EngineView] = var(EngineView(), bindings=True)
    """The state of the engine; the keys in the footer depend on it."""
    loaded: var[LoadedModel | None] = var(None)
    model_name: var[str] = var("")
    other_name: var[str] = var("")
    """A model that is held though none is talked to."""
    pane: var[str] = var("models", bindings=True)
    """The pane that has the keys."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._compositor = PartialCompositor()
        self.services = services
        self.right: RightSide | None = None
        """The right side; None until the first frame is out."""
        self.status: StatusBar | None = None
        self._right_pane = "chat"

    def compose(self) -> ComposeResult:
        """What the first frame needs, and nothing else."""
        yield PaneBar(clean_name(socket.gethostname(), 40)).data_bind(PanesScreen.pane)
        with Horizontal(id="panes"):
            services = self.services
            models = ShelfList(services.remembered_list, ascii_only=services.settings.ascii, id="models")
            yield ModelBrowser(services.catalog, models, id="browser")
        yield KeyBar()

    @property
    def browser(self) -> ModelBrowser:
        """The pane with the models."""
        return self.query_one(ModelBrowser)

    def estimate(self, model: ModelInfo) -> Estimate | None:
        """What this model would need, loaded as enter would load it; None while that is not known."""
        return None

    async def mount_other_panes(self) -> None:
        """Everything that the first frame does not wait for, its imports included."""
        from modeldeck.tui.widgets.status_bar import StatusBar

        await asyncio.sleep(0)  # between the imports, so that a key never waits for all of them
        import modeldeck.tui.chats.desk  # noqa: F401  # what a conversation needs

        await asyncio.sleep(0)
        from modeldeck.tui.widgets.chat_panel import ChatPanel as _  # noqa: F401  # most of what the right side needs

        await asyncio.sleep(0)
        from modeldeck.tui.widgets.right_side import RightSide

        services = self.services
        right = RightSide(services, self.estimate, id="right")
        right.data_bind(PanesScreen.loaded, PanesScreen.model_name, PanesScreen.other_name)
        status = StatusBar(services.memory)
        status.data_bind(PanesScreen.engine)
        with self.app.batch_update():
            await self.query_one("#panes").mount(right)
            await self.mount(status, before=self.query_one(KeyBar))
            least = f"modeldeck needs a window of at least {LEAST_WIDTH} by {LEAST_HEIGHT}."
            await self.mount(Static(least, id="too-small", markup=False))
            await self.browser.complete()
        self.right, self.status = right, status
        services.memory.start()
        services.memory.poll()
        self.set_interval(PERIOD_SECONDS, services.memory.poll)
        right.highlighted = self.browser.highlighted
        self._lay_out()
        if self.pane != "models":  # it was asked for before it was there
            right.focus_pane()

    def go(self, pane: str) -> None:
        """Show a pane and give it the keys."""
        self.pane = pane
        if pane == "models":
            self.set_focus(self.browser.model_list)
        elif self.right is not None:
            self.right.focus_pane()

    def action_show_pane(self, pane: str) -> None:
        """Go to a pane by its name."""
        self.go(pane)

    def action_next_pane(self, step: int) -> None:
        """Go round the panes."""
        names = list(PANES)
        self.go(names[(names.index(self.pane) + step) % len(names)])

    def watch_pane(self) -> None:
        """Show the pane that has the keys."""
        if self.pane != "models":
            self._right_pane = self.pane
        if self.is_mounted:
            self._lay_out()

    def on_mount(self) -> None:
        """The first frame is drawn for this size; with the first resize it would be drawn once more."""
        self._lay_out()

    def on_resize(self, event: events.Resize) -> None:
        """One pane or two, or no room at all."""
        self._lay_out()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """The mouse moves the focus too."""
        if event.widget is not None and self.browser in event.widget.ancestors_with_self:
            self.pane = "models"
        elif event.widget is not None and self.right in event.widget.ancestors_with_self and self.right is not None:
            self.pane = self.right.pane

    @on(PaneBar.Chosen)
    def _choose_pane(self, message: PaneBar.Chosen) -> None:
        self.go(message.pane)

    def _lay_out(self) -> None:
        width, height = self.app.size
        wide = width >= WIDE
        self.set_class(wide, "-wide")
        was_too_small = self.has_class("-too-small")
        self.set_class(width < LEAST_WIDTH or height < LEAST_HEIGHT, "-too-small")
        if was_too_small and not self.has_class("-too-small"):
            self.call_after_refresh(self.go, self.pane)  # what was hidden had lost the focus
        bar = self.query_one(PaneBar)
        bar.split = min(_MOST_FOR_MODELS, width // 2) if wide else 0
        bar.right_pane = self._right_pane
        self.browser.styles.width = bar.split if wide else "1fr"
        self.browser.display = wide or self.pane == "models"
        if self.right is not None:
            self.right.display = wide or self.pane != "models"
            self.right.pane = self._right_pane
            self.right.look()
