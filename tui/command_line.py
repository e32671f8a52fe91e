"""The commands for scripts; every one works without a terminal. Their work is done in ``cli_commands``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from io import StringIO
from typing import Annotated

import typer

from modeldeck.tui.cli_commands.options import option_parameters
from modeldeck.tui.cli_commands.workspace import Workspace, open_workspace
from modeldeck.tui.exit_codes import ExitCode

app = typer.Typer(
    rich_markup_mode=None,  # help holds text of ours only, but markup would still eat its brackets
    pretty_exceptions_enable=False,  # they print local variables, prompts and paths among them
    help="See, load, talk to, tune and swap local models. Without a command: the full-screen app.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="Its name, a part of it, its id, or a path.")]
LoadOption = Annotated[str | None, typer.Option(help="How it would be loaded; as for run.")]
ModelOrHubId = Annotated[
    str, typer.Argument(metavar="MODEL", help="As for show; a Hub id (org/name) that is not here is downloaded.")
]


def run_command(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        code = app(args=list(arguments), prog_name="modeldeck", standalone_mode=False)
    except SystemExit as end:  # a pipe that nobody reads
        code = end.code if isinstance(end.code, int) else int(ExitCode.FAILED)
    except typer.Abort:
        code = int(ExitCode.FAILED)
    except typer.TyperException as error:  # it names what was given, which may be anybody's words
        code = _complain(error)
    return code if isinstance(code, int) else ExitCode.OK


def _complain(error: typer.TyperException) -> int:
    """Say what was wrong with the command line, as typer would, and return the exit code."""
    from modeldeck.tui.cli_commands.output import note

    said = StringIO()
    show: Callable[[StringIO], object] = getattr(error, "show", lambda file: file.write(str(error)))
    show(said)
    note(said.getvalue().rstrip("\n"))
    return error.exit_code


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        from modeldeck.tui.cli_commands.output import say

        say(f"modeldeck {version('modeldeck')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Everything that stands before a command."""


@app.command("ls")
def _list(
    as_json: AsJson = False, quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print ids only.")] = False
) -> None:
    """List the models of this machine."""
    from modeldeck.tui.cli_commands.listing import list_models

    list_models(_workspace(), as_json=as_json, quiet=quiet)


@app.command("show")
def _show(
    model: Model,
    as_json: AsJson = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="What a load needs, against what is free now.")] = False,
    device: LoadOption = None,
    dtype: LoadOption = None,
    quantization: LoadOption = None,
    context: Annotated[int | None, typer.Option("--context", help="Tokens of the conversation to reckon with.")] = None,
) -> None:
    """Print what is known about one model; with --estimate, whether it fits."""
    options = {"device": device, "dtype": dtype, "quantization": quantization}
    if estimate:
        from modeldeck.tui.cli_commands.estimating import show_estimate

        show_estimate(_workspace(), model, options, context, as_json=as_json)
        return
    if context is not None or any(value is not None for value in options.values()):
        raise typer.BadParameter("these options go with --estimate", param_hint="--device --dtype ... --context")
    from modeldeck.tui.cli_commands.listing import show_model

    show_model(_workspace(), model, as_json=as_json)


def _with_declared_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every declared setting, in place of the ``**options`` that takes them."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    command.__signature__ = signature.replace(parameters=[*own, *option_parameters()])  # type: ignore[attr-defined]  # read by typer
    return command


@app.command("run")
@_with_declared_options
def _run(
    model: ModelOrHubId,
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="Left out or '-': read from standard input.")
    ] = None,
    *,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let the model run code that it brings along.")
    ] = False,
    allow_pickles: Annotated[
        bool, typer.Option("--allow-pickles", help="Read (and download) pickled weights where there are no others.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no figures.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Load what does not fit by the estimate, too.")] = False,
    preset: Annotated[
        str | None, typer.Option("--preset", metavar="NAME", help="Take a preset in place of the model's own.")
    ] = None,
    **options: object,
) -> None:
    """Load a model and reply to one prompt on standard output."""
    from modeldeck.tui.cli_commands.reply import run_model

    code = run_model(
        _workspace(),
        model,
        prompt,
        options,
        trust_remote_code=trust_remote_code,
        allow_pickles=allow_pickles,
        quiet=quiet,
        force=force,
        preset=preset,
    )
    raise typer.Exit(code)


@app.command("verify")
def _verify(model: Model, as_json: AsJson = False) -> None:
    """Read every file of a downloaded model and compare it with the hub's hash of it; needs no network."""
    from modeldeck.tui.cli_commands.verifying import verify_model

    raise typer.Exit(verify_model(_workspace(), model, as_json=as_json))


@app.command("doctor")
def _doctor(
    as_json: AsJson = False,
    clear_gguf_copies: Annotated[
        bool, typer.Option("--clear-gguf-copies", help="Delete the prepared copies of GGUF models first.")
    ] = False,
) -> None:
    """Say what is here, what is missing, and what mends it."""
    from modeldeck.tui.cli_commands.doctor import examine

    raise typer.Exit(examine(open_workspace(), as_json=as_json, clear_gguf_copies=clear_gguf_copies))


@app.command("paths")
def _paths(as_json: AsJson = False) -> None:
    """Print where everything lies."""
    from modeldeck.tui.cli_commands.places import print_paths

    print_paths(open_workspace(), as_json=as_json)


@app.command("config")
def _config() -> None:
    """Print an example config.toml with every setting."""
    from modeldeck.tui.cli_commands.places import print_config

    raise typer.Exit(print_config(open_workspace()))


def _workspace() -> Workspace:
    workspace = open_workspace()
    workspace.claim()
    workspace.complain()
    return workspace
