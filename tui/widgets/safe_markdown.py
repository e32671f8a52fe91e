"""Markdown of a model: shown, and never anything more than shown."""

from __future__ import annotations

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]  # pygments ships no types
from pygments.util import ClassNotFound  # type: ignore[import-untyped]  # pygments ships no types
from textual.widgets import Markdown

from modeldeck.backend.text import clean_text


class SafeMarkdown(Markdown):
    """A closed block of a reply. Links are told with ``Markdown.LinkClicked`` and never opened.

    HTML is text, so that ``<think>`` is not swallowed. Characters written as entities (``&#x202e;``) come into being
    only in the parser, so the tokens are cleaned again.
    """

    DEFAULT_CSS = """
    SafeMarkdown {
        padding: 0;
    }
    SafeMarkdown MarkdownHeader {
        content-align: left middle;
        margin: 0 0 1 0;
        padding: 0;
        background: transparent;
        color: $foreground;
        text-style: bold;
    }
    SafeMarkdown MarkdownH1 {
        text-style: bold underline;
    }
    SafeMarkdown MarkdownFence {
        margin: 0 0 1 0;
        overflow: hidden;
        background: $foreground 4%;
    }
    SafeMarkdown MarkdownFence > Label {
        width: 1fr;
        padding: 0 1;
    }
    SafeMarkdown MarkdownBulletList, SafeMarkdown MarkdownOrderedList {
        margin: 0 0 1 0;
        padding: 0;
    }
    SafeMarkdown MarkdownListItem MarkdownBulletList, SafeMarkdown MarkdownListItem MarkdownOrderedList {
        margin: 0;
    }
    SafeMarkdown MarkdownBullet {
        color: $text-muted;
    }
    SafeMarkdown MarkdownBlockQuote {
        margin: 0 0 1 0;
        background: transparent;
        border-left: outer $foreground 30%;
    }
    SafeMarkdown MarkdownTable {
        margin: 0 0 1 0;
    }
    """

    def __init__(self, source: str) -> None:
        super().__init__(source, parser_factory=_parser, open_links=False)


def _parser() -> MarkdownIt:
    parser = MarkdownIt("gfm-like", {"html": False})
    parser.core.ruler.push("clean", _clean)
    return parser


def _clean(state: StateCore) -> None:
    for token in state.tokens:
        _clean_token(token)
        if token.type == "fence":
            token.info = _language(token.info)


def _clean_token(token: Token) -> None:
    token.content = clean_text(token.content)
    for name, value in token.attrs.items():
        if isinstance(value, str):
            token.attrs[name] = clean_text(value)
    for child in token.children or ():
        _clean_token(child)


def _language(info: str) -> str:
    """The lexer for a fence. Without a known name it is plain: guessing asks every lexer there is."""
    name = info.split()[0] if info.split() else "text"
    try:
        get_lexer_by_name(name)
    except ClassNotFound:
        return "text"
    return name
