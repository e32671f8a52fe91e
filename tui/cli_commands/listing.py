"""``ls`` and ``show``: the models of this machine, for people and for scripts."""

from __future__ import annotations

import msgspec

from modeldeck.backend.catalog.finding import ModelNotFound
from modeldeck.backend.estimate.figures import Verdict
from modeldeck.backend.models import ModelFormat, ModelInfo
from modeldeck.backend.text import clean_name
from modeldeck.tui.cli_commands.estimator import Estimator
from modeldeck.tui.cli_commands.looking import every_model, find
from modeldeck.tui.cli_commands.model_lines import model_lines
from modeldeck.tui.cli_commands.output import fail, note, print_json, print_table, say
from modeldeck.tui.cli_commands.workspace import Workspace
from modeldeck.tui.exit_codes import ExitCode
from modeldeck.tui.format import parameters, size, whole
from modeldeck.tui.marks import model_type


def list_models(workspace: Workspace, *, as_json: bool, quiet: bool) -> None:
    """Print every model; ids only when quiet."""
    found, looked_in = every_model(workspace)
    models = sorted(found, key=lambda model: model.name.casefold())
    if quiet and not as_json:
        for model in models:
            say(clean_name(model.id, limit=4096))
        return
    estimator = Estimator(workspace)
    fits = [estimator.verdict(model) for model in models]
    if as_json:
        documents = [{**model_document(model), "fit": fit} for model, fit in zip(models, fits, strict=True)]
        print_json({"models": documents})
    elif models:
        rows = [_row(model, fit) for model, fit in zip(models, fits, strict=True)]
        print_table(("NAME", "PARAMS", "TYPE", "FIT", "CONTEXT", "SIZE", "SOURCE"), rows)
    else:
        places = ", ".join(clean_name(place, limit=4096) for place in looked_in)
        note(f"No models found. Looked in {places}. Set model_folders in {workspace.paths.config_file}.")


def show_model(workspace: Workspace, text: str, *, as_json: bool) -> None:
    """Print all that the catalog knows about one model."""
    model = find_model(workspace, text)
    if as_json:
        print_json({"model": model_document(model)})
        return
    for label, value in model_lines(model):
        say(f"{label:<15} {clean_name(value, limit=4096)}")


def find_model(workspace: Workspace, text: str) -> ModelInfo:
    """The model that the text names. Ends the command with code 3 when there is none."""
    try:
        return find(workspace, text)
    except ModelNotFound as error:
        fail(str(error), ExitCode.MODEL_NOT_FOUND)


def model_document(model: ModelInfo) -> dict[str, object]:
    """The keys of a model in ``--json``; they stay as they are within a schema version."""
    document: dict[str, object] = msgspec.to_builtins(model)
    return {**document, "loadable": model.loadable}


def _row(model: ModelInfo, fit: Verdict | None) -> tuple[str, ...]:
    if model.problems:
        return clean_name(model.name), "?", "broken", "-", "?", _size(model), clean_name(model.problems[0])
    return (
        clean_name(model.name),
        parameters(model.parameters),
        "adapter" if model.format is ModelFormat.ADAPTER else clean_name(model_type(model)),
        fit or "-",
        _context(model),
        _size(model),
        model.source.value,
    )


def _size(model: ModelInfo) -> str:
    taken = model.size_bytes or model.disk_bytes
    return size(taken) if taken else "?"


def _context(model: ModelInfo) -> str:
    return "?" if model.context_length is None else whole(model.context_length)
