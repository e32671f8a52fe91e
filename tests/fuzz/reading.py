"""What every reader of a file promises, checked: it is done at once, in little memory, and its row is fit for use."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import process_time

from modeldeck.backend.catalog.catalog import read_model
from modeldeck.backend.catalog.messages import ModelRead
from modeldeck.backend.catalog.scanner.scanner import _bounded
from modeldeck.backend.estimate.estimating import estimate
from modeldeck.backend.models import LoadRequest, ModelInfo, ModelSource
from modeldeck.backend.protocol import decode_event, encode
from modeldeck.backend.text import clean_text
from modeldeck.tui.cli_commands.model_lines import model_lines
from modeldeck.tui.details_text import groups
from tests.unit.estimate.samples import machine

MOST_SECONDS = 2.0
"""Of processor time; whoever walks a count that a file gives would need years."""
MOST_BYTES = 64 * 2**20
"""Of memory at a time; whoever allocates by a file's word would need terabytes."""


@contextmanager
def modest() -> Iterator[None]:
    """What happens inside takes little time and memory."""
    tracemalloc.start()
    begin = process_time()
    try:
        yield
        taken, held = process_time() - begin, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken < MOST_SECONDS
    assert held < MOST_BYTES


def read(path: Path) -> ModelInfo:
    """The row of a model, which must be one that the whole program can go on with."""
    with modest():
        row = read_model(path, ModelSource.FOLDER)
    assert all(is_sentence(problem) for problem in row.problems)
    sent = ModelRead(1, _bounded(row)[0])
    assert decode_event(encode(sent)) == sent
    for _label, value in model_lines(row):
        assert isinstance(value, str)
    assert groups(row)
    estimate(row, LoadRequest(model_id=row.id, path=row.path), machine())
    return row


def is_sentence(text: str) -> bool:
    """Whether it is one line that ends as sentences do, and holds nothing that a terminal would obey."""
    return text.endswith(".") and is_harmless(text)


def is_harmless(text: str) -> bool:
    """Whether it is one line in which a terminal finds nothing to obey."""
    return "\n" not in text and clean_text(text) == text
