"""A program for ``engine_python``, so that the installed command runs as it is, with a scripted engine."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.fakes.scripted_engine import scripted_command


def use_scripted_engine(home: Path, script: str = "serve") -> Path:
    """Write ``config.toml`` in this home; returns the file that holds the script, read anew at each start."""
    file = home / "script"
    file.write_text(script)
    python = home / "python"
    *command, _ = scripted_command("")
    python.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$(cat {shlex.quote(str(file))})"\n')
    python.chmod(0o755)
    config = home / ".config" / "modeldeck" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'engine_python = "{python}"\n')
    return file
