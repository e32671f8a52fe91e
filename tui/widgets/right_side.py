"""The side with the conversation, the details, the log and the devices; one of them shows at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.reactive import var

from modeldeck.backend.catalog.model_card import read_card
from modeldeck.backend.models import LoadedModel, ModelInfo
from modeldeck.tui.widgets.chat_panel import ChatPanel
from modeldeck.tui.widgets.details_view import DetailsView, EstimateOf
from modeldeck.tui.widgets.devices_view import DevicesView
from modeldeck.tui.widgets.log_view import LogView

if TYPE_CHECKING:
    from modeldeck.tui.services import Services


class RightSide(Vertical):
    """Chat, details, log and devices."""

    pane: var[str] = var("chat")
    """Which one shows."""
    loaded: var[LoadedModel | None] = var(None)
    model_name: var[str] = var("")
    other_name: var[str] = var("")
    highlighted: var[ModelInfo | None] = var(None)

    def __init__(self, services: Services, estimate: EstimateOf, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._services = services
        self._estimate = estimate

    def compose(self) -> ComposeResult:
        """All of them are there from the start, so that each keeps what it has."""
        with Vertical(id="chat"):
            panel = ChatPanel(
                self._services.manager, self._services.desk, self._services.chats, self._services.log.append
            )
            yield panel.data_bind(RightSide.loaded, RightSide.model_name, RightSide.other_name)
        with Vertical(id="details"):
            keeps = self._services.settings.gguf_copies_gb > 0
            details = DetailsView(
                self._services.gguf_copies, keeps_copies=keeps, estimate=self._estimate, read_card=read_card
            )
            yield details.data_bind(model=RightSide.highlighted)
        with Vertical(id="log"):
            yield LogView(self._services.log)
        with Vertical(id="devices"):
            yield DevicesView(self._services.memory)

    def watch_pane(self) -> None:
        """Show the one."""
        for child in self.children:
            child.display = child.id == self.pane
        self.look()

    def look(self) -> None:
        """This side, or one of its panes, was shown or hidden."""
        for details in self.query(DetailsView):
            details.look()

    def on_mount(self) -> None:
        """Only one shows from the start."""
        self.watch_pane()

    def focus_pane(self) -> None:
        """Give the keys to the pane that shows."""
        if self.pane == "chat":
            self.query_one(ChatPanel).focus_prompt()
        elif self.pane == "details":
            self.screen.set_focus(self.query_one(DetailsView))
        elif self.pane == "log":
            self.screen.set_focus(self.query_one(LogView))
        else:
            self.screen.set_focus(self.query_one(DevicesView))

    @property
    def replying(self) -> bool:
        """Whether a reply was asked for and has not ended; the engine hears of it a little later."""
        return any(chat.replying for chat in self.query(ChatPanel))  # none any more at the very end

    async def stop_reply(self) -> bool:
        """End the reply that runs; False when none does."""
        return await self.query_one(ChatPanel).stop_reply()

    def refresh_settings(self) -> None:
        """The generation settings were saved."""
        self.query_one(ChatPanel).refresh_settings()

    def refresh_estimate(self) -> None:
        """The memory is not what it was, or models would be loaded otherwise."""
        self.query_one(DetailsView).refresh_estimate()

    def refresh_copy(self) -> None:
        """A load may have made a prepared copy."""
        self.query_one(DetailsView).refresh_copy()
