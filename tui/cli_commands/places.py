"""``paths`` and ``config``: where everything lies, and what may stand in ``config.toml``."""

from __future__ import annotations

import os
from pathlib import Path

from modeldeck.config.template import example_config
from modeldeck.tui.cli_commands.output import print_json, say
from modeldeck.tui.cli_commands.workspace import Workspace
from modeldeck.tui.exit_codes import ExitCode


def places(workspace: Workspace) -> dict[str, Path]:
    """Every file and folder of the program, by the names that ``paths --json`` uses."""
    paths = workspace.paths
    return {
        "config_file": paths.config_file,
        "generation_file": paths.generation_file,
        "profiles_file": paths.profiles_file,
        "state": paths.state,
        "log_file": paths.log_file,
        "cache": paths.cache,
        "gguf_copies": paths.gguf_copies,
        "compiled": paths.compiled,
        "hub_cache": paths.hub_cache,
    }


def print_paths(workspace: Workspace, *, as_json: bool) -> None:
    """Print where everything lies; what is not there yet is marked."""
    if as_json:
        found: dict[str, object] = {name: os.fspath(path) for name, path in places(workspace).items()}
        found["model_folders"] = [os.fspath(folder) for folder in workspace.model_folders]
        print_json({"paths": found})
        return
    rows = [*places(workspace).items(), *(("model_folder", folder) for folder in workspace.model_folders)]
    for name, path in rows:
        say(f"{name:<16} {path}{'' if path.exists() else '  (not there yet)'}")


def print_config(workspace: Workspace) -> ExitCode:
    """Print an example of ``config.toml``; what is wrong with the user's own goes to stderr and into the exit code."""
    say(example_config(), end="")
    workspace.complain()
    return ExitCode.FAILED if workspace.problems else ExitCode.OK
