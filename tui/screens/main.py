"""The deck itself: passes the wishes of the panes on to the flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType

from modeldeck.backend.models import ModelInfo
from modeldeck.backend.text import clean_name
from modeldeck.config.settings import model_folders
from modeldeck.tui.delete_flow import DeleteFlow, DiskDeleter
from modeldeck.tui.download_flow import DownloadFlow
from modeldeck.tui.garbage import spare_what_stays
from modeldeck.tui.messages import PanesMounted
from modeldeck.tui.screens.engine_screen import EngineScreen
from modeldeck.tui.widgets.model_browser import ModelBrowser
from modeldeck.tui.widgets.model_list import ModelList
from modeldeck.tui.widgets.pane_bar import PaneBar

if TYPE_CHECKING:
    from modeldeck.backend.download_messages import DownloadProgress
    from modeldeck.backend.estimate.figures import Estimate
    from modeldeck.tui.services import Services

_AT_LATEST_SECONDS = 0.5
"""After this time the other panes come even if the first frame has not been seen."""
_SETTLED_SECONDS = 2.0
"""After this time everything that the panes import when they are first used has been imported."""


class MainScreen(EngineScreen):
    """Everything that can be done from the panes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Stop", id="engine.cancel", tooltip="Stop the reply, the load or the download"),
        Binding("escape", "back", "Models", id="pane.models", tooltip="Go back to the models"),
        Binding("escape", "show_all", "Show all", id="models.all", tooltip="Clear the filter"),
        Binding(
            "ctrl+o",
            "switch_back",
            "Other model",
            show=False,
            id="prompt.other_model",
            tooltip="Talk to the model before, from the prompt too",
        ),
    ]

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._complete = False
        deleter = DiskDeleter(model_folders(services.settings, services.paths), services.paths.hub_cache, self._held)
        self.deletions = DeleteFlow(self, services, deleter, self._forget, lambda: self.browser.search())
        self.downloads = DownloadFlow(self, services, self._show_download, self._go_to_model, self._list_too)

    def on_mount(self) -> None:
        """The other panes follow once the first frame is out."""
        self.watch(self.browser, "counts", self._show_counts, init=False)
        self.call_after_refresh(self._after_first_frame)
        # A key that opens a dialog at once keeps this screen from being refreshed, and nothing may wait for that.
        self.set_timer(_AT_LATEST_SECONDS, self._after_first_frame)

    async def _after_first_frame(self) -> None:
        if self._complete:
            return
        self._complete = True
        self.browser.search()
        await self.mount_other_panes()
        self.post_message(PanesMounted())
        self._engine_changed()
        self.browser.model_list.judge_with(self.fitting.verdict)
        self.fitting.follow(self._refit)
        self.fitting.start()
        for problem in self.services.problems:
            self.services.log.append(str(problem))
            self.notify(str(problem), title="Configuration", severity="warning", timeout=12, markup=False)
        self.run_worker(self.services.manager.warm(), group="spare", exit_on_error=False)
        self.set_timer(_SETTLED_SECONDS, spare_what_stays)
        self.generation.start()

    def estimate(self, model: ModelInfo) -> Estimate | None:
        """What this model would need, loaded as enter would load it; None while that is not known."""
        return self.fitting.estimate(model)

    def _refit(self) -> None:
        """The memory is not what it was."""
        self.browser.model_list.outdate_verdicts()
        if self.right is not None:
            self.right.refresh_estimate()

    def action_load_options(self) -> None:
        """Ask how to load the highlighted model."""
        if (model := self.browser.highlighted) is not None:
            self.loads.options(model)

    def action_unload(self) -> None:
        """Unload the highlighted model; outside of the list the one that is talked to."""
        self.loads.held.unload(self._meant)

    def action_switch(self, number: int) -> None:
        """Talk to the model with this number."""
        self.loads.held.talk_to_number(number)

    def action_switch_back(self) -> None:
        """Talk to the model before."""
        self.loads.held.talk_back()

    def action_pin(self) -> None:
        """Pin the highlighted model if it is loaded, else the one that is talked to; or take the pin away."""
        self.loads.held.pin(self._meant)

    def action_park(self) -> None:
        """Move the highlighted model to RAM if it is loaded, else the one that is talked to; or bring it back."""
        self.loads.held.park(self._meant)

    @property
    def _meant(self) -> ModelInfo | None:
        """The row under the cursor, where the list has the keys."""
        return self.browser.highlighted if self.pane == "models" else None

    def action_error(self) -> None:
        """Show what went wrong."""
        self.loads.show_error()

    def action_add(self) -> None:
        """Take a path or a Hub id."""
        self.downloads.ask()

    def action_configure(self) -> None:
        """Edit the generation settings: of the loaded model, else of the highlighted one."""
        self.generation.edit()

    def action_presets(self) -> None:
        """Take a preset for that model, or make one."""
        self.generation.presets()

    async def action_cancel(self) -> None:
        """Stop what runs: the reply that is seen, else the load that the status line names, then the others."""
        if self.pane == "chat" and await self.stop_reply():
            return
        if not (self.loads.cancel() or await self.stop_reply()):
            self.downloads.cancel()

    def action_back(self) -> None:
        """Go back to the models."""
        self.go("models")

    def action_show_all(self) -> None:
        """Clear the filter."""
        self.browser.clear_filter()

    async def stop_reply(self) -> bool:
        """End the reply that runs; False when none does."""
        return self.right is not None and await self.right.stop_reply()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The footer offers only what would do something."""
        if action in {"unload", "pin", "park"}:
            return len(self.services.manager.residents) > 0
        if action == "error":
            return self.services.manager.failure is not None
        if action == "cancel":
            return self.services.manager.load_running or self.reply_runs or self.downloads.running
        if action == "back":
            return self.pane != "models"
        if action == "show_all":
            return self.pane == "models" and self.browser.filtering
        return True

    @on(ModelBrowser.LoadRequested)
    def _load(self, message: ModelBrowser.LoadRequested) -> None:
        self.loads.choose(message.model)

    @on(ModelBrowser.DeleteRequested)
    def _delete(self, message: ModelBrowser.DeleteRequested) -> None:
        self.deletions.ask(message.model)

    @on(ModelList.Highlighted)
    def _highlight(self, message: ModelList.Highlighted) -> None:
        if self.right is not None:
            self.right.highlighted = message.model

    def _show_download(self, name: str, progress: DownloadProgress | None) -> None:
        if self.status is not None:
            self.status.download_name = name
            self.status.download = progress
        self.refresh_bindings()

    def _go_to_model(self, model: ModelInfo) -> None:
        if self.browser.shelf.get(model.id) is not None:
            self.notify(f"{clean_name(model.name)} is in the list already.", markup=False)
        self.browser.add(model)
        self.go("models")

    def _list_too(self, model: ModelInfo) -> None:
        """The focus stays: the next key may be meant for the prompt."""
        self.browser.add(model, highlight=False)

    def _show_counts(self, counts: str) -> None:
        self.query_one(PaneBar).counts = counts

    def _held(self) -> tuple[str, ...]:
        """Paths that an engine reads or holds."""
        return self.services.manager.paths_in_use

    def _forget(self, model_id: str) -> None:
        self.browser.model_list.drop([model_id])
