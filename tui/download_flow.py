"""From a path or a Hub id typed by hand to a row in the list."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeldeck.backend.download_messages import DownloadFinished, DownloadProgress
from modeldeck.backend.errors import BackendError, OnlyPickles
from modeldeck.backend.models import ModelInfo, ModelSource
from modeldeck.backend.text import clean_name
from modeldeck.tui.interrupting import is_typing

if TYPE_CHECKING:
    from textual.screen import Screen
    from textual.worker import Worker

    from modeldeck.tui.screens.add_dialog import HubModel
    from modeldeck.tui.services import Services


class DownloadFlow:
    """At most one download at a time, in a child of its own.

    ``show`` gets the name and the newest progress, or an empty name when none runs. ``go_to`` gets a model that the
    user has just named by its path; ``list_too`` gets one that came while the user was doing something else.
    """

    def __init__(
        self,
        screen: Screen[Any],
        services: Services,
        show: Callable[[str, DownloadProgress | None], None],
        go_to: Callable[[ModelInfo], None],
        list_too: Callable[[ModelInfo], None],
    ) -> None:
        self._screen = screen
        self._services = services
        self._show = show
        self._go_to = go_to
        self._list_too = list_too
        self._worker: Worker[None] | None = None

    @property
    def running(self) -> bool:
        """Whether a download runs."""
        return self._worker is not None and not self._worker.is_finished

    def ask(self) -> None:
        """Ask for a path or a Hub id."""
        if self.running:
            self._say("A download is running. Escape cancels it; then add the next one.", "warning")
            return
        from modeldeck.tui.screens.add_dialog import AddDialog

        def answered(answer: ModelInfo | HubModel | None) -> None:
            if isinstance(answer, ModelInfo):
                self._go_to(answer)
            elif answer is not None:
                self._begin(answer)

        self._screen.app.push_screen(AddDialog(self._services.catalog), answered)

    def cancel(self) -> bool:
        """End the download; False when none runs."""
        if self._worker is None or self._worker.is_finished:
            return False
        self._worker.cancel()
        self._say("Download cancelled. What is complete is kept for the next try.")
        return True

    def _begin(self, wanted: HubModel, *, allow_pickles: bool = False) -> None:
        work = self._download(wanted, allow_pickles=allow_pickles)
        self._worker = self._screen.run_worker(work, group="download", exit_on_error=False)

    async def _download(self, wanted: HubModel, *, allow_pickles: bool) -> None:
        from modeldeck.backend.hub_download import download

        name = clean_name(wanted.repo_id)
        self._show(name, None)
        advised = False
        start = self._services.start_download
        try:
            async with aclosing(download(wanted.repo_id, wanted.revision, start, allow_pickles=allow_pickles)) as steps:
                async for step in steps:
                    if isinstance(step, DownloadFinished):
                        model = await self._read(step)
                        self._list_too(model)
                        self._say(f"{name} is downloaded and in the list.")
                        continue
                    self._show(name, step)
                    if step.advice and not advised:
                        advised = True
                        self._say(f"{name}: {step.advice}", "warning")
        except OnlyPickles as error:
            self._offer_pickles(wanted, error)
        except BackendError as error:
            self._failed(name, error)
        finally:
            self._show("", None)

    async def _read(self, finished: DownloadFinished) -> ModelInfo:
        catalog = self._services.catalog
        try:
            return await catalog.find(finished.model_id)
        except LookupError:
            return await catalog.read(Path(finished.path), ModelSource.HUB_CACHE)

    def _offer_pickles(self, wanted: HubModel, error: OnlyPickles) -> None:
        """Ask, unless the keys that the user is typing would answer."""
        if is_typing(self._screen):
            self._failed(clean_name(wanted.repo_id), error)
            return
        from modeldeck.tui.screens.confirm import Confirm

        def answered(yes: bool | None) -> None:
            if yes and not self.running:
                self._begin(wanted, allow_pickles=True)

        self._screen.app.push_screen(Confirm("Only pickled weights", str(error), "Download them"), answered)

    def _failed(self, name: str, error: BackendError) -> None:
        """Say why: in a dialog, unless the keys that the user is typing would go to it."""
        self._services.log.append(f"DOWNLOAD FAILED {name}: {error}")
        app = self._screen.app
        if is_typing(self._screen):
            if error.detail:
                self._services.log.append(error.detail)
            said = f"{name} was not downloaded: {clean_name(str(error), 500)}"
            app.notify(said, title="Download", severity="error", timeout=12, markup=False)
            return
        from modeldeck.tui.screens.error_dialog import ErrorDialog

        title = f"{name} was not downloaded"
        app.push_screen(ErrorDialog(title, str(error), error.detail, again=False))

    def _say(self, sentence: str, severity: str = "information") -> None:
        self._services.log.append(sentence)
        self._screen.notify(sentence, severity=severity, markup=False)  # type: ignore[arg-type]  # a literal above
