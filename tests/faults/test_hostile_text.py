"""Text from outside, whatever is in it, one widget and one row at a time (S1, S2, S3)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.color import Color

from modeldeck.backend.lookalikes import odd_letters
from modeldeck.backend.models import ModelInfo, ModelSource
from modeldeck.backend.text import clean_name, clean_text
from modeldeck.tui.cli_commands.model_lines import model_lines
from modeldeck.tui.control_guard import ControlGuard
from modeldeck.tui.details_text import groups
from modeldeck.tui.log_buffer import EngineLogBuffer
from modeldeck.tui.markdown_rows import Look, MarkdownRenderer
from modeldeck.tui.screens.add_dialog import what_was_typed
from modeldeck.tui.shelf_row import ShelfRow
from modeldeck.tui.widgets.model_row import model_line
from modeldeck.tui.widgets.thought_rows import ThoughtRows
from tests.faults.control_sequences import MARKUP, SEQUENCES, SURROGATES, strangers

CORPUS = "".join(SEQUENCES.values()) + SURROGATES
ANY = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=()), max_size=30),
        st.sampled_from([*SEQUENCES.values(), *MARKUP, SURROGATES]),
    ),
    max_size=6,
).map("".join)
LOOK = Look("#ffffff", "#888888", "#222222", dark=True)
many = settings(max_examples=60, derandomize=True, deadline=None)


def of_name(name: str) -> ModelInfo:
    return ModelInfo(id="/m", name=name, path="/m", source=ModelSource.FOLDER)


def assert_only_shown(segments: Iterable[Segment]) -> None:
    """Nothing that a terminal obeys or opens, nothing that a click runs, and one row."""
    for text, style, _ in segments:
        assert not strangers(text, full_screen=False)
        assert "\n" not in text
        assert style is None or style.link is None
        assert style is None or "@click" not in style.meta


class TestCleaning:
    @many
    @given(ANY, ANY)
    @example(CORPUS, CORPUS)
    def test_s1_a_text_cleaned_in_pieces_holds_nothing_that_a_terminal_obeys(self, text: str, more: str) -> None:
        cleaned = clean_text(text + more)
        assert cleaned == clean_text(text) + clean_text(more)
        assert cleaned == clean_text(cleaned)
        assert len(cleaned) == len(text + more)
        assert not strangers(cleaned, full_screen=False)
        cleaned.encode()

    @many
    @given(ANY)
    @example(CORPUS)
    def test_s1_a_name_is_one_line_without_what_nobody_sees(self, text: str) -> None:
        name = clean_name(text, 100)
        assert not strangers(name, full_screen=False)
        assert not set(name) & set("\n\t\u200b\u200c\u200d\u2060\ufeff\u00ad\u3164\U000e0061")
        assert len(name) <= 100
        assert name == unicodedata.normalize("NFC", name)

    @pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES)
    def test_s1_no_sequence_of_the_corpus_gets_through_and_all_of_it_is_still_read(self, sequence: str) -> None:
        cleaned = clean_name(f"before{sequence}after")
        assert cleaned.startswith("before")
        assert cleaned.endswith("after")
        assert not strangers(cleaned, full_screen=False)
        assert len(cleaned) == len(f"before{sequence}after")

    @many
    @given(ANY, ANY)
    @example(CORPUS, SEQUENCES["OSC 8 link"])
    def test_s1_the_guard_lets_no_control_character_and_no_link_pass(self, text: str, link: str) -> None:
        style = Style(bold=True, link=f"x{link}")
        line = ControlGuard().apply([Segment(text, style), Segment("plain")], Color(0, 0, 0))
        assert_only_shown(line)
        assert line[0].style is not None
        assert line[0].style.bold
        assert line[1].text == "plain"


class TestRows:
    @settings(max_examples=25, derandomize=True, deadline=None)
    @given(ANY, st.sampled_from([20, 80]))
    @example(CORPUS, 40)
    @example("\n\n".join(MARKUP), 40)
    @example("&#27;[31m &#x9b;1m [t](javascript:alert&#40;1&#41;) <http://a.b> ![i](file:///etc/passwd)", 60)
    def test_s1_s2_s19_markdown_of_anybody_is_only_shown(self, text: str, width: int) -> None:
        renderer = MarkdownRenderer(width, LOOK)
        for row in renderer.rows(clean_text(text)):
            assert_only_shown(row)

    @many
    @given(ANY)
    @example(CORPUS)
    def test_s1_what_a_model_reasons_and_logs_is_only_shown(self, text: str) -> None:
        thought, log = ThoughtRows(), EngineLogBuffer()
        thought.folded = False
        thought.write(text)
        log.append(text)
        for row in (*thought.rows(30), *log.lines):
            assert not strangers(row, full_screen=False)
            assert "\n" not in row


class TestNames:
    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("m\u0435ta-llama/Llama-3", "mixes Latin and Cyrillic letters (\u0435)"),
            ("\u0430pp\u217ae", "mixes"),
            ("Q\u03c9en3", "mixes Latin and Greek letters (\u03c9)"),
            ("\uff4d\uff45\uff54\uff41-llama", "has signs that look like letters (\uff4d \uff45 \uff54 \uff41)"),
            ("\U0001d426eta", "has signs that look like letters"),
            (clean_name("meta\u200b-llama"), "has characters that cannot be seen"),
            (clean_name("gpj.\u202eexe"), "has characters that cannot be seen"),
        ],
    )
    def test_s3_a_name_that_looks_like_another_is_marked_in_the_list_the_details_and_on_the_command_line(
        self, name: str, why: str
    ) -> None:
        assert odd_letters(name).startswith(why)
        model = of_name(name)
        assert "(odd letters)" in model_line(ShelfRow(model), " ", 80)
        assert dict(groups(model)[0].rows)["Beware"].startswith(f"its name {why}")
        assert dict(model_lines(model))["beware"].startswith(f"its name {why}")

    @pytest.mark.parametrize(
        "name",
        [
            "meta-llama/Llama-3.3-70B",
            "caf\u00e9-7B",
            "\u041c\u043e\u0434\u0435\u043b\u044c",
            "\u901a\u4e49-Qwen3",
            "\u30e2\u30c7\u30eb-\u65e5\u672c\u8a9e-7B",
            "\ud55c\uad6d\uc5b4-7B",
        ],
    )
    def test_s3_an_honest_name_is_not(self, name: str) -> None:
        model = of_name(name)
        assert odd_letters(name) == ""
        assert "odd letters" not in model_line(ShelfRow(model), " ", 80)
        assert "Beware" not in dict(groups(model)[0].rows)
        assert "beware" not in dict(model_lines(model))

    def test_s3_a_long_name_does_not_push_the_mark_out(self) -> None:
        line = model_line(ShelfRow(of_name("m\u0435ta" + "x" * 190)), " ", 60)
        assert "(odd letters) m\u0435ta" in line
        assert cell_len(line) == 60

    @pytest.mark.parametrize(
        "typed", ["m\u0435ta-llama/Llama-3", "meta\u200b-llama/x", "gpj.\u202eexe/x", "org/na\u00efve"]
    )
    def test_s3_an_id_of_the_hub_is_ascii(self, typed: str) -> None:
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, but not in its __all__

        with pytest.raises(ValueError, match="neither a path nor a Hub id"):
            what_was_typed(typed)
        with pytest.raises(HFValidationError):  # nor does the child take it that downloads
            validate_repo_id(typed)
