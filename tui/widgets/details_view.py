"""Everything that is known about the highlighted model."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar, Protocol

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from modeldeck.backend.models import ModelFormat, ModelInfo
from modeldeck.backend.text import clean_name, clean_text
from modeldeck.tui import format as fmt
from modeldeck.tui.deck_keys import DECK_KEYS

_LABEL_WIDTH = 16


class PreparedCopies(Protocol):
    """What the details need of ``GgufCopies``; both calls touch the disk."""

    def find(self, gguf: Path, /) -> Path | None:
        """The prepared copy of this file, or None."""
        ...

    def remove(self, gguf: Path, /) -> object:
        """Delete the prepared copy of this file."""
        ...


class DetailsView(VerticalScroll, can_focus=True):
    """The facts of one model, its problems in words, and its prepared copy where it has one."""

    DEFAULT_CSS = """
    DetailsView {
        padding: 1 2;
        scrollbar-size-vertical: 1;
    }
    DetailsView > .details--problems {
        color: $text-error;
        margin-top: 1;
    }
    DetailsView > .details--copy {
        margin-top: 1;
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Down", show=False, id="details.down", tooltip="Scroll down one line"),
        Binding("k", "scroll_up", "Up", show=False, id="details.up", tooltip="Scroll up one line"),
        Binding("g", "scroll_home", "First", show=False, id="details.first", tooltip="Go to the top"),
        Binding("G", "scroll_end", "Last", show=False, id="details.last", tooltip="Go to the end"),
        Binding(
            "x",
            "clear_copy",
            "Clear copy",
            id="details.clear_copy",
            tooltip="Delete the prepared copy of this GGUF model",
        ),
        *DECK_KEYS,
    ]

    model: reactive[ModelInfo | None] = reactive(None)
    """The model that is highlighted, or None."""
    copy_path: reactive[Path | None] = reactive(None, bindings=True)
    """The prepared copy of a GGUF model, or None where there is none."""

    def __init__(self, copies: PreparedCopies | None = None, *, keeps_copies: bool = True) -> None:
        super().__init__()
        self._keeps_copies = keeps_copies
        """Whether the settings allow loads to write copies."""
        self._copies = copies

    def compose(self) -> ComposeResult:
        """Name, facts, problems and the copy, each where there is something to say."""
        yield Static(classes="details--facts", markup=False)
        yield Static(classes="details--problems", markup=False)
        yield Static(classes="details--copy", markup=False)

    def on_mount(self) -> None:
        """Fill it for the first time."""
        self.watch_model()

    def watch_model(self) -> None:
        """Show another model."""
        if not self.children:
            return
        model = self.model
        self.query_one(".details--facts", Static).update(
            Content("No model is highlighted.") if model is None else _facts(model)
        )
        problems = self.query_one(".details--problems", Static)
        problems.display = model is not None and bool(model.problems)
        if model is not None:
            problems.update(Content("\n".join(f"✗ {clean_text(problem)}" for problem in model.problems)))
        self.copy_path = None
        self._say_copy("")
        self.scroll_home(animate=False)
        self.refresh_copy()

    def refresh_copy(self) -> None:
        """Look for the prepared copy again; call it when a load has ended, or a copy was written."""
        if self._copies is not None and self.model is not None and self.model.format is ModelFormat.GGUF:
            self._look_for_copy(self._copies, Path(self.model.path))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The copy can be cleared only where there is one."""
        return self.copy_path is not None if action == "clear_copy" else True

    @work(group="details.copy", exclusive=True)
    async def _look_for_copy(self, copies: PreparedCopies, gguf: Path) -> None:
        try:
            path, size = await asyncio.to_thread(_find, copies, gguf)
        except OSError as error:
            self._say_copy(f"The prepared copy cannot be looked for: {error.strerror or error}")
            return
        self.copy_path = path
        if path is None:
            promise = "The first load makes one, and later loads are fast."
            none = "The settings keep none (gguf_copies_gb is 0), so each load converts the file anew."
            self._say_copy(f"Prepared copy: none. {promise if self._keeps_copies else none}")
        else:
            self._say_copy(f"Prepared copy: {fmt.size(size)} in {path}\nx clears it{self._next_load}.")

    @work(group="details.copy", exclusive=True)
    async def action_clear_copy(self) -> None:
        """Delete the prepared copy."""
        if self._copies is None or self.model is None:
            return
        try:
            await asyncio.to_thread(self._copies.remove, Path(self.model.path))
        except OSError as error:
            self._say_copy(f"The prepared copy could not be cleared: {error.strerror or error}")
            return
        self.copy_path = None
        self._say_copy(f"The prepared copy was cleared{self._next_load}.")

    @property
    def _next_load(self) -> str:
        return "; the next load makes it again" if self._keeps_copies else ""

    def _say_copy(self, text: str) -> None:
        for line in self.query(".details--copy").results(Static):  # none when the app is closing meanwhile
            line.display = bool(text)
            line.update(Content(clean_text(text)))


def _facts(model: ModelInfo) -> Content:
    lines = [Content.styled(clean_name(model.name), "bold")]
    for label, value in _rows(model):
        lines.append(Content.assemble((label.ljust(_LABEL_WIDTH), "$text-muted"), clean_name(value, 4096)))
    return Content("\n").join((lines[0], Content(""), *lines[1:]))


def _rows(model: ModelInfo) -> list[tuple[str, str]]:
    context = "unknown" if model.context_length is None else fmt.tokens(model.context_length)
    return [
        ("Id", model.id),
        ("Path", model.path),
        ("Found in", model.source.value),
        ("Format", model.format.value if model.format is not None else "no weights found"),
        ("Architecture", model.architecture or "unknown"),
        ("Parameters", "unknown" if model.parameters is None else fmt.parameters(model.parameters)),
        ("Stored as", model.dtype or "unknown"),
        ("Quantization", model.quantization or "none"),
        ("Context length", context),
        ("Size on disk", fmt.size(model.size_bytes)),
        ("Chat template", "yes" if model.has_chat_template else "no: replies are plain completions"),
        ("Remote code", "needed: loads only if you allow it" if model.needs_remote_code else "not needed"),
    ]


def _find(copies: PreparedCopies, gguf: Path) -> tuple[Path | None, int]:
    path = copies.find(gguf)
    if path is None:
        return None, 0
    return path, sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
