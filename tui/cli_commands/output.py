"""What commands print: data on stdout, everything said to a person on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import NoReturn

import typer
from rich.cells import cell_len, set_cell_size

from modeldeck.backend.redaction import redact
from modeldeck.backend.text import clean_text
from modeldeck.tui.exit_codes import ExitCode

SCHEMA_VERSION = 1
"""Of every ``--json`` document; raised when a key is renamed, removed or changes its meaning."""


def say(text: str = "", end: str = "\n") -> None:
    """Print data for a person. Flushed at once, so that a closed pipe is noticed while it can still be handled."""
    print(clean_text(text), end=end, flush=True)  # noqa: T201  # stdout is what a command is for


def note(text: str) -> None:
    """Print a message, warning or progress, without credentials."""
    print(clean_text(redact(text)), file=sys.stderr, flush=True)  # noqa: T201  # as above


def fail(text: str, code: ExitCode = ExitCode.FAILED) -> NoReturn:
    """Print why the command ends here, and end it."""
    note(f"modeldeck: {text}")
    raise typer.Exit(code)


def print_json(document: dict[str, object]) -> None:
    """Print one document; everything beyond printable ASCII is escaped, so names cannot reach the terminal raw."""
    print(json.dumps({"schema_version": SCHEMA_VERSION, **document}, indent=2), flush=True)  # noqa: T201  # as above


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns as wide as their widest cell, so that ``awk`` and eyes can both read them."""
    table = [head, *rows]
    widths = [max(cell_len(row[column]) for row in table) for column in range(len(head))]
    for row in table:
        say("  ".join(set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip())
