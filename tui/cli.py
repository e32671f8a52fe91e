"""The console command: no arguments opens the app, anything else is for scripts.

Nothing heavy is imported at the top. The way to the app is the one that the user waits for, so it never meets typer;
the way to the commands never meets Textual.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from modeldeck.config.paths import Paths
from modeldeck.tui.exit_codes import ExitCode

if TYPE_CHECKING:
    from modeldeck.tui.services import Services


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


def _open_app() -> int:
    if problem := missing_terminal():
        return _refuse(problem, ExitCode.USAGE)
    from modeldeck.tui.program_log import start_logging
    from modeldeck.tui.services import build_services

    try:
        paths = Paths.from_environment()
    except RuntimeError as error:  # no home folder
        return _refuse(f"modeldeck: {error}", ExitCode.FAILED)
    start_logging(paths.log_file)
    return asyncio.run(_run_app(build_services(paths)))


def _refuse(sentence: str, code: ExitCode) -> ExitCode:
    print(sentence, file=sys.stderr)  # noqa: T201  # there is no app to say it
    return code


async def _run_app(services: Services) -> int:
    """Show the app until the user leaves; whatever happens, no engine outlives it."""
    from modeldeck.tui.app import ModeldeckApp

    app = ModeldeckApp(services)
    try:
        await app.run_async(mouse=services.settings.mouse)
    finally:
        await services.manager.close()
    return app.return_code or 0
