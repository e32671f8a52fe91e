"""What a person, or the world around, may do to the app at any time."""

from __future__ import annotations

import importlib
import os
import pkgutil
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from textual.binding import Binding
from textual.dom import DOMNode
from textual.pilot import Pilot

import modeldeck.tui
from modeldeck.config.paths import Paths
from tests.tui.deck import MODELS, FakeCatalog, deck_of, model

LEAVES = {"q", "ctrl+q", "ctrl+z"}
"""Keys that end or suspend the app."""
MOVES = ("up", "down", "left", "right", "home", "end", "pageup", "pagedown", "tab", "shift+tab", "space", "backspace")
TEXTS = (
    "hello",
    "What is the capital of France?",
    "/qwen >7b",
    "/[bold]no markup[/]",
    "@/etc/hostname what is this?",
    "org/name",
    "-1",
    "1e999",
    "0.7",
    "\u202e\u200bhidden\x07",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \xe9 \uff46\uff55",
    "line one\nline two",
)
SIZES = ((120, 40), (80, 24), (160, 45), (60, 16), (20, 5), (200, 60), (100, 12))
TOML = ('[models."/scripted/Qwen3-8B"]\ntemperature = 0.3\n', "temperature = [", "", "version = 99\n", "top_p = 7\n")


@dataclass(frozen=True)
class Doing:
    """One thing that may be done, and how often against the others."""

    name: str
    weight: float
    do: Callable[[Pilot[int], Random], Awaitable[object]]


def random_doings(catalog: FakeCatalog | None, paths: Paths) -> list[Doing]:
    """Every key of the app, text, sizes, and what happens around it; without a ``catalog`` the models stay."""
    keys = sorted(_keys() - LEAVES)
    doings = [
        *(Doing(f"press {key}", 2.0, _press(key)) for key in keys),
        *(Doing(f"press {key}", 4.0, _press(key)) for key in MOVES),
        Doing("press enter", 40.0, _press("enter")),
        Doing("press escape", 20.0, _press("escape")),
        *(Doing(f"type {text!r}", 2.0, _type(text)) for text in TEXTS),
        *(Doing(f"make the window {size}", 0.7, _resize(size)) for size in SIZES),
        Doing("wait", 10.0, _wait),
        Doing("kill an engine", 3.0, _kill_an_engine),
        *(Doing(f"write {text!r} into generation.toml", 0.5, _write(paths, text)) for text in TOML),
    ]
    if catalog is not None:
        doings.append(Doing("change the models on the disk", 4.0, _change(catalog)))
    return doings


def _keys() -> set[str]:
    return {key.strip() for binding in _bindings() for key in binding.key.split(",")}


def _bindings() -> Iterator[Binding]:
    for module in pkgutil.walk_packages(modeldeck.tui.__path__, "modeldeck.tui."):
        for thing in vars(importlib.import_module(module.name)).values():
            if isinstance(thing, type) and issubclass(thing, DOMNode) and thing.__module__ == module.name:
                yield from Binding.make_bindings(thing.BINDINGS)


def _press(key: str) -> Callable[[Pilot[int], Random], Awaitable[object]]:
    async def press(pilot: Pilot[int], _random: Random) -> None:
        await pilot.press(key)

    return press


def _type(text: str) -> Callable[[Pilot[int], Random], Awaitable[object]]:
    async def write(pilot: Pilot[int], _random: Random) -> None:
        from textual.events import Paste

        pilot.app.post_message(Paste(text))

    return write


def _resize(size: tuple[int, int]) -> Callable[[Pilot[int], Random], Awaitable[object]]:
    async def resize(pilot: Pilot[int], _random: Random) -> None:
        await pilot.resize_terminal(*size)

    return resize


async def _wait(pilot: Pilot[int], random: Random) -> None:
    await pilot.pause(random.choice((0.01, 0.05, 0.2)))


async def _kill_an_engine(pilot: Pilot[int], random: Random) -> None:
    if pids := deck_of(pilot).services.manager.engine_pids:
        with suppress(ProcessLookupError):
            os.kill(random.choice(pids), signal.SIGKILL)


def _write(paths: Paths, text: str) -> Callable[[Pilot[int], Random], Awaitable[object]]:
    async def write(_pilot: Pilot[int], _random: Random) -> None:
        paths.generation_file.parent.mkdir(parents=True, exist_ok=True)
        paths.generation_file.write_text(text)

    return write


def _change(catalog: FakeCatalog) -> Callable[[Pilot[int], Random], Awaitable[object]]:
    async def change(_pilot: Pilot[int], random: Random) -> None:
        names = [found.name for found in MODELS] + [f"new-{number}" for number in range(6)]
        chosen = random.sample(names, random.randint(1, len(names)))
        known = {found.name: found for found in MODELS}
        catalog.models = [known.get(name) or model(name) for name in chosen]
        await catalog.rescan()

    return change
