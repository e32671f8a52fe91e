"""Follows the engine: what it does, what it took, what it says, shown in all panes."""

from __future__ import annotations

import asyncio
import logging
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from textual import on
from textual.worker import Worker, WorkerState

from modeldeck.backend.chat_messages import FinishReason
from modeldeck.backend.load_follower import LoadFollower
from modeldeck.backend.models import ModelStatus
from modeldeck.backend.text import clean_name
from modeldeck.tui.chat_wishes import ChatWishes
from modeldeck.tui.engine_view import EngineView
from modeldeck.tui.generation_flow import GenerationFlow, Target
from modeldeck.tui.held_rows import held_rows
from modeldeck.tui.load_flow import LoadFlow
from modeldeck.tui.messages import EngineChanged, LoadProgressed
from modeldeck.tui.screens.panes import PanesScreen

if TYPE_CHECKING:
    from modeldeck.backend.errors import BackendError
    from modeldeck.backend.load_follower import Times
    from modeldeck.backend.measurements import Measurement
    from modeldeck.backend.models import LoadRequest
    from modeldeck.tui.services import Services
    from modeldeck.tui.widgets.chat_panel import ChatPanel
    from modeldeck.tui.widgets.details_view import DetailsView
    from modeldeck.tui.widgets.right_side import RightSide

_logger = logging.getLogger(__name__)

_STOP_SECONDS = 1.0
"""So long after its end escape is still meant for the reply; it must not lead where letters are commands."""


