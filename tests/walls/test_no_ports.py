"""Nothing of ours listens: the children are spoken to over pipes (S17)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [file for part in ("backend", "config", "tui") for file in (ROOT / part).rglob("*.py")]
LISTENS = {"bind", "listen", "create_server", "start_server", "create_unix_server", "start_unix_server"}
SERVERS = {"socketserver", "http.server", "xmlrpc.server", "wsgiref.simple_server", "multiprocessing.managers"}


def _found(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in LISTENS:
            yield node.attr
        if isinstance(node, ast.ImportFrom) and node.module in SERVERS:
            yield node.module
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in SERVERS)


def test_s17_no_source_opens_a_port() -> None:
    found = {str(file.relative_to(ROOT)): list(_found(ast.parse(file.read_text()))) for file in SOURCES}
    assert len(found) > 100
    assert {file: names for file, names in found.items() if names} == {}
