"""The tokens of a reply: how likely each was, and what the model would have said instead."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from modeldeck.backend.chat_messages import TokenChoice
from modeldeck.backend.text import clean_name
from modeldeck.tui.bars import bar
from modeldeck.tui.screens.dialog import Dialog
from modeldeck.tui.widgets.token_view import TokenView, shown_token

_BAR_CELLS = 20
_WIDEST = 24


class LookScreen(Dialog[None]):
    """The reply above, the token under the cursor below."""

    AUTO_FOCUS = "TokenView"

    DEFAULT_CSS = """
    LookScreen TokenView { height: 1fr; margin-bottom: 1; }
    LookScreen #token { height: 7; }
    LookScreen .dialog-muted { margin: 0; }
    """

    def __init__(self, tokens: Sequence[TokenChoice], model_name: str) -> None:
        super().__init__()
        self._tokens = tokens
        self._model_name = clean_name(model_name, 60)

    def compose(self) -> ComposeResult:
        """The reply, the figures, the keys."""
        with Vertical(classes="dialog -whole"):
            yield Static(Content(f"Tokens of a reply by {self._model_name}"), classes="dialog-title")
            yield TokenView(self._tokens)
            yield Static(markup=False, id="token")
            hint = "arrows move · n and p go to unlikely tokens (underlined) · escape closes"
            yield Static(hint, classes="dialog-muted", markup=False)

    @on(TokenView.Moved)
    def _moved(self, event: TokenView.Moved) -> None:
        event.stop()
        token = self._tokens[event.place]
        head = f"token {event.place + 1:,} of {len(self._tokens):,}"
        lines = [Content.styled(head, "dim"), _line(token.text, token.probability, "bold")]
        lines += [_line(text, probability, "") for text, probability in token.others]
        self.query_one("#token", Static).update(Content("\n").join(lines))


def _line(text: str, probability: float, style: str) -> Content:
    full, rest = bar(probability, _BAR_CELLS)
    name = shown_token(text)
    name = name if len(name) <= _WIDEST else name[: _WIDEST - 1] + "…"
    return Content.styled(f"{name:<{_WIDEST}} {probability * 100:5.1f}% {full}{rest}", style)
