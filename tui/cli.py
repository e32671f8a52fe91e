"""The console command: no arguments opens the app, anything else is for scripts.

Nothing heavy is imported at the top. The way to the app is the one that the user waits for, so it never meets typer;
the way to the commands never meets Textual.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TYPE_CHECKING

from modeldeck.backend.text import clean_text
from modeldeck.config.ownership import close_to_others, refusal
from modeldeck.config.paths import Paths
from modeldeck.tui.exit_codes import ExitCode
from modeldeck.tui.garbage import spare_the_start

if TYPE_CHECKING:
    from modeldeck.tui.services import Services

_CONSOLES = ("linux", "vt1", "vt2", "vt3", "vt5", "ansi", "cons25")
"""How ``TERM`` begins where the font has hardly more than letters."""
_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
_PLAIN = ("C", "POSIX")
_THREADS_GRACE_SECONDS = 1.0
"""How long threads may take to end once the app has left the screen."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``modeldeck`` with these arguments (the process's own when None) and return the exit code."""
    os.umask(0o077)  # transcripts, logs and copies of models are nobody else's business
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if not given:
            return _open_app()
        from modeldeck.tui.command_line import run_command  # typer costs 70 ms that the app need not pay

        return run_command(given)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def missing_terminal(environ: Mapping[str, str] = os.environ) -> str | None:
    """Why the full-screen app cannot be drawn here, as a sentence for the user; None when it can."""
    if not all(os.isatty(descriptor) for descriptor in (0, 1, 2)):
        found = "standard input, output and error must all be a terminal"
    elif environ.get("TERM", "") in {"", "dumb", "unknown"}:
        found = f"TERM is {environ.get('TERM') or 'not set'}, which cannot show a full screen"
    else:
        return None
    return f"modeldeck needs a terminal: {found}. Without one, use 'modeldeck ls' or 'modeldeck run MODEL PROMPT'."


def needs_ascii(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this terminal says that it cannot draw lines and marks: a console, or a locale that is not UTF-8.

    Where no locale is set, as in most containers, the terminal is taken for one of today. Python itself sets
    ``LC_CTYPE`` to ``C.UTF-8`` under ``LANG=C``, which says nothing about the terminal.
    """
    if environ.get("TERM", "").startswith(_CONSOLES):
        return True
    named = [environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG")]
    if named[1] in _COERCED and named[2] in _PLAIN:
        named[1] = ""
    locale = next(filter(None, named), "C.UTF-8")
    return "utf8" not in locale.lower().replace("-", "")


def _open_app() -> int:
    if problem := missing_terminal():
        return _refuse(problem, ExitCode.USAGE)
    spare_the_start()
    from modeldeck.tui.program_log import crash_sentence, start_logging
    from modeldeck.tui.services import build_services

    try:
        paths = Paths.from_environment()
    except RuntimeError as error:  # no home folder
        return _refuse(f"modeldeck: {error}", ExitCode.FAILED)
    if problem := refusal(paths):
        return _refuse(f"modeldeck: {problem}", ExitCode.FAILED)
    close_to_others(paths)
    start_logging(paths.log_file)
    try:
        return asyncio.run(_run_app(build_services(paths, ascii_only=needs_ascii())))
    except Exception as error:  # the last handler, for what went wrong outside the app
        from modeldeck.tui.crash_report import write_crash_report

        logging.getLogger(__name__).critical("The program met an error that nobody expected.", exc_info=True)
        return _refuse(crash_sentence(write_crash_report(paths.crashes, error) or paths.log_file), ExitCode.FAILED)


def _refuse(sentence: str, code: ExitCode) -> ExitCode:
    print(clean_text(sentence), file=sys.stderr)  # noqa: T201  # there is no app to say it
    return code


async def _run_app(services: Services) -> int:
    """Show the app until the user leaves; whatever happens, no engine outlives it."""
    from modeldeck.tui.app import ModeldeckApp
    from modeldeck.tui.program_log import crash_sentence

    threads = ThreadPoolExecutor(thread_name_prefix="modeldeck")
    asyncio.get_running_loop().set_default_executor(threads)
    app = ModeldeckApp(services)
    with app.guarded_terminal():
        try:
            await app.run_async(mouse=services.settings.mouse)
        finally:
            await services.manager.close()
    code = app.return_code or 0
    if app.crashed:
        _refuse(crash_sentence(app.crash_report or services.paths.log_file), ExitCode.FAILED)
    threads.shutdown(wait=False, cancel_futures=True)
    _leave_hung_threads(code)
    return code


def _leave_hung_threads(code: int) -> None:
    """End the process here if a thread does not end: Python would wait for a wedged driver or file system for ever."""
    deadline = monotonic() + _THREADS_GRACE_SECONDS
    for thread in threading.enumerate():
        if thread is threading.current_thread() or thread.daemon:
            continue
        thread.join(max(0.0, deadline - monotonic()))
        if thread.is_alive():
            logging.getLogger(__name__).warning("The thread %s does not end; the program leaves it.", thread.name)
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
