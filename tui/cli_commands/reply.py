"""``run``: load a model, reply once on stdout, and leave nothing behind."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING

import typer
from msgspec import structs

from modeldeck.backend.chat_messages import ChatMessage, GenerationStats
from modeldeck.backend.embedded import embedded_engine
from modeldeck.backend.errors import BackendError, NotEnoughMemory
from modeldeck.backend.load_defaults import default_request
from modeldeck.backend.measurements import Measurement, Measurements
from modeldeck.backend.model_defaults import read_model_defaults
from modeldeck.backend.models import LoadRequest, ModelInfo, Quantization
from modeldeck.backend.pipeline_manager import PipelineManager
from modeldeck.backend.protocol import GenerationFinished, TokensGenerated
from modeldeck.backend.text import clean_name
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.generation_layers import Layer
from modeldeck.config.settings import Settings
from modeldeck.config.store import GenerationStore
from modeldeck.config.wording import did_you_mean
from modeldeck.tui.cli_commands.estimating import refuse_what_does_not_fit
from modeldeck.tui.cli_commands.obtaining import find_or_download
from modeldeck.tui.cli_commands.options import LOAD_SETTINGS, given_options
from modeldeck.tui.cli_commands.output import fail, note, say
from modeldeck.tui.cli_commands.signals import until_signal
from modeldeck.tui.exit_codes import ExitCode
from modeldeck.tui.format import seconds, tokens, tokens_per_second
from modeldeck.tui.settings_line import conflicts

if TYPE_CHECKING:
    from modeldeck.tui.cli_commands.workspace import Workspace


_SOME_TOKENS = 512
"""Of a reply, where no setting says how long it may be."""


def read_prompt(prompt: str | None) -> str:
    """The prompt of the command line, or all of standard input. Raises ``typer.BadParameter`` where it is no text."""
    try:
        if prompt is None or prompt == "-":
            if sys.stdin.isatty():
                note("Type the prompt; ctrl+d on an empty line ends it.")
            prompt = sys.stdin.read()
        prompt.encode()  # standard input refuses such bytes itself, but for some locales
    except UnicodeError:
        raise typer.BadParameter("it is not UTF-8 text", param_hint="PROMPT") from None
    if not prompt.strip():
        raise typer.BadParameter("it is empty", param_hint="PROMPT")
    return prompt


def run_model(
    workspace: Workspace,
    text: str,
    prompt: str | None,
    options: Mapping[str, object],
    *,
    trust_remote_code: bool,
    allow_pickles: bool = False,
    quiet: bool,
    force: bool = False,
    preset: str | None = None,
) -> ExitCode:
    """Reply to the prompt with the model that the text names, and say how it ended.

    Raises ``typer.BadParameter`` for an option that is not allowed, before anything is loaded.
    """
    given = GenerationSettings(**given_options(GenerationSettings, options))  # type: ignore[arg-type]  # checked there
    load = given_options(Settings, {name: options.get(name) for name in LOAD_SETTINGS})
    store = GenerationStore(workspace.paths.generation_file)
    for problem in store.load():
        note(f"modeldeck: {problem}")
    if preset is not None and preset not in store.preset_names:
        raise typer.BadParameter(
            f"there is no such preset{did_you_mean(preset, store.preset_names)}", param_hint="--preset"
        )
    prompt = read_prompt(prompt)
    progress = _silence if quiet else note
    model = find_or_download(workspace, text, progress, allow_pickles=allow_pickles)
    if not model.loadable:
        fail(f"{clean_name(model.name)} cannot be loaded: {clean_name(model.why_not_loadable, 400)}")
    plain = _request(workspace.settings, model, load)
    request = structs.replace(plain, trust_remote_code=trust_remote_code, allow_pickles=allow_pickles)
    settings = _settings(store, model, preset, given, progress)
    if not force:
        new_tokens = settings.max_new_tokens
        refuse_what_does_not_fit(workspace, model, request, len(prompt) // 2 + (new_tokens or _SOME_TOKENS))
    start = embedded_engine(workspace.settings, workspace.paths, logging.getLogger("modeldeck.engine").info)
    manager = PipelineManager(start, keep_spare=False, stall_seconds=workspace.settings.stall_seconds)
    manager.on_measured = partial(_keep, Measurements(workspace.paths.measurements))
    return asyncio.run(until_signal(_reply(manager, request, ChatMessage("user", prompt), settings, progress)))


def _request(settings: Settings, model: ModelInfo, load: Mapping[str, object]) -> LoadRequest:
    """What the app would do, and what was asked for on this command line."""
    request = default_request(settings, model)
    return LoadRequest(
        model_id=request.model_id,
        path=request.path,
        device=str(load.get("device", request.device)),
        dtype=str(load.get("dtype", request.dtype)),
        quantization=Quantization(str(load.get("quantization", request.quantization))),
        prepared_copy_limit_bytes=request.prepared_copy_limit_bytes,
        size_bytes=request.size_bytes,
    )


def _settings(
    store: GenerationStore,
    model: ModelInfo,
    preset: str | None,
    given: GenerationSettings,
    progress: Callable[[str], None],
) -> GenerationSettings:
    """What the app would ask for, with what was given here on top; says what will not be as it suggests."""
    layers = store.layers(model.id).with_layer(Layer.MODEL_FILE, read_model_defaults(model.path))
    if preset is not None:
        layers = layers.with_layer(Layer.PRESET, store.preset_values(preset))
    layers = layers.with_layer(Layer.SESSION, given)
    for sentence in conflicts(layers, context_length=model.context_length):
        progress(f"{sentence}.")
    return layers.effective


async def _reply(
    manager: PipelineManager,
    request: LoadRequest,
    prompt: ChatMessage,
    settings: GenerationSettings,
    progress: Callable[[str], None],
) -> ExitCode:
    """Load, reply, end the engine; an error becomes a sentence on stderr and an exit code."""
    try:
        await _load(manager, request, progress)
        stats = await _stream(manager, prompt, settings)
        if stats is not None:
            progress(_summary(stats))
    except NotEnoughMemory as error:
        note(f"modeldeck: {error}")
        return ExitCode.DOES_NOT_FIT
    except BackendError as error:
        note(f"modeldeck: {error}")
        return ExitCode.FAILED
    finally:
        await manager.close()
    return ExitCode.OK


async def _load(manager: PipelineManager, request: LoadRequest, progress: Callable[[str], None]) -> None:
    stage = None
    async with aclosing(manager.load(request)) as steps:
        async for step in steps:
            if step.stage is not stage:
                stage = step.stage
                progress(f"{stage.value} ...")
    if manager.loaded is not None:
        progress(f"loaded in {seconds(manager.loaded.seconds)} on {manager.loaded.device}, {manager.loaded.dtype}")
        for line in manager.loaded.notes:
            progress(line)


async def _stream(
    manager: PipelineManager, prompt: ChatMessage, settings: GenerationSettings
) -> GenerationStats | None:
    """Print the reply as it comes; the last line is always ended."""
    stats, last = None, "\n"
    try:
        async with aclosing(manager.generate((prompt,), settings)) as events:
            async for event in events:
                if isinstance(event, GenerationFinished):
                    stats = event.stats
                elif isinstance(event, TokensGenerated):
                    say(event.text, end="")
                    last = event.text[-1:] or last
    finally:
        if last != "\n":
            say()
    return stats


def _summary(stats: GenerationStats) -> str:
    speed = f" · {tokens_per_second(stats.tokens_per_second)}" if stats.tokens_per_second else ""
    first = f"first token {seconds(stats.first_token_seconds)}"
    full = " (the context is full)" if stats.context_full else ""
    return f"{tokens(stats.new_tokens)}{speed} · {first} · {stats.finish_reason.value}{full}"


def _keep(measurements: Measurements, measurement: Measurement) -> None:
    """What a load takes is worth knowing, but nothing fails for it."""
    with suppress(OSError):
        measurements.keep(measurement)


def _silence(_text: str) -> None:
    """Say nothing."""