class EngineScreen(PanesScreen):
    """Passes the state of the manager down to the panes."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._reply_ended = -inf
        self._spare_error: BackendError | None = None
        self._pids_seen: tuple[int, ...] = ()
        self._copies_seen: tuple[ModelStatus, int] | None = None
        self.generation = GenerationFlow(self, services, self._whose_settings, self._settings_changed)
        self.loads = LoadFlow(self, services, lambda: self.browser.shelf, lambda: self.go("chat"))
        self.wishes = ChatWishes(self, services, self.loads, lambda model_id: self.browser.shelf.get(model_id))
        self.fitting = self.loads.fitting
        self._follower = LoadFollower(services.manager, services.past_loads.find, self._timed)

    def on_mount(self) -> None:
        """The manager tells what happens from now on."""
        self.services.manager.on_change = self._tell_change
        self.services.manager.on_measured = self._measured
        self.services.manager.on_unloaded = self.loads.news.tell_unloaded

    @property
    def reply_runs(self) -> bool:
        """Whether escape is meant for a reply: one that is being written, or that has just ended."""
        replying = self.right is not None and self.right.replying
        return replying or monotonic() - self._reply_ended < _STOP_SECONDS

    def _measured(self, measurement: Measurement) -> None:
        """Called by the manager in the middle of its work."""
        self.run_worker(self._keep_measurement(measurement), group="measurements", exit_on_error=False)

    async def _keep_measurement(self, measurement: Measurement) -> None:
        """What a load took is preferred to what was reckoned, from the next look on."""
        try:
            await asyncio.to_thread(self.services.measurements.keep, measurement)
        except OSError as error:
            self.services.log.append(f"What the load took is not remembered: {clean_name(str(error))}")
        self.fitting.outdate()

    def _timed(self, request: LoadRequest, times: Times) -> None:
        """Called by the manager in the middle of its work."""
        self.run_worker(self._keep_times(request, times), group="measurements", exit_on_error=False)

    async def _keep_times(self, request: LoadRequest, times: Times) -> None:
        """The next load like this one can say how long it will take."""
        try:
            await asyncio.to_thread(self.services.past_loads.keep, request, times)
        except OSError as error:
            self.services.log.append(f"How long the load took is not remembered: {clean_name(str(error))}")

    @on(EngineChanged)
    def _engine_changed(self) -> None:
        manager = self.services.manager
        self._tell_spare()
        self.loads.news.tell()
        self.loads.question.keep_true()
        if manager.loaded is not None and manager.loaded != self.loaded:
            for note in manager.loaded.notes:
                self.services.log.append(note)
        if manager.loaded != self.loaded and self.status is not None:
            self.status.speed = None  # it was another model's
        other = manager.loaded != self.loaded
        self.loaded = manager.loaded
        if other and self.loaded is not None:
            self.generation.learn(self._whose_settings())
        current = manager.residents.current
        self.engine = EngineView.of(manager, self.loads.name_of, self.loads.news.advice)
        self.model_name = self.loads.name_of(current.model_id) if current is not None else ""
        others = [one.model_id for one in manager.residents if one.status is ModelStatus.LOADED]
        self.other_name = self.loads.name_of(others[0]) if others and manager.loaded is None else ""
        self.browser.held = held_rows(manager)
        if (pids := manager.model_pids) != self._pids_seen:
            self._pids_seen = pids
            self.services.memory.poll(for_history=False)  # the next plan counts on it
        if self.status is not None and self.right is not None:
            self.status.look_ahead = self._follower.outlook
            self.status.idle_seconds = lambda: manager.idle_seconds
            self.status.progress = manager.progress
            self._look_for_copy(self.right)

    def _whose_settings(self) -> Target:
        """Of the model that is talked to, else of the highlighted one."""
        loaded = self.services.manager.loaded
        if loaded is not None:
            info = self.browser.shelf.get(loaded.model_id)
            return Target(loaded.model_id, self.loads.name_of(loaded.model_id), info, loaded)
        highlighted = self.browser.highlighted
        return Target() if highlighted is None else Target(highlighted.id, highlighted.name, highlighted)

    def _settings_changed(self) -> None:
        if self.right is not None:
            self.right.refresh_settings()

    def _look_for_copy(self, right: RightSide) -> None:
        """A load that ends may have removed a prepared copy, and some time after it a new one may be whole."""
        seen = (self.services.manager.status, self.services.manager.copies_written)
        if seen != self._copies_seen:
            self._copies_seen = seen
            right.refresh_copy()

    def on_details_view_copy_looked_for(self, message: DetailsView.CopyLookedFor) -> None:
        """A GGUF model needs less with its prepared copy."""
        self.fitting.note_copy(message.model, message.found)

    @on(LoadProgressed)
    def _show_progress(self, message: LoadProgressed) -> None:
        if self.status is not None and self.engine.status is ModelStatus.LOADING:
            self.status.progress = message.progress

    def on_chat_panel_reply_started(self) -> None:
        """The footer offers to stop it, and how fast the one before was is told no longer."""
        if self.status is not None:
            self.status.speed = None
        self.refresh_bindings()

    def on_chat_panel_reply_progressed(self, message: ChatPanel.ReplyProgressed) -> None:
        """How fast the reply comes."""
        self._show_speed(message.tokens_per_second)

    def on_chat_panel_reply_finished(self, message: ChatPanel.ReplyFinished) -> None:
        """The figure of the whole reply stays."""
        if message.stats is not None and message.stats.tokens_per_second:
            self._show_speed(message.stats.tokens_per_second)
        if message.stats is None or message.stats.finish_reason is not FinishReason.CANCELLED:
            self._reply_ended = monotonic()
            self.set_timer(_STOP_SECONDS, self.refresh_bindings)
        self.refresh_bindings()

    def on_chat_panel_wanted(self, message: ChatPanel.Wanted) -> None:
        """The chat wants more than its pane can do."""
        self.wishes.fulfil(message)

    def _show_speed(self, tokens_per_second: float) -> None:
        if self.status is not None and self.services.manager.loaded is not None:  # an unload may have cut the reply
            self.status.speed = tokens_per_second

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """What the flows do not expect ends neither the app nor unseen."""
        if event.state is WorkerState.ERROR:
            error = event.worker.error
            what = {"engine": "load or unload"}.get(event.worker.group, event.worker.group)
            _logger.error("The %s met an error that nobody expected.", what, exc_info=error)
            said = f"The {what} ended by an error in modeldeck ({type(error).__name__}); the log file says more."
            self.notify(said, severity="error", timeout=12, markup=False)

    def _tell_spare(self) -> None:
        """Once until engines work again: a load will need what the spare could not do."""
        error = self.services.manager.spare_error
        if error is not None and self._spare_error is None:
            self.services.log.append(f"The engine in waiting died: {error} {error.detail}".rstrip())
            said = f"The engine in waiting died, so loads may be slow or fail: {clean_name(str(error), 300)}"
            self.notify(said, severity="warning", timeout=12, markup=False)
        self._spare_error = error

    def _tell_change(self) -> None:
        """Called by the manager in the middle of its work, so the screen asks it later."""
        self._follower.look()
        self.post_message(EngineChanged())
