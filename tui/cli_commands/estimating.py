"""``show --estimate``: what one exact load needs, against what is free now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import typer
from msgspec.structs import replace

from modeldeck.backend.estimate.figures import DEFAULT_CONTEXT, DeviceNeed, Estimate, Suggestion, Verdict
from modeldeck.backend.load_defaults import default_request
from modeldeck.backend.models import LoadRequest, ModelInfo, Quantization
from modeldeck.backend.text import clean_name
from modeldeck.config.settings import Settings
from modeldeck.tui.cli_commands.estimator import Estimator
from modeldeck.tui.cli_commands.listing import find_model
from modeldeck.tui.cli_commands.options import given_options
from modeldeck.tui.cli_commands.output import fail, note, print_json, print_table, say
from modeldeck.tui.cli_commands.workspace import Workspace
from modeldeck.tui.exit_codes import ExitCode
from modeldeck.tui.format import size, whole

LONGEST_CONTEXT = 2**27
"""Tokens that ``--context`` takes; beyond it a figure means nothing."""


def show_estimate(
    workspace: Workspace, text: str, options: Mapping[str, object], context: int | None, *, as_json: bool
) -> None:
    """Print what the load needs on each device, the verdict, its grounds, and what would fit instead."""
    tokens = DEFAULT_CONTEXT if context is None else context
    if not 1 <= tokens <= LONGEST_CONTEXT:
        raise typer.BadParameter(f"must be from 1 to {LONGEST_CONTEXT:,} tokens", param_hint="--context")
    model = find_model(workspace, text)
    if reason := model.why_not_loadable:
        fail(f"{clean_name(model.name)} cannot be loaded: {clean_name(reason, limit=400)}")
    request = _request(workspace, model, options)
    estimator = Estimator(workspace)
    found, instead = estimator.estimate(model, request, tokens), estimator.suggest(model, request, tokens)
    if context is not None and found.context_tokens < tokens:
        note(f"{clean_name(model.name)} takes {whole(found.context_tokens)} tokens at the most, so this is for those.")
    if as_json:
        print_json({"model": model.id, "request": _asked(request), **estimate_document(found, instead)})
    else:
        _print(model, request, found, instead)


def refuse_what_does_not_fit(workspace: Workspace, model: ModelInfo, request: LoadRequest, tokens: int) -> None:
    """End the command with code 4 and the figures where the load cannot fit into what is free now."""
    estimator = Estimator(workspace)
    found = estimator.estimate(model, request, tokens)
    if found.verdict is not Verdict.DOES_NOT_FIT:
        return
    short = [need for need in found.devices if need.left_bytes < 0] or found.devices
    needed = size(sum(need.needed_bytes for need in short))
    free = " and ".join(f"{size(need.free_bytes)} is free on {need.device}" for need in short)
    instead = estimator.suggest(model, request, tokens).quantization
    way = f" --quantization {instead} would fit." if instead not in (None, request.quantization) else ""
    fail(
        f"{clean_name(model.name)} does not fit: it needs about {needed}, and {free}.{way}"
        " --force tries it all the same.",
        ExitCode.DOES_NOT_FIT,
    )


def estimate_document(found: Estimate, instead: Suggestion) -> dict[str, object]:
    """The keys of an estimate in ``--json``; bytes are bytes."""
    needs: list[dict[str, Any]] = [
        {**msgspec.to_builtins(need), "needed_bytes": need.needed_bytes, "left_bytes": need.left_bytes}
        for need in found.devices
    ]
    estimated: dict[str, Any] = {**msgspec.to_builtins(found), "needed_bytes": found.needed_bytes, "devices": needs}
    return {"estimate": estimated, "suggestion": msgspec.to_builtins(instead)}


def _request(workspace: Workspace, model: ModelInfo, options: Mapping[str, object]) -> LoadRequest:
    """The user's settings, with what this command was given."""
    given = given_options(Settings, options)
    request = default_request(workspace.settings, model)
    return replace(
        request,
        device=str(given.get("device", request.device)),
        dtype=str(given.get("dtype", request.dtype)),
        quantization=Quantization(str(given.get("quantization", request.quantization))),
    )


def _asked(request: LoadRequest) -> dict[str, str]:
    return {"device": request.device, "dtype": request.dtype, "quantization": str(request.quantization)}


def _print(model: ModelInfo, request: LoadRequest, found: Estimate, instead: Suggestion) -> None:
    asked = " · ".join(_asked(request).values())
    say(f"{clean_name(model.name)}  {asked}  {whole(found.context_tokens)} tokens")
    say(f"verdict: {found.verdict}")
    if found.devices:
        head = ("DEVICE", "WEIGHTS", "CACHE", "WORKING", "ENGINE", "NEEDED", "FREE", "LEFT")
        print_table(head, [_device_row(need) for need in found.devices])
    for ground in found.grounds:
        say(f"- {clean_name(ground, limit=400)}")
    if found.verdict is not Verdict.UNKNOWN:
        for line in _suggestions(request, instead):
            say(line)


def _device_row(need: DeviceNeed) -> tuple[str, ...]:
    parts = (need.weights_bytes, need.cache_bytes, need.working_bytes, need.engine_bytes, need.needed_bytes)
    left = size(need.left_bytes) if need.left_bytes >= 0 else f"{size(-need.left_bytes)} too little"
    return (need.device, *(size(part) for part in parts), size(need.free_bytes + need.credit_bytes), left)


def _suggestions(request: LoadRequest, instead: Suggestion) -> list[str]:
    said = []
    if instead.longest_context is not None:
        said.append(f"longest conversation that fits so: {whole(instead.longest_context)} tokens")
    if instead.quantization is None:
        said.append("nothing that modeldeck can do makes it fit now")
    elif (instead.dtype, instead.quantization) != (request.dtype, request.quantization):
        said.append(f"best that fits: dtype {instead.dtype}, quantization {instead.quantization}")
    return said
