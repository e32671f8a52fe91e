"""Who may import what, and what the way to the first frame must never meet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "accelerate", "bitsandbytes", "huggingface_hub", "gguf", "safetensors", "numpy")
NOT_BEFORE_THE_FIRST_FRAME = (*HEAVY, "typer", "psutil", "pynvml", "tomli_w", "filelock")


def _imported(*modules: str) -> set[str]:
    """The top-level packages that a fresh interpreter holds after importing these modules."""
    code = f"import sys, {', '.join(modules)}\nfor name in list(sys.modules): print(name.split('.')[0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_contracts_of_pyproject_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "modules",
    [
        ("modeldeck.tui.cli",),
        ("modeldeck.tui.app", "modeldeck.tui.screens.main", "modeldeck.tui.services", "modeldeck.tui.program_log"),
    ],
    ids=["cli", "app"],
)
def test_the_way_to_the_first_frame_imports_nothing_heavy(modules: tuple[str, ...]) -> None:
    assert not _imported(*modules) & set(NOT_BEFORE_THE_FIRST_FRAME)


def test_building_the_services_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from modeldeck.config.paths import Paths\n"
        "from modeldeck.tui.services import build_services\n"
        "build_services(Paths.from_environment())\n"
        f"print(*({{m.split('.')[0] for m in sys.modules}} & set({NOT_BEFORE_THE_FIRST_FRAME!r})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_a_quick_question_imports_nothing_heavy_and_no_textual(option: str) -> None:
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-c",
        "import sys; from modeldeck.tui.cli import main; main()",
        option,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "typer" in imported
    assert not imported & {*HEAVY, "textual", "psutil", "pynvml"}


def test_all_panes_come_up_without_the_markdown_of_a_reply() -> None:
    assert "markdown_it" not in _imported("modeldeck.tui.app", "modeldeck.tui.widgets.right_side")
