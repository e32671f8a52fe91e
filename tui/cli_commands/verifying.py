"""``verify``: whether a downloaded model is still what the hub has."""

from __future__ import annotations

from msgspec import to_builtins

from modeldeck.backend.catalog.verifying import CheckedFile, snapshot_of, verify_snapshot
from modeldeck.backend.text import clean_name
from modeldeck.tui.cli_commands.listing import find_model
from modeldeck.tui.cli_commands.output import fail, note, print_json, say
from modeldeck.tui.cli_commands.workspace import Workspace
from modeldeck.tui.exit_codes import ExitCode
from modeldeck.tui.format import size


def verify_model(workspace: Workspace, text: str, *, as_json: bool) -> ExitCode:
    """Read every file of the model and compare it with its hash; FAILED where one is another, or has none."""
    model = find_model(workspace, text)
    snapshot = snapshot_of(model)
    if snapshot is None:
        fail(f"{clean_name(model.name)} does not lie in the hub's cache, so there is nothing to compare it with.")
    files: list[CheckedFile] = []
    for file in verify_snapshot(snapshot):
        files.append(file)
        if not as_json:
            say(f"{'BAD' if file.problem else 'ok':<4}{size(file.size):>9}  {clean_name(file.name, 400)}")
    bad = [file for file in files if file.problem]
    if as_json:
        whole = bool(files) and not bad
        print_json({"id": model.id, "revision": snapshot.name, "whole": whole, "files": to_builtins(files)})
    for file in bad:
        note(f"modeldeck: {clean_name(file.name, 400)}: {clean_name(file.problem, 400)}.")
    if bad:
        note("modeldeck: delete the model (D in the app) and download it again.")
    return ExitCode.FAILED if bad or not files else ExitCode.OK
