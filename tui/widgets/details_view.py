"""Everything that is known about the highlighted model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar, Protocol

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.reactive import var
from textual.widget import Widget
from textual.widgets import Static

from modeldeck.backend.estimate.figures import Estimate
from modeldeck.backend.models import ModelFormat, ModelInfo
from modeldeck.backend.text import clean_name, clean_text
from modeldeck.tui import format as fmt
from modeldeck.tui.deck_keys import DECK_KEYS
from modeldeck.tui.details_text import Group, estimate_group, groups
from modeldeck.tui.widgets.card_view import CardView, ReadCard
from modeldeck.tui.wrapping import GrowingText

_LABEL_WIDTH = 17

EstimateOf = Callable[[ModelInfo], Estimate | None]
"""What a model needs, loaded as enter would load it, against what is free now; None while that is not known."""


class PreparedCopies(Protocol):
    """What the details need of ``GgufCopies``; both calls touch the disk."""

    def find(self, gguf: Path, /) -> Path | None:
        """The prepared copy of this file, or None."""
        ...

    def remove(self, gguf: Path, /) -> object:
        """Delete the prepared copy of this file."""
        ...


class DetailsView(VerticalScroll, can_focus=True):
    """Problems and facts of one model, what it needs, its prepared copy where it has one, and its card."""

    DEFAULT_CSS = """
    DetailsView {
        padding: 1 2;
        scrollbar-size-vertical: 1;
    }
    DetailsView > .details--problems {
        color: $text-error;
        margin-top: 1;
    }
    DetailsView > .details--facts, DetailsView > .details--estimate, DetailsView > .details--copy {
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

    model: var[ModelInfo | None] = var(None)
    """The model that is highlighted, or None."""
    copy_path: var[Path | None] = var(None, bindings=True)
    """The prepared copy of a GGUF model, or None where there is none."""

    class CopyLookedFor(Message):
        """Whether a GGUF model has a prepared copy is known again."""

        def __init__(self, model: ModelInfo, found: bool) -> None:
            super().__init__()
            self.model = model
            self.found = found

    def __init__(
        self,
        copies: PreparedCopies | None = None,
        *,
        keeps_copies: bool = True,
        estimate: EstimateOf = lambda model: None,
        read_card: ReadCard = lambda model: None,
    ) -> None:
        super().__init__()
        self._estimate = estimate
        self._read_card = read_card
        self._seen = False
        self._keeps_copies = keeps_copies
        """Whether the settings allow loads to write copies."""
        self._copies = copies
        self._copy_said = ""
        self._shown: tuple[ModelInfo | None, ...] = ()
        """What it was filled with, if it was; the model may be another one while nobody looks."""

    def compose(self) -> ComposeResult:
        """Name, problems, facts, copy, estimate and card, each where there is something to say."""
        for part in ("name", "problems", "facts", "copy", "estimate"):
            yield Static(classes=f"details--{part}", markup=False)
        yield CardView(self._read_card)

    def on_mount(self) -> None:
        """Fill it for the first time."""
        self.watch_model()
        self.look()

    def look(self) -> None:
        """Whoever shows or hides this pane calls it: what takes work is done only while somebody can see it."""
        seen = all(node.display for node in self.ancestors_with_self if isinstance(node, Widget))
        before, self._seen = self._seen, seen
        if seen and not before:
            if self._shown != (self.model,):
                self._show()
            self._fill("copy", Content(self._copy_said))
            self.refresh_estimate()

    def on_resize(self) -> None:
        """Long values are wrapped anew."""
        if self.model is not None and self._seen:
            self._fill("facts", _table(groups(self.model), self._width))
            self.refresh_estimate()

    @property
    def _width(self) -> int:
        return max(2 * _LABEL_WIDTH, self.scrollable_content_region.width)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """The card is drawn a little ahead of the reader."""
        super().watch_scroll_y(old_value, new_value)
        for card in self.query(CardView):
            card.need(int(new_value) + self.size.height)

    def watch_model(self) -> None:
        """Show another model."""
        if not self.children:
            return
        self.copy_path = None
        self._say_copy("")
        self.refresh_copy()
        if self._seen:
            self._show()

    def _show(self) -> None:
        model = self.model
        self._shown = (model,)
        name = "No model is highlighted." if model is None else clean_name(model.name)
        self._fill("name", Content.styled(name, "bold" if model is not None else ""))
        problems = model.problems if model is not None else ()
        self._fill("problems", Content("\n".join(f"✗ {clean_text(problem)}" for problem in problems)))
        self._fill("facts", _table(groups(model), self._width) if model is not None else Content(""))
        self._fill("copy", Content(self._copy_said))
        self.scroll_home(animate=False)
        self.refresh_estimate()
        self.query_one(CardView).show(model)

    def refresh_estimate(self) -> None:
        """Work out again what a load would need; call it when the memory is not what it was."""
        if self._seen:
            estimate = self._estimate(self.model) if self.model is not None else None
            self._fill("estimate", Content("") if estimate is None else _estimated(estimate, self._width))

    def refresh_copy(self) -> None:
        """Look for the prepared copy again; call it when a load has ended, or a copy was written."""
        if self._copies is not None and self.model is not None and self.model.format is ModelFormat.GGUF:
            self._look_for_copy(self._copies, self.model)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The copy can be cleared only where there is one."""
        return self.copy_path is not None if action == "clear_copy" else True

    @work(group="details.copy", exclusive=True)
    async def _look_for_copy(self, copies: PreparedCopies, model: ModelInfo) -> None:
        try:
            path, size = await asyncio.to_thread(_find, copies, Path(model.path))
        except OSError as error:
            self._say_copy(f"The prepared copy cannot be looked for: {error.strerror or error}")
            return
        self.copy_path = path
        self.post_message(self.CopyLookedFor(model, path is not None))
        if path is None:
            promise = "The first load makes one, and later loads are fast."
            none = "The settings keep none (gguf_copies_gb is 0), so each load converts the file anew."
            self._say_copy(f"Prepared copy: none. {promise if self._keeps_copies else none}")
        else:
            self._say_copy(f"Prepared copy: {fmt.size(size)} in {path}\nx clears it{self._next_load}.")

    @work(group="details.copy", exclusive=True)
    async def action_clear_copy(self) -> None:
        """Delete the prepared copy."""
        model = self.model
        if self._copies is None or model is None:
            return
        try:
            await asyncio.to_thread(self._copies.remove, Path(model.path))
        except OSError as error:
            self._say_copy(f"The prepared copy could not be cleared: {error.strerror or error}")
            return
        self.copy_path = None
        self.post_message(self.CopyLookedFor(model, found=False))
        self._say_copy(f"The prepared copy was cleared{self._next_load}.")

    @property
    def _next_load(self) -> str:
        return "; the next load makes it again" if self._keeps_copies else ""

    def _say_copy(self, text: str) -> None:
        self._copy_said = clean_text(text)
        if self._seen:
            self._fill("copy", Content(self._copy_said))

    def _fill(self, part: str, content: Content) -> None:
        for line in self.query(f".details--{part}").results(Static):  # none when the app is closing meanwhile
            line.display = bool(content)
            line.update(content)


def _table(shown: Iterable[Group], width: int) -> Content:
    """The groups, one below the other; what is too long for a line goes on below where it began."""
    lines: list[Content] = []
    for group in shown:
        lines += [Content(""), Content.styled(group.title, "bold $text-accent")] if group.rows else []
        for label, value in group.rows:
            wrapped = GrowingText(width - _LABEL_WIDTH)
            wrapped.extend(clean_name(value, 4096))
            for number, part in enumerate(wrapped.rows):
                beside = label if number == 0 else ""
                lines.append(Content.assemble((beside.ljust(_LABEL_WIDTH), "$text-muted"), part.rstrip()))
    return Content("\n").join(lines[1:])


def _estimated(estimate: Estimate, width: int) -> Content:
    grounds = "\n".join(clean_name(ground, 1000) for ground in estimate.grounds if ground)
    table = _table([estimate_group(estimate)], width)
    return Content("\n").join((table, Content.styled(grounds, "$text-muted"))) if grounds else table


def _find(copies: PreparedCopies, gguf: Path) -> tuple[Path | None, int]:
    path = copies.find(gguf)
    if path is None:
        return None, 0
    return path, sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
