"""What the wheel holds, and that it runs where nothing of the source tree is."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.terminal.harness import terminal
from tests.unit.cli.conftest import write_model

ROOT = Path(__file__).parents[2]
PARTS = ("config", "backend", "tui")
OFFERED = ("adapters", "quantizers", "images")
"""The extras for users; what they bring is looked for before it is imported."""


def test_the_packages_of_pyproject_are_the_folders() -> None:
    folders = {
        "modeldeck." + ".".join(init.parent.relative_to(ROOT).parts)
        for part in PARTS
        for init in (ROOT / part).rglob("__init__.py")
    }
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(folders)
    python_without_package = {
        file.parent
        for part in PARTS
        for file in (ROOT / part).rglob("*.py")
        if not (file.parent / "__init__.py").exists()
    }
    assert python_without_package == set()


def _imported() -> dict[str, str]:
    """Every package outside the standard library that the parts import, with one file that does."""
    found: dict[str, str] = {}
    for part in PARTS:
        for file in (ROOT / part).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                found |= {name.split(".")[0]: str(file.relative_to(ROOT)) for name in names}
    return {name: file for name, file in found.items() if name not in {*sys.stdlib_module_names, "modeldeck"}}


def test_what_is_imported_is_declared_and_pinned() -> None:
    """The environment of the tests has far more than a user's, so nothing else would notice."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    offered = [line for name, lines in project["optional-dependencies"].items() if name in OFFERED for line in lines]
    declared = {canonicalize_name(Requirement(line).name) for line in [*project["dependencies"], *offered]}
    owners = metadata.packages_distributions()
    missing = {
        f"{name} ({file})"
        for name, file in _imported().items()
        if not declared & {canonicalize_name(owner) for owner in owners.get(name, ())}
    }
    assert missing == set()
    pins = [line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    assert declared - {canonicalize_name(Requirement(pin).name) for pin in pins if pin} == set()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the tree's own files, built from a copy so that nothing is written into the tree."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of a new environment with the wheel in it. Its dependencies are those of the tests' environment,

    lent by a ``.pth`` file, so that nothing is downloaded; the editable modeldeck there is told to stay away.
    """
    folder = tmp_path_factory.mktemp("clean") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    install = [*pip, "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lent = [entry for entry in sys.path if entry.endswith("site-packages")]
    (site / "lent.pth").write_text("\n".join(lent) + "\n")  # only a path: .pth files in there are not run
    return folder / "bin"


def _run(command: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)


class TestWheel:
    def test_styles_and_type_markers_are_inside(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            names = set(archive.namelist())
        for part in PARTS:
            assert f"modeldeck/{part}/py.typed" in names
            for data in (*(ROOT / part).rglob("*.tcss"), *(ROOT / part).rglob("*.json")):
                assert f"modeldeck/{data.relative_to(ROOT)}" in names
        assert not any(name.startswith(("tests", "benchmarks", "modeldeck/tests")) for name in names)

    def test_no_path_of_the_machine_that_built_it_is_inside(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                assert str(ROOT).encode() not in archive.read(name), name

    def test_it_runs_in_a_clean_environment(self, installed: Path, home: Path) -> None:
        where = _run([str(installed / "python"), "-c", "import modeldeck.tui as t; print(t.__file__)"], home)
        assert Path(where.stdout.strip()).is_relative_to(installed.parent), where.stderr
        version = _run([str(installed / "modeldeck"), "--version"], home)
        assert version.stdout.startswith("modeldeck "), version.stderr
        listed = _run([str(installed / "modeldeck"), "ls", "--json"], home)
        assert json.loads(listed.stdout)["schema_version"] == 1

    @pytest.mark.pty
    def test_the_app_opens_in_a_clean_environment(self, installed: Path, home: Path) -> None:
        config = home / ".config" / "modeldeck" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text("spare_engine = false\n")
        write_model(home / "models" / "tiny-llama")
        with terminal(command=(str(installed / "modeldeck"),), PYTHONPATH="") as opened:
            opened.wait_for("Models", 40)
            opened.wait_for("tiny-llama", 40)
            opened.wait_for("NOT LOADED", 40)
            opened.press("ctrl+q")
            assert opened.ended() == 0
