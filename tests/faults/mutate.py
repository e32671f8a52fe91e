"""``python -m tests.faults.mutate [NAME ...]``: takes every defence out in turn and shows that its tests fail.

Each ``mutants/*.patch`` says on its first line what it takes out, names the tests below that, one a line, and ends with
the change. It is applied to a copy of the tree, and every one of these tests must fail there, in one of its cases at
least; a mutant of which one test passes has survived, and that is a failure here. Before that the tests of all mutants
run in a copy without any: what fails there anyway shows nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

ROOT = Path(__file__).parents[2]
PATCHES = Path(__file__).parent / "mutants"
_SOURCES = (
    *("backend", "config", "tui", "tests", "benchmarks", "docs"),
    *("pyproject.toml", "README.md", "Makefile", "constraints.txt"),
)
_AT_ONCE = 2
_LONGEST_SECONDS = 300
_LONGEST_BASELINE_SECONDS = 1200
_FAILED = re.compile(r"^FAILED (.+?)(?: - .*)?$", re.MULTILINE)
_MARK = "PYTHON_MUTANT"
"""An environment variable that every process of a mutant has, engines too, so that none of them outlives it."""


@dataclass(frozen=True)
class Mutant:
    """A defence that is taken out, and the tests that shall notice."""

    name: str
    sentence: str
    tests: tuple[str, ...]
    patch: Path

    @classmethod
    def of(cls, patch: Path) -> Mutant:
        """What the head of a patch says. Raises ValueError where it is not one."""
        head, found, _ = patch.read_text().partition("diff --git")
        sentence, *tests = [line for line in head.splitlines() if line]
        if not found or not tests:
            raise ValueError(f"{patch} is no mutant: a sentence, its tests, a diff")
        return cls(patch.stem, sentence, tuple(tests), patch)

    def applies(self, tree: Path = ROOT) -> bool:
        """Whether the code that it takes out is still there."""
        return self._apply(tree, "--check")

    def survives(self) -> str:
        """Empty where each of its tests failed, else what happened instead."""
        with _copy_of_the_tree(self.name) as tree:
            if not self._apply(tree):
                return "it no longer applies"
            ran = _run(tree, self.tests, self.name, _LONGEST_SECONDS)
            if ran is None:
                return f"its tests did not end within {_LONGEST_SECONDS} s"
            passed = [test for test in self.tests if not has_failed(test, ran.stdout)]
            if not passed:
                return ""
            if ran.returncode in (0, 1):
                return f"not noticed by {', '.join(passed)}"
            return f"its tests do not run:\n{ran.stdout[-2000:]}{ran.stderr}"

    def _apply(self, tree: Path, *options: str) -> bool:
        command = ["git", "apply", *options, str(self.patch)]
        away = {
            "GIT_CEILING_DIRECTORIES": str(tree.parent),
            "GIT_DIR": os.devnull,
        }  # whatever repository lies around it
        environment = os.environ | (away if tree != ROOT else {})
        return subprocess.run(command, cwd=tree, env=environment, capture_output=True, check=False).returncode == 0


def has_failed(test: str, output: str) -> bool:
    """Whether pytest says so of this test, in one case of it at least."""
    return any(test in (failed, failed.partition("[")[0]) for failed in _FAILED.findall(output))


def mutants(names: list[str] | None = None) -> list[Mutant]:
    """All of them by name, or those whose names begin so (``F1-``, ``S4``)."""
    found = [Mutant.of(patch) for patch in sorted(PATCHES.glob("*.patch"))]
    return [one for one in found if not names or any(f"{one.name}-".startswith(f"{name}-") for name in names)]


def failing_anyway(tests: Sequence[str]) -> list[str]:
    """Those that fail, twice, in a copy without any mutant; in parts that run at the same time."""
    files = sorted({test.partition("::")[0] for test in tests})
    parts = [[test for test in tests if test.partition("::")[0] in files[at::_AT_ONCE]] for at in range(_AT_ONCE)]

    def run(part: list[str]) -> list[str]:
        failed = part
        with _copy_of_the_tree("none") as tree:
            for _ in range(2):  # on a busy machine one may fail by its time alone
                ran = _run(tree, failed, "none", _LONGEST_BASELINE_SECONDS) if failed else None
                output = ran.stdout if ran is not None else ""
                if ran is None or ran.returncode not in (0, 1):
                    return [*failed, output[-2000:]] if failed else []
                failed = [test for test in failed if has_failed(test, output)]
        return failed

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [test for failed in pool.map(run, parts) for test in failed]


def main() -> None:
    """Try them, two at a time, and end with 1 where one survives."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.mutate", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="F1 for all of that number, or the name of a patch")
    chosen = mutants(parser.parse_args().names)
    if len(chosen) > 1 and (failing := failing_anyway(sorted({test for one in chosen for test in one.tests}))):
        names = "\n".join(failing)
        sys.exit(f"These tests fail without any mutant, so no mutant was tried; mend them first:\n{names}")
    survivors = 0
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for one, why in zip(chosen, pool.map(Mutant.survives, chosen), strict=True):
            survivors += bool(why)
            print(
                f"{'SURVIVED' if why else 'noticed '}  {one.name}: {one.sentence}{f' ({why})' if why else ''}",
                flush=True,
            )
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants are noticed")
    sys.exit(bool(survivors))


@contextmanager
def _copy_of_the_tree(name: str) -> Iterator[Path]:
    with TemporaryDirectory(prefix=f"mutant-{name}-") as temporary:
        tree = Path(temporary) / "modeldeck"
        for source in _SOURCES:
            _copy(ROOT / source, tree / source)
        yield tree


def _run(tree: Path, tests: Sequence[str], name: str, seconds: float) -> subprocess.CompletedProcess[str] | None:
    """What pytest says of these tests there; None where it does not end in time."""
    options = ("-q", "-rf", "--tb=native", "--no-header", "-p", "no:cacheprovider", "-p", "tests.faults.once")
    command = [sys.executable, "-m", "pytest", *options, *tests]
    environment = os.environ | {
        "PYTHONPATH": str(tree.parent), "PYTHONDONTWRITEBYTECODE": "1", _MARK: str(tree),
    }  # fmt: skip
    try:
        return subprocess.run(
            command,
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end_all(str(tree))


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        shutil.copy2(source, target)
    else:
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))


def _end_all(mark: str) -> None:
    for process in psutil.process_iter():
        try:
            if process.environ().get(_MARK) == mark:
                process.kill()
        except (psutil.Error, OSError):
            continue


if __name__ == "__main__":
    main()
