"""Every fault and every attack has its tests, and every defence a patch that takes it out and that they notice."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.faults.mutate import ROOT, Mutant, mutants

TESTS = ROOT / "tests"
NUMBERS = [*(f"F{number}" for number in range(1, 33)), *(f"S{number}" for number in range(1, 24))]
_NAMED = re.compile(r"test(?:_[fs]\d+)+_")
_ROW = re.compile(r"^\| ([FS]\d+) \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)


@cache
def numbered_tests() -> dict[str, set[str]]:
    """For each number the files, below ``tests``, with a test that carries it."""
    found: dict[str, set[str]] = {}
    for file in TESTS.rglob("test_*.py"):
        for name in _tests_in(file):
            if named := _NAMED.match(name):
                for number in re.findall(r"[fs]\d+", named[0]):
                    found.setdefault(number.upper(), set()).add(str(file.relative_to(TESTS)))
    return found


def _tests_in(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name


def rows() -> dict[str, tuple[str, str, str]]:
    """The table of README.md beside the tests: what happens, what must, and where it is tested or why not."""
    return {row[1]: (row[2], row[3], row[4]) for row in _ROW.finditer((TESTS / "faults" / "README.md").read_text())}


def test_the_table_has_every_number_once() -> None:
    assert list(rows()) == NUMBERS


@pytest.mark.parametrize("number", NUMBERS)
def test_every_number_has_a_test_or_a_reason(number: str) -> None:
    where = rows()[number][2]
    if where.startswith("Not yet: "):
        assert number not in numbered_tests()
        return
    assert set(where.replace("`", "").split(", ")) == numbered_tests().get(number, set())


@pytest.mark.parametrize("number", NUMBERS)
def test_every_number_has_a_mutant_or_a_reason(number: str) -> None:
    if not rows()[number][2].startswith("Not yet: "):
        assert mutants([number]), f"tests/faults/mutants/{number}-*.patch"


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_a_mutant_applies_and_names_tests_that_carry_its_number(mutant: Mutant) -> None:
    number = mutant.name.partition("-")[0]
    assert number in NUMBERS
    assert mutant.applies(), "the code that it takes out has changed: make the patch anew"
    for test in mutant.tests:
        file, _, name = test.partition("::")
        name = name.rpartition("::")[2].partition("[")[0]
        assert name in _tests_in(ROOT / file)
        assert re.match(rf"test(_[fs]\d+)*_{number.lower()}_", name), f"{name} does not carry {number}"
