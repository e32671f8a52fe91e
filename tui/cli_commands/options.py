"""Command line options made from declarations: every generation setting, and how a model is loaded."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Annotated

import typer
from msgspec import Struct

from modeldeck.config.declaration import InvalidValue, Setting, convert, parse, settings_of
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.settings import Settings

LOAD_SETTINGS = ("device", "dtype", "quantization")
"""The settings of ``config.toml`` that one command may override."""

_EXTRA_FLAGS = {"system_prompt": ("--system",)}
"""Shorter names that people expect."""


def option_parameters() -> list[inspect.Parameter]:
    """The options as parameters of a typer command; each is None while it is not given."""
    load = [setting for setting in settings_of(Settings) if setting.name in LOAD_SETTINGS]
    return [_parameter(setting) for setting in (*load, *settings_of(GenerationSettings))]


def given_options(struct: type[Struct], options: Mapping[str, object]) -> dict[str, object]:
    """The values that were given for this struct's settings. Raises ``typer.BadParameter`` with what is allowed."""
    given: dict[str, object] = {}
    for setting in settings_of(struct):
        value = options.get(setting.name)
        if value is None or value == []:
            continue
        try:
            given[setting.name] = parse(setting, value) if isinstance(value, str) else convert(setting, value)
        except InvalidValue as error:
            raise typer.BadParameter(str(error), param_hint=f"--{_flag(setting)}") from error
    return given


def _flag(setting: Setting) -> str:
    return setting.name.replace("_", "-")


def _parameter(setting: Setting) -> inspect.Parameter:
    flag = _flag(setting)
    limits = f" ({setting.limits})" if setting.kind in {"int", "float", "choice"} or setting.pattern else ""
    match setting.kind:
        case "bool":
            option = typer.Option(f"--{flag}/--no-{flag}", help=setting.help, show_default=False)
            annotation: object = Annotated[bool | None, option]
        case "list":
            option = typer.Option(f"--{flag}", help=f"{setting.help}; may be repeated", metavar="TEXT")
            annotation = Annotated[list[str] | None, option]
        case _:
            names = (f"--{flag}", *_EXTRA_FLAGS.get(setting.name, ()))
            metavar = {"int": "INTEGER", "float": "NUMBER"}.get(setting.kind, "TEXT")
            option = typer.Option(*names, help=setting.help + limits, metavar=metavar)
            annotation = Annotated[str | None, option]
    return inspect.Parameter(setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
