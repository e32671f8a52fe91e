from __future__ import annotations

import os
from pathlib import Path

import pytest

from modeldeck.backend.catalog.files import ModelFolder
from modeldeck.backend.catalog.model_card import MAX_CARD, CardHead, parse_head, read_card, read_card_head
from modeldeck.backend.catalog.rows import Identity
from modeldeck.backend.models import ModelInfo, ModelSource
from tests.unit.catalog.trees import hub_model, hub_repo

CARD = """---
license: apache-2.0
language:
  - en
  - de
tags: [text-generation, "chat"]  
base_model:
- org/base  # the one it was made from
pipeline_tag: text-generation
widget:
  license: not this one
---

# A model
It talks.
"""  # as people leave them


def row(path: Path) -> ModelInfo:
    return Identity(str(path), "x", ModelSource.FOLDER).row(str(path))


def test_the_head_is_read_and_cut_off(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(CARD)
    assert read_card_head(ModelFolder(str(tmp_path))) == CardHead(
        licence="apache-2.0", tags=("text-generation", "chat"), base_model="org/base", pipeline_tag="text-generation"
    )
    assert read_card(row(tmp_path)) == "# A model\nIt talks."


@pytest.mark.parametrize(
    ("head", "licence", "tags"),
    [
        ("license: other\nlicense_name: llama3\n", "llama3", ()),
        ("license:\n- mit\n- bsd\n", "mit", ()),
        ("license: |\n  text\n", None, ()),
        ("license: {a: b}\ntags: 'one'\n", None, ("one",)),
        ("tags:\n" + "- x\n" * 10_000, None, ("x",)),
        ("tags: [" + "a," * 10_000 + "]\n", None, ("a",)),
        ("license: \x1b[31mred\n", "\u241b[31mred", ()),
        (": : :\n- - -\n\tx\n&a *b\n", None, ()),
    ],
)
def test_of_the_head_only_simple_values_are_taken(head: str, licence: str | None, tags: tuple[str, ...]) -> None:
    found = parse_head(head)
    assert (found.licence, found.tags) == (licence, tags)


def test_a_licence_s_file_stands_in_for_a_card_that_tells_none(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("...")
    assert read_card_head(ModelFolder(str(tmp_path))).licence == "see LICENSE"
    assert read_card(row(tmp_path)) is None


def test_f26_a_card_of_ten_gigabytes_is_read_for_its_beginning(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: mit\n---\nHello \udcff\x1b[2J".encode("utf-8", "surrogateescape").decode("latin-1"))
    os.truncate(card, 10 * 2**30)
    assert read_card_head(ModelFolder(str(tmp_path))).licence == "mit"
    text = read_card(row(tmp_path))
    assert text is not None
    assert text.startswith("Hello")
    assert len(text) <= MAX_CARD
    assert "\x1b" not in text


def test_f26_a_card_that_is_no_file_does_no_harm(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "README.md")
    assert read_card_head(ModelFolder(str(tmp_path))) == CardHead()
    assert read_card(row(tmp_path)) is None


def test_s13_a_card_in_the_hub_s_cache_may_not_lead_out_of_it(tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    snapshot = hub_repo(cache, "org/name", {**hub_model(), "README.md": CARD.encode()})
    assert read_card(row(snapshot)) == "# A model\nIt talks."
    (tmp_path / "secret").write_text("secret")
    (snapshot / "README.md").unlink()
    (snapshot / "README.md").symlink_to(tmp_path / "secret")
    assert read_card(row(snapshot)) is None
