"""What stands behind an @, in the fences of a reply, in a line of settings, and in folded reasoning."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from modeldeck.config.declaration import InvalidValue
from modeldeck.config.generation import GenerationSettings
from modeldeck.tui.chats.code_blocks import code_blocks
from modeldeck.tui.chats.conversation import Conversation
from modeldeck.tui.chats.export import to_json, to_markdown, write_export
from modeldeck.tui.chats.figures import ReplyClock, figures
from modeldeck.tui.chats.overrides import with_overrides
from modeldeck.tui.chats.references import BadReference, named_paths, read_references
from modeldeck.tui.widgets.thought_rows import ThoughtRows
from tests.fakes.in_process import stats


@pytest.mark.parametrize(
    ("question", "paths"),
    [
        ("Read @a.txt, then @b/c.md.", ["a.txt", "b/c.md"]),
        ('Look at @"my notes.txt" and @~/x', ["my notes.txt", "~/x"]),
        ("mail me@example.com @ once @@ twice", []),
        ("@one @one\n@two", ["one", "two"]),
        ("(@no) [@no]", []),
    ],
)
def test_the_paths_that_a_question_names(question: str, paths: list[str]) -> None:
    assert named_paths(question) == paths


def test_a_file_is_read_as_text_without_control_characters(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\x1b]52;c;eA==\x07")
    (file,) = read_references(f"@{path}", takes_images=False, model_name="m").files
    assert file.text == "one\ntwo␛]52;c;eA==␇"


def test_a_path_that_cannot_be_one_is_refused_in_words(tmp_path: Path) -> None:
    for name in ("a\0b.txt", "x" * 5000 + "/y", str(tmp_path / "gone.png")):
        with pytest.raises(BadReference, match=r"cannot be read|takes no images"):
            read_references(f"@{name}", takes_images="png" not in name, model_name="m")


def test_code_blocks_of_all_kinds() -> None:
    text = "a\n\n```py\nx\n```\n\n~~~\ny\n~~~\n- item\n\n````\n```\nz\n````\n\n```\nopen"
    assert code_blocks(text) == ["x", "y", "```\nz", "open"]
    assert code_blocks("no code `here`") == []


def test_settings_in_a_line() -> None:
    base = GenerationSettings(temperature=0.7, top_p=0.9)
    assert with_overrides(base, "temperature 0, seed=7") == GenerationSettings(temperature=0.0, top_p=0.9, seed=7)
    assert with_overrides(base, " , ") == base
    assert with_overrides(base, "top-p 1") == GenerationSettings(temperature=0.7, top_p=1.0)
    for typed, why in (("temprature 1", "did you mean temperature"), ("seed -1", "seed must be"), ("stop x y", "")):
        if why:
            with pytest.raises(InvalidValue, match=why):
                with_overrides(base, typed)
        else:
            assert with_overrides(base, typed).stop == ("x y",)


def test_reasoning_folds_to_one_row_and_counts_words_over_pieces() -> None:
    rows = ThoughtRows()
    assert not rows
    assert rows.rows(20) == []
    for piece in ("one tw", "o\x1b three", "\n\nfour "):
        rows.write(piece)
    assert rows.rows(40)[0] == "▸ reasoning · 4 words (f shows it)"
    rows.folded = False
    assert rows.rows(40) == ["▾ reasoning (f folds it)", "│ one two␛ three", "│ ", "│ four ", ""]
    rows.write("five " * 10)
    assert max(map(len, rows.rows(20)[1:])) <= 20


def test_the_clock_says_how_far_the_prompt_was_read() -> None:
    clock = ReplyClock(0.0, read=(512, 1024))
    assert clock.line(0.5) == "reading the prompt ▇▇▇▇▁▁▁▁ 50% · 512 of 1,024 tokens"
    clock.saw(1, 2.0)
    assert clock.line(2.0) == "1 token"


def test_peaks_of_several_devices_are_named() -> None:
    several = structs.replace(stats(2), peaks={"ram": 1, "cuda:1": 10**10, "cuda:0": 2 * 10**10})
    assert "peak cuda:0 20.0 GB, cuda:1 10.0 GB" in figures(several)


def test_exports_hold_no_control_character_and_overwrite_nothing(tmp_path: Path) -> None:
    conversation = Conversation()
    conversation.instruct("Be \x9b brief.")
    turn = conversation.begin("q\x1b[31m", "M\x1b")
    turn.think("why\nnot")
    turn.add("a\u202e")
    turn.finish(stats(1))
    for text in (to_markdown(conversation), to_json(conversation)):
        assert not set(text) & set("\x1b\x9b\u202e\x07")
    assert "> why\n> not" in to_markdown(conversation)
    path = tmp_path / "x.md"
    write_export(conversation, path)
    with pytest.raises(FileExistsError):
        write_export(conversation, path)
    with pytest.raises(FileNotFoundError):
        write_export(conversation, tmp_path / "gone" / "x.md")
