"""Asks for a model by hand: a path on this machine, or the id of a model on the Hugging Face Hub."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Static

from modeldeck.backend.errors import BackendError
from modeldeck.backend.hub_endpoint import other_hub
from modeldeck.backend.models import ModelInfo, ModelSource
from modeldeck.backend.text import clean_name
from modeldeck.tui.screens.dialog import Dialog

if TYPE_CHECKING:
    from modeldeck.backend.catalog.live_catalog import LiveCatalog

_HUB_ADDRESS = re.compile(r"^(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/", re.IGNORECASE)
_HUB_ID = re.compile(r"^(?P<repo>[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?)(?:@(?P<revision>[\w./-]+))?$", re.ASCII)


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model that is to be downloaded."""

    repo_id: str
    revision: str | None = None


def what_was_typed(text: str) -> Path | HubModel:
    """A path when it looks like one, else a Hub id. Raises ValueError with a sentence for the user."""
    text = text.strip()
    if not text:
        raise ValueError("Type a path, or the id of a model on the Hub such as org/name.")
    address = _HUB_ADDRESS.match(text)
    if address is None and (text.startswith(("/", "~", ".")) or text.endswith(".gguf") or text.count("/") > 1):
        return Path(text).expanduser().absolute()
    rest = text[address.end() :].split("/tree/")[0].rstrip("/") if address else text
    if (hub_id := _HUB_ID.match(rest)) is None:
        raise ValueError("This is neither a path nor a Hub id; an id looks like org/name or org/name@revision.")
    return HubModel(hub_id["repo"], hub_id["revision"])


class AddDialog(Dialog[ModelInfo | HubModel]):
    """Answers a model that lies on this machine, or one to download; what was typed stays until it can be used."""

    AUTO_FOCUS = "#typed"

    def __init__(self, catalog: LiveCatalog) -> None:
        super().__init__()
        self._catalog = catalog

    def compose(self) -> ComposeResult:
        """One field, and below it what is wrong with it."""
        with Vertical(classes="dialog"):
            yield Static(Content("Add a model"), classes="dialog-title")
            yield Static(
                Content(
                    "A Hub id (org/name), which is downloaded, or a folder or .gguf file on this machine, which is"
                    " listed until modeldeck ends; model_folders in config.toml keeps folders."
                ),
                classes="dialog-muted",
            )
            if hub := other_hub(os.environ):
                said = f"HF_ENDPOINT is set: downloads come from {hub}, and your token goes there."
                yield Static(Content(said), classes="dialog-text", id="other-hub")
            yield Input(placeholder="~/models/name or org/name", compact=True, id="typed")
            yield Static(markup=False, classes="dialog-problem", id="problem")
            with Horizontal(classes="dialog-buttons"):
                yield Button("Add", variant="primary", id="add", compact=True)
                yield Button("Cancel", id="cancel", compact=True)

    @on(Button.Pressed, "#cancel")
    def _cancel(self) -> None:
        self.dismiss(None)

    @on(Input.Changed)
    def _typed(self) -> None:
        self._complain("")

    @on(Button.Pressed, "#add")
    @on(Input.Submitted)
    def _submit(self) -> None:
        try:
            wanted = what_was_typed(self.query_one(Input).value)
        except (ValueError, RuntimeError) as error:  # RuntimeError: the home folder of ~user is not known
            self._complain(str(error))
            return
        if isinstance(wanted, HubModel):
            self.dismiss(wanted)
        else:
            self._look(wanted)

    @work(exclusive=True)
    async def _look(self, path: Path) -> None:
        self._complain("")
        answer = await self._read(path)
        if isinstance(answer, ModelInfo):
            self.dismiss(answer)
        else:
            self._complain(answer)

    async def _read(self, path: Path) -> ModelInfo | str:
        """The model at a path, or a sentence that says why there is none."""
        try:
            model = await self._catalog.read(path, ModelSource.FOLDER)
        except (LookupError, BackendError) as error:
            return str(error)
        return model if model.loadable else model.why_not_loadable

    def _complain(self, sentence: str) -> None:
        problem = self.query_one("#problem", Static)
        problem.display = bool(sentence)
        problem.update(Content(clean_name(sentence, 500)))
