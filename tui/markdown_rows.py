"""Markdown of a model as rows of text: shown, and never anything more than shown.

A tree of widgets for each block would be laid out again with every row that a reply grows by (61% of a core and a p99
of 126 ms for 2,000 tokens); rows are drawn once and cost nothing afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from io import StringIO

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown
from rich.segment import Segment
from rich.style import Style
from rich.syntax import Syntax
from rich.theme import Theme
from textual.strip import Strip

from modeldeck.backend.text import clean_text
from modeldeck.tui.markdown_blocks import code_lines
from modeldeck.tui.wrapping import GrowingText

MIN_WIDTH = 20
"""Cells; a narrower view sees the left part of rows of this width."""
MARKDOWN_LIMIT = 16_000
"""Characters; a larger block stays plain text, because parsing and highlighting it takes seconds."""
QUICK_LIMIT = 600
"""Characters that are drawn in some 10 ms, however dense the code is."""

_LIBRARY_ERRORS = (AssertionError, AttributeError, LookupError, RecursionError, RuntimeError, TypeError, ValueError)
"""What Markdown, Rich or Pygments may raise over text that was made to break them."""


@dataclass(frozen=True, slots=True)
class Look:
    """The colours of the theme, as Rich takes them."""

    accent: str
    muted: str
    code_background: str
    dark: bool


class _PlainHeading(Heading):
    LEVEL_ALIGN = dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6"), "left")


class _QuietCode(CodeBlock):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        theme, _, background = self.theme.partition(" ")
        yield Syntax(
            str(self.text).rstrip(),
            self.lexer_name,
            theme=theme,
            word_wrap=True,
            padding=(0, 1),
            background_color=background,
        )


class _Document(Markdown):
    elements = Markdown.elements | {"heading_open": _PlainHeading, "fence": _QuietCode, "code_block": _QuietCode}


class MarkdownRenderer:
    """Draws blocks of Markdown at one width; ``image_addresses`` adds to the words of an image where it lies."""

    def __init__(self, width: int, look: Look, *, image_addresses: bool = True) -> None:
        self.width = max(MIN_WIDTH, width)
        self._look = look
        self._code_theme = f"{'ansi_dark' if look.dark else 'ansi_light'} {look.code_background}"
        self._console = Console(
            file=StringIO(),
            width=self.width,
            force_terminal=True,
            color_system="truecolor",
            legacy_windows=False,
            theme=_theme(look),
        )
        self._parser = _parser(image_addresses=image_addresses)

    def rows(self, source: str) -> list[Strip]:
        """The rows of one block, without blank rows around it."""
        if len(source) > MARKDOWN_LIMIT:
            return self.plain(source)
        document = _Document("", code_theme=self._code_theme)
        try:
            document.parsed = self._parser.parse(source)
            lines = self._console.render_lines(document, pad=False)
        except _LIBRARY_ERRORS:
            return self.plain(source)
        rows = [Strip(_without_links(line)) for line in lines]
        while rows and not rows[0].text.strip():
            rows.pop(0)
        while rows and not rows[-1].text.strip():
            rows.pop()
        return rows or self.plain(source)

    def plain(self, source: str) -> list[Strip]:
        """The rows of one block without Markdown, as an open block looks; quick, however large it is."""
        fence = source.lstrip()[:3] in {"```", "~~~"}
        text = GrowingText(self.width - 2 if fence else self.width, words=not fence)
        text.extend("\n".join(code_lines(source)) if fence else source)
        return [code_strip(row, self.width, self._look) if fence else Strip([Segment(row)]) for row in text.rows]


def code_strip(row: str, width: int, look: Look) -> Strip:
    """One row of code without colours of its own."""
    style = Style(bgcolor=look.code_background)
    return Strip([Segment(f" {row}", style)]).adjust_cell_length(width, style)


@cache
def _parser(*, image_addresses: bool) -> MarkdownIt:
    """One for every reply and thread, which parsing does not change: each has 200 kB of expressions for links."""
    parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
    parser.core.ruler.push("tame", partial(_tame, image_addresses=image_addresses))
    parser.parse("# *one*")  # the rules are gathered now, and no thread sees a part of them
    return parser


def _theme(look: Look) -> Theme:
    quiet = Style(color=look.muted)
    strong = Style(bold=True)
    return Theme(
        {
            "markdown.h1": Style(bold=True, underline=True),
            "markdown.h2": Style(bold=True, underline=True),
            **{f"markdown.h{level}": strong for level in (3, 4, 5, 6)},
            "markdown.code": Style(color=look.accent),
            "markdown.code_block": Style(),
            "markdown.block_quote": quiet,
            "markdown.item.bullet": quiet,
            "markdown.item.number": quiet,
            "markdown.hr": quiet,
            "markdown.table.border": quiet,
            "markdown.table.header": strong,
        }
    )


def _tame(state: StateCore, *, image_addresses: bool) -> None:
    """Clean what the parser made (an entity such as ``&#x202e;`` is a character only now) and spell out links."""
    for token in state.tokens:
        token.content = clean_text(token.content)
        token.info = clean_text(token.info)
        if token.children:
            token.children = _spelled_out(token.children, image_addresses=image_addresses)


def _spelled_out(tokens: list[Token], *, image_addresses: bool) -> list[Token]:
    """Show where a link goes beside its text: nothing can be clicked, and nothing can pretend."""
    shown: list[Token] = []
    links: list[tuple[str, int]] = []
    for token in tokens:
        token.content = clean_text(token.content)
        match token.type:
            case "link_open":
                links.append((clean_text(str(token.attrs.get("href", ""))), len(shown)))
            case "link_close":
                address, start = links.pop()
                if address != "".join(part.content for part in shown[start:]):
                    shown.append(_text(f" ({address})"))
            case "image":
                address = f" ({clean_text(str(token.attrs.get('src', '')))})" if image_addresses else ""
                shown.append(_text(f"{token.content or 'image'}{address}"))
            case _:
                shown.append(token)
    return shown


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _without_links(line: list[Segment]) -> list[Segment]:
    """Styles of Rich may carry links that a terminal opens; none of ours do, and none may."""
    return [
        segment if segment.style is None or segment.style.link is None else Segment(segment.text) for segment in line
    ]


def drawn_apart(sources: dict[int, str], width: int, look: Look) -> dict[int, list[Strip]]:
    """For a thread, with a renderer of its own: Rich's console has a lock that the loop must not wait for."""
    renderer = MarkdownRenderer(width, look)
    return {place: renderer.rows(source) for place, source in sources.items()}
