"""Text that is not a literal of ours never becomes markup (S2), and nothing opens what a reply names (S19)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [file for file in sorted((ROOT / "tui").rglob("*.py")) if "textual" in file.read_text()]

_PARSERS = frozenset(
    {"from_markup", "from_text", "render_markup", "render_str", "from_ansi", "highlight", "to_content"}
)
"""Whatever they are given is read as markup, or as escape sequences."""
_SHOW_MARKUP = frozenset({"Static", "Label", "Option", "Button", "Checkbox", "RadioButton", "Tooltip", "DiscoveryHit"})
"""Widgets and rows that take a string for markup."""
_ATTRIBUTES = frozenset({"border_title", "border_subtitle", "tooltip", "label"})
_STRINGS = (ast.JoinedStr, ast.BinOp)
_OPENERS = frozenset({"open_url", "deliver_text", "deliver_binary", "webbrowser", "system", "popen"})
_OPENING_WIDGETS = frozenset({"Markdown", "MarkdownViewer", "Link"})


def _name(node: ast.expr) -> str:
    """The last name of ``a.b.c`` and of ``c``."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_ours(node: ast.expr) -> bool:
    """A literal, or something that is no string: Content, Text."""
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.IfExp):
        return _is_ours(node.body) and _is_ours(node.orelse)
    if isinstance(node, ast.Call):
        made = node.func
        holder = made.value if isinstance(made, ast.Attribute) else made
        while isinstance(holder, ast.Call):  # Content("\n").join(lines)
            holder = holder.func.value if isinstance(holder.func, ast.Attribute) else holder.func
        return _name(holder) in {"Content", "Text"}
    return False


def _plain(call: ast.Call) -> bool:
    return any(
        word.arg == "markup" and isinstance(word.value, ast.Constant) and word.value.value is False
        for word in call.keywords
    )


def complaints(source: str) -> Iterator[tuple[int, str]]:
    """The lines that could show somebody's text as markup, each with why."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield from ((node.lineno, why) for why in _of_call(node))
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute) and target.attr in _ATTRIBUTES and not _is_ours(node.value):
                    yield node.lineno, f"{target.attr} would read its text as markup"
        elif isinstance(node, ast.Attribute | ast.Name) and _name(node) in _OPENERS:
            yield node.lineno, f"{_name(node)} opens what may be anybody's"
        elif isinstance(node, ast.ImportFrom) and node.module == "textual.widgets":
            names = sorted(_OPENING_WIDGETS & {alias.name for alias in node.names})
            yield from ((node.lineno, f"{name} opens what may be anybody's") for name in names)


def _of_call(call: ast.Call) -> Iterator[str]:
    name, first = _name(call.func), call.args[0] if call.args else None
    if name in _PARSERS:
        yield f"{name} reads markup"
    elif name == "notify" and not _plain(call):
        yield "notify without markup=False"
    elif name in _SHOW_MARKUP and not _plain(call):
        if first is None and name in {"Static", "Label"}:
            yield f"an empty {name} that is filled later, without markup=False"
        if first is not None and not _is_ours(first) and not _named_content(call, name):
            yield f"{name} would read its text as markup"
    elif name == "update" and first is not None and (isinstance(first, _STRINGS) or _makes_string(first)):
        yield "update with a string that is no literal"


def _named_content(call: ast.Call, name: str) -> bool:
    """``Option(label)`` and ``Option(self._line(one))``: what mypy sees as Content is checked by the screens' tests."""
    return name == "Option" and not isinstance(call.args[0], _STRINGS) and not _makes_string(call.args[0])


def _makes_string(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _name(node.func) in {"str", "clean_name", "clean_text", "format", "repr"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_s2_s19_no_text_of_others_is_markup_and_none_is_opened(file: Path) -> None:
    assert list(complaints(file.read_text())) == []


@pytest.mark.parametrize(
    "line",
    [
        "self.notify(f'{name} is loaded')",
        "self.notify(name, title='Models')",
        "yield Static(f'Load {name}')",
        "yield Static(name, id='x')",
        "yield Static(id='x')",
        "yield Label(model.name)",
        "Content.from_markup(name)",
        "Option(f'{name}')",
        "Option(clean_name(name))",
        "Button(f'Delete {name}', id='delete')",
        "self.border_title = name",
        "self.query_one(Static).update(f'{name}')",
        "DiscoveryHit(title, run)",
        "matcher.highlight(title)",
        "self.app.open_url(address)",
        "from textual.widgets import Markdown, Static",
    ],
)
def test_s2_s19_the_wall_sees(line: str) -> None:
    assert list(complaints(line))


@pytest.mark.parametrize(
    "line",
    [
        "self.notify(name, markup=False)",
        "yield Static('Keys')",
        "yield Static(Content(name))",
        "yield Static(Content('\\n').join(lines))",
        "yield Static(name, markup=False)",
        "self.border_title = Content(name)",
        "self.query_one(Static).update(Content(name))",
    ],
)
def test_s2_s19_the_wall_lets_pass(line: str) -> None:
    assert list(complaints(line)) == []
