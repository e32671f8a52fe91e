"""What ``doctor`` looks at: packages, the engine's interpreter, devices, folders, files; gathered, not printed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from msgspec import Struct

from modeldeck.backend import bootstrap
from modeldeck.backend.embedded import engine_command
from modeldeck.backend.hub_endpoint import is_in_the_clear, other_hub
from modeldeck.config.ownership import refusal
from modeldeck.config.paths import Paths

ENGINE_PACKAGES = (*bootstrap.NEEDED, "bitsandbytes", "gguf", "sentencepiece")
"""What the interpreter of ``engine_python`` should have of its own; modeldeck's code is given to it."""

OLDEST_PYTHON = (3, 11)

_OPTIONAL = frozenset({"bitsandbytes", "gguf", "sentencepiece", "nvidia-ml-py"})
"""Without these some models and quantizations are missing, not all."""

ASK_SECONDS = 30.0
"""How long another interpreter may take to list its packages."""

_LIST_PACKAGES = """
import json, platform, sys
from importlib import metadata
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
print(json.dumps({"python": platform.python_version(), "packages": {n: version(n) for n in sys.argv[1:]}}))
"""


class Complaint(Struct, frozen=True):
    """Something that is missing or wrong."""

    text: str
    mend: str
    """The line to run or to write; empty where there is none."""
    needed: bool
    """Whether models cannot be loaded before it is mended."""


class Interpreter(Struct, frozen=True):
    """A Python and the versions of the packages that matter in it; None for one that is not there."""

    executable: str
    python: str
    packages: dict[str, str | None]


class Folder(Struct, frozen=True):
    """A folder that the program reads or writes."""

    name: str
    path: str
    exists: bool
    readable: bool
    writable: bool
    """Whether it can be written, or made when it is not there."""


def own_interpreter(requirements: dict[str, str]) -> Interpreter:
    """The Python that runs this program; ``requirements`` as of ``declared_requirements``."""
    versions = {name: _version(name) for name in requirements}
    return Interpreter(sys.executable, ".".join(str(part) for part in sys.version_info[:3]), versions)


def declared_requirements() -> dict[str, str]:
    """What modeldeck needs to run, from its own metadata: package to the requirement as pip takes it."""
    from packaging.requirements import Requirement

    found = (Requirement(line) for line in metadata.requires("modeldeck") or ())
    wanted = (one for one in found if one.marker is None or one.marker.evaluate({"extra": ""}))
    return {one.name: f"{one.name}{one.specifier}" for one in wanted}


def engine_interpreter(engine_python: str) -> Interpreter | Complaint:
    """Ask the interpreter of ``engine_python`` what it has; in a child, for it may be anything."""
    executable = engine_command(engine_python)[0]
    mend = f"engine_python = {json.dumps(sys.executable)}"
    try:
        answer = subprocess.run(
            [executable, "-I", "-c", _LIST_PACKAGES, *ENGINE_PACKAGES],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=ASK_SECONDS,
            check=True,
        ).stdout
        facts = json.loads(answer)
        return Interpreter(executable, str(facts["python"]), dict(facts["packages"]))
    except subprocess.TimeoutExpired:
        reason = f"did not answer within {ASK_SECONDS:.0f} s"
    except subprocess.CalledProcessError as error:
        reason = f"ended with code {error.returncode}"
    except OSError as error:
        reason = f"cannot be run: {error.strerror}"
    except (ValueError, KeyError, TypeError):
        reason = "is not a Python interpreter"
    return Complaint(f"the engine_python {executable} {reason}", mend, needed=True)


def python_complaints(interpreter: Interpreter) -> Iterator[Complaint]:
    """A Python that is too old for the engine."""
    if tuple(int(part) for part in interpreter.python.split(".")[:2]) < OLDEST_PYTHON:
        text = f"{interpreter.executable} is Python {interpreter.python}; engines need 3.11 or newer"
        yield Complaint(text, f"engine_python = {json.dumps(sys.executable)}", needed=True)


def package_complaints(interpreter: Interpreter, requirements: dict[str, str]) -> Iterator[Complaint]:
    """Every package that is missing or too old, each with the line that installs it."""
    from packaging.requirements import Requirement

    for name, requirement in requirements.items():
        version = interpreter.packages.get(name)
        line = f"{shlex.quote(interpreter.executable)} -m pip install {shlex.quote(requirement)}"
        if version is None:
            needed = name not in _OPTIONAL
            yield Complaint(f"{name} is not installed for {interpreter.executable}", line, needed)
        elif not Requirement(requirement).specifier.contains(version, prereleases=True):
            yield Complaint(f"{name} {version} is not {requirement}", line, needed=False)


def gpu_complaints(interpreter: Interpreter, gpus: int) -> Iterator[Complaint]:
    """A PyTorch that was built for the CPU alone on a machine with GPUs, whose drivers answer."""
    version = interpreter.packages.get("torch")
    if gpus and version is not None and version.endswith("+cpu"):
        line = f"{shlex.quote(interpreter.executable)} -m pip install --force-reinstall torch"
        yield Complaint(f"torch {version} is built without CUDA and uses no GPU", line, needed=False)


def hub_complaints(environ: Mapping[str, str]) -> Iterator[Complaint]:
    """Another hub than Hugging Face's, to which the token goes."""
    if hub := other_hub(environ):
        clear = " in the clear" if is_in_the_clear(environ["HF_ENDPOINT"]) else ""
        text = f"HF_ENDPOINT is set: downloads come from {hub}, and the token would go there{clear}"
        yield Complaint(text, "unset HF_ENDPOINT", needed=False)


def look_at_folders(paths: Paths, model_folders: tuple[Path, ...]) -> tuple[Folder, ...]:
    """Each folder once, with what may be done with it; nothing is created."""
    named = (
        ("config", paths.config_file.parent),
        ("state", paths.state),
        ("cache", paths.cache),
        ("hub cache", paths.hub_cache),
        *(("model folder", folder) for folder in model_folders),
    )
    return tuple(_look_at(name, path) for name, path in named)


def folder_complaints(folders: tuple[Folder, ...]) -> Iterator[Complaint]:
    """Folders that are there but closed to this user."""
    for folder in folders:
        place = shlex.quote(folder.path)
        if folder.exists and not folder.readable:
            yield Complaint(
                f"{folder.path} cannot be read", f"chmod u+rx {place}", needed=folder.name != "model folder"
            )
        elif not folder.writable and folder.name in {"config", "state", "cache"}:
            lost = {"config": "settings cannot be saved", "state": "no log is kept", "cache": "no copies are kept"}
            yield Complaint(f"{folder.path} cannot be written: {lost[folder.name]}", f"chmod u+rwx {place}", False)


def owner_complaints(paths: Paths) -> Iterator[Complaint]:
    """Folders that are another user's, with which the program does not begin."""
    if problem := refusal(paths):
        yield Complaint(problem, "", needed=True)


def _look_at(name: str, path: Path) -> Folder:
    exists = path.is_dir()
    nearest = next((parent for parent in (path, *path.parents) if parent.exists()), path)
    readable = exists and os.access(path, os.R_OK | os.X_OK)
    return Folder(name, os.fspath(path), exists, readable, os.access(nearest, os.W_OK | os.X_OK))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
