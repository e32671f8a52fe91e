"""Keeps the options of a load under a name."""

from __future__ import annotations

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Static

from modeldeck.backend.models import LoadRequest, ModelInfo
from modeldeck.backend.text import clean_name
from modeldeck.config.profiles import SaveError
from modeldeck.tui.load_profiles import LoadProfiles
from modeldeck.tui.screens.dialog import Dialog
from modeldeck.tui.widgets.tick import Tick


class ProfileDialog(Dialog[str]):
    """Answers the name of the profile that was saved, an empty one where it was deleted, or None."""

    AUTO_FOCUS = "#typed"

    def __init__(self, profiles: LoadProfiles, model: ModelInfo, request: LoadRequest, chosen: str) -> None:
        super().__init__()
        self._profiles = profiles
        self._model = model
        self._request = request
        self._chosen = chosen
        """The profile that the load dialog shows; empty for none."""

    def compose(self) -> ComposeResult:
        """The name, for whom it holds, and what is wrong with it."""
        name = clean_name(self._model.name)
        with Vertical(classes="dialog"):
            yield Static(Content("Save these options as a profile"), classes="dialog-title")
            yield Input(self._chosen, placeholder="long context, 4-bit ...", max_length=40, compact=True, id="typed")
            own = bool(self._chosen) and self._profiles.is_default(self._chosen, self._model.id)
            yield Tick(f"{name} is loaded so unless another is chosen", own, id="for-model")
            every = bool(self._chosen) and self._profiles.is_default(self._chosen, None)
            yield Tick("So is every model that was not loaded before", every, id="for-all")
            yield Static(markup=False, classes="dialog-problem", id="problem")
            with Horizontal(classes="dialog-buttons"):
                yield Button("Save", variant="primary", id="save", compact=True)
                if self._chosen:
                    yield Button(Content(f"Delete {clean_name(self._chosen, 20)}"), id="delete", compact=True)
                yield Button("Cancel", id="cancel", compact=True)

    @on(Button.Pressed, "#cancel")
    def _cancel(self) -> None:
        self.dismiss(None)

    @on(Input.Submitted)
    @on(Button.Pressed, "#save")
    @work(exclusive=True)
    async def _save(self) -> None:
        try:
            name = await self._profiles.save(self.query_one(Input).value, self._model, self._request)
            for model_id, tick in ((None, "#for-all"), (self._model.id, "#for-model")):
                await self._profiles.set_default(name, model_id, default=self.query_one(tick, Tick).value)
        except SaveError as error:
            self._say_wrong(str(error))
        else:
            self.dismiss(name)

    @on(Button.Pressed, "#delete")
    @work(exclusive=True)
    async def _delete(self) -> None:
        try:
            await self._profiles.delete(self._chosen)
        except SaveError as error:
            self._say_wrong(str(error))
        else:
            self.dismiss("")

    def _say_wrong(self, sentence: str) -> None:
        problem = self.query_one("#problem", Static)
        problem.update(Content(f"! {clean_name(sentence, 400)}"))
        problem.display = True
