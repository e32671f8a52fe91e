"""What is installed beside us is few, pinned, and looked at for known holes."""

from __future__ import annotations

import re
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
OURS = {
    "accelerate", "bitsandbytes", "filelock", "gguf", "httpx2", "huggingface-hub", "jinja2", "markdown-it-py",
    "msgspec", "numpy", "nvidia-ml-py", "packaging", "platformdirs", "psutil", "rich", "sentencepiece", "textual",
    "tokenizers", "tomli-w", "torch", "transformers", "typer",
}  # fmt: skip
"""A new one is a decision: who keeps it, what does its import cost, what would we do without it."""


def _needed(name: str, seen: set[str]) -> set[str]:
    """The packages that are installed with this one, whatever its extras."""
    for text in requires(name) or ():
        requirement = Requirement(text)
        found = canonicalize_name(requirement.name)
        if found in seen or (requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})):
            continue
        try:
            version(found)
        except PackageNotFoundError:
            continue
        seen.add(found)
        _needed(found, seen)
    return seen


def test_s22_dependencies_are_those_that_were_decided_on() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {canonicalize_name(Requirement(text).name) for text in declared} == OURS


def test_s22_every_dependency_is_pinned_to_what_is_installed_and_tested() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    pinned: dict[str, str] = {canonicalize_name(name): pin for name, pin in pins.items()}
    needed = _needed("modeldeck", set())
    assert needed >= OURS
    found = {name: version(name).partition("+")[0] for name in needed}
    assert {name: pin for name, pin in pinned.items() if name in found} == found


def test_s22_an_audit_looks_at_what_is_pinned_and_at_our_own_code() -> None:
    asked = subprocess.run(["make", "-n", "audit"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "pip-audit --requirement constraints.txt" in asked
    assert "bandit --quiet --recursive --configfile pyproject.toml backend config tui" in asked
