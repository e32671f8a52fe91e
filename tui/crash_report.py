"""What is written down when the program ends by an error in itself: enough for a bug report, nothing that was said."""

from __future__ import annotations

import logging
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from traceback import format_tb
from typing import TYPE_CHECKING

from modeldeck.backend.redaction import redact
from modeldeck.backend.text import clean_text
from modeldeck.config.atomic import write_atomically

if TYPE_CHECKING:
    from modeldeck.tui.services import Services

KEPT = 10
"""Reports; the oldest go first."""
LOG_LINES = 40
_LIBRARIES = ("modeldeck", "textual", "rich", "msgspec", "transformers", "torch")
_ABOUT_CODE = (
    ArithmeticError,
    AttributeError,
    ImportError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    TypeError,
)
"""Their messages name code and files; those of others may quote what they were given, which can be a prompt."""
_logger = logging.getLogger(__name__)


def write_crash_report(folder: Path, error: BaseException, services: Services | None = None) -> Path | None:
    """Write a report of mode 0600 and return its path; None where that cannot be done, which the log then says.

    ``services`` is None when nothing was built yet. Blocking; never raises.
    """
    now = datetime.now(UTC)
    path = folder / f"crash-{now:%Y%m%d-%H%M%S}-{os.getpid()}.txt"
    try:
        text = "\n".join(_lines(now, error, services)) + "\n"
        write_atomically(path, _without_home(clean_text(redact(text))))
        for old in sorted(folder.glob("crash-*.txt"))[:-KEPT]:
            old.unlink(missing_ok=True)
    except Exception:  # the last handler: there is nobody else to tell
        _logger.exception("The crash report cannot be written.")
        return path if path.is_file() else None
    return path


def _lines(now: datetime, error: BaseException, services: Services | None) -> Iterator[str]:
    size = shutil.get_terminal_size()
    yield f"modeldeck crash report, {now:%Y-%m-%d %H:%M:%S} UTC"
    yield "It holds nothing that you or a model said. Paths and the names of models are in it."
    yield ""
    yield f"versions: Python {platform.python_version()}, {', '.join(map(_with_version, _LIBRARIES))}"
    yield f"system: {platform.platform()}"
    yield f"terminal: {size.columns} by {size.lines}, TERM={os.environ.get('TERM', '')}"
    if services is not None:
        yield f"models: {services.manager.status.value}"
        yield from (f"  {one.number} {one.model_id}: {one.status.value}" for one in services.manager.residents)
        yield from ("", "The last lines of the log:")
        yield from (f"  {line}" for line in list(services.log.lines)[-LOG_LINES:])
    yield from ("", "Where it happened, without the values of variables:")
    for link in _chain(error):
        yield from (line.rstrip("\n") for line in format_tb(link.__traceback__))
        yield _name(link)


def _with_version(library: str) -> str:
    try:
        return f"{library} {version(library)}"
    except PackageNotFoundError:
        return f"no {library}"


def _chain(error: BaseException) -> list[BaseException]:
    """What led to the error, the first cause first."""
    chain = [error]
    while True:
        last = chain[-1]
        before = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
        if before is None or before in chain:
            return chain[::-1]
        chain.append(before)


def _name(error: BaseException) -> str:
    kind = type(error).__qualname__
    return f"{kind}: {error}" if isinstance(error, _ABOUT_CODE) else f"{kind} (the log file has its message)"


def _without_home(text: str) -> str:
    with suppress(RuntimeError):  # nobody knows where it is
        if (home := str(Path.home())) != "/":
            return text.replace(home, "~")
    return text
