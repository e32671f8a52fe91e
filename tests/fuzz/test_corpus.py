"""What coverage-guided fuzzing found worth keeping, once more: see ``coverage_guided``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.coverage_guided import TARGETS
from tests.fuzz.reading import modest

CORPUS = Path(__file__).with_name("corpus")


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_every_input_of_the_corpus_is_read_or_refused(target: str) -> None:
    inputs = sorted((CORPUS / target).iterdir())
    assert inputs
    for file in inputs:
        with modest():
            TARGETS[target](file.read_bytes())
