from __future__ import annotations

import math
from datetime import date
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Meta, Struct, structs

from modeldeck.config.declaration import InvalidValue, Setting, convert, parse, setting_of, settings_of, show
from modeldeck.config.generation import BUILT_IN, MAX_SEED, GenerationSettings
from modeldeck.config.lines import escaped, unescaped
from modeldeck.config.settings import Settings
from tests.unit.config.values import DEVICES, QUANTIZATIONS, generation_settings

ALL = (*settings_of(GenerationSettings), *settings_of(Settings))


class Odd(Struct):
    """Shapes of declaration that the real settings do not have."""

    bare: int = 1
    least: Annotated[int, Meta(ge=3)] = 3
    between: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    name: Annotated[str, Meta(min_length=2, max_length=3)] = "ab"
    pair: Annotated[tuple[str, ...], Meta(min_length=2)] = ("a", "b")
    counts: dict[str, Annotated[int, Meta(ge=0)]] = {}  # msgspec copies an empty default


def generation(name: str) -> Setting:
    return setting_of(GenerationSettings, name)


def own(name: str) -> Setting:
    return setting_of(Settings, name)


def refusal(setting: Setting, value: object) -> str:
    with pytest.raises(InvalidValue) as caught:
        convert(setting, value)
    return str(caught.value)


class TestDescribing:
    def test_in_order_of_declaration(self) -> None:
        assert [setting.name for setting in settings_of(GenerationSettings)] == [
            field.name for field in structs.fields(GenerationSettings)
        ]

    @pytest.mark.parametrize("setting", ALL, ids=lambda setting: setting.name)
    def test_every_setting_has_a_label_and_help(self, setting: Setting) -> None:
        assert setting.label != setting.name
        assert setting.help

    @pytest.mark.parametrize("setting", ALL, ids=lambda setting: setting.name)
    def test_every_number_has_both_limits(self, setting: Setting) -> None:
        if setting.kind in {"int", "float"}:
            assert any(word in setting.limits for word in (" to ", " at most ", " below "))

    @pytest.mark.parametrize("setting", ALL, ids=lambda setting: setting.name)
    def test_every_default_is_valid(self, setting: Setting) -> None:
        assert convert(setting, setting.default) == setting.default

    @pytest.mark.parametrize(
        ("setting", "kind", "limits"),
        [
            (generation("max_new_tokens"), "int", "1 to 1000000"),
            (generation("temperature"), "float", "0 to 2"),
            (generation("top_p"), "float", "above 0 and at most 1"),
            (generation("do_sample"), "bool", "true or false"),
            (generation("system_prompt"), "text", "at most 100000 characters"),
            (generation("stop"), "list", "at most 64 entries"),
            (own("quantization"), "choice", f"one of {QUANTIZATIONS}"),
            (own("device"), "str", DEVICES),
            (own("theme"), "str", ""),
            (own("keys"), "mapping", ""),
            (setting_of(Odd, "bare"), "int", ""),
            (setting_of(Odd, "least"), "int", "at least 3"),
            (setting_of(Odd, "between"), "float", "above 0 and below 1"),
            (setting_of(Odd, "name"), "str", "2 to 3 characters"),
        ],
        ids=lambda value: value.name if isinstance(value, Setting) else "",
    )
    def test_kinds_and_limits(self, setting: Setting, kind: str, limits: str) -> None:
        assert (setting.kind, setting.limits) == (kind, limits)

    def test_units_and_what_holds_where_nobody_sets_it(self) -> None:
        assert generation("max_time").range == "above 0 and at most 86400 seconds"
        assert generation("temperature").range == "0 to 2"
        assert (generation("num_beams").unset, generation("num_beams").rare) == ("1", True)
        assert all(one.unset or getattr(BUILT_IN, one.name) is not UNSET for one in settings_of(GenerationSettings))

    def test_choices_keep_their_order(self) -> None:
        assert own("quantization").choices == tuple(QUANTIZATIONS.split(", "))

    def test_generation_settings_may_be_unset_and_settings_may_not(self) -> None:
        assert all(setting.optional and setting.default is UNSET for setting in settings_of(GenerationSettings))
        assert not any(setting.optional for setting in settings_of(Settings))

    def test_unknown_name(self) -> None:
        with pytest.raises(KeyError):
            setting_of(Settings, "temperature")


class TestConverting:
    @pytest.mark.parametrize(
        ("setting", "value", "message"),
        [
            (generation("temperature"), 3, "must be 0 to 2, not 3"),
            (generation("temperature"), -0.1, "must be 0 to 2, not -0.1"),
            (generation("temperature"), math.nan, "must be 0 to 2, not nan"),
            (generation("temperature"), math.inf, "must be 0 to 2, not inf"),
            (generation("temperature"), -math.inf, "must be 0 to 2, not -inf"),
            (generation("temperature"), True, "must be a number, not true"),
            (generation("temperature"), "hot", "must be a number, not 'hot'"),
            (generation("temperature"), 10**400, "must be 0 to 2, not a number that large"),
            (generation("temperature"), None, "must be a number, not None"),
            (generation("top_p"), 0, "must be above 0 and at most 1, not 0"),
            (generation("top_k"), 50.0, "must be a whole number, not 50.0"),
            (generation("top_k"), False, "must be a whole number, not false"),
            (generation("max_new_tokens"), "abc", "must be a whole number, not 'abc'"),
            (generation("max_new_tokens"), 0, "must be 1 to 1000000, not 0"),
            (generation("seed"), MAX_SEED + 1, f"must be 0 to {MAX_SEED}, not {MAX_SEED + 1}"),
            (generation("seed"), 16**5000, f"must be 0 to {MAX_SEED}, not a number that large"),
            (generation("seed"), date(2026, 1, 2), "must be a whole number, not 2026-01-02"),
            (generation("do_sample"), 1, "must be true or false, not 1"),
            (generation("do_sample"), "yes", "must be true or false, not 'yes'"),
            (generation("system_prompt"), 5, "must be text, not 5"),
            (generation("system_prompt"), date(2026, 1, 2), "must be text, not 2026-01-02"),
            (generation("system_prompt"), "x" * 100_001, "must be at most 100000 characters, not 100001"),
            (generation("system_prompt"), "a\0b", "must be Unicode text without NUL, not 'a\\x00b'"),
            (generation("system_prompt"), "\ud800", "must be Unicode text without NUL, not '\\ud800'"),
            (generation("stop"), "x", "must be a list of strings, not 'x'"),
            (generation("stop"), {}, "must be a list of strings, not a table"),
            (generation("stop"), ["a", ""], "entry 2 must be 1 to 1000 characters, not 0"),
            (generation("stop"), ["a", 5], "entry 2 must be text, not 5"),
            (generation("stop"), [["a"]], "entry 1 must be text, not a list"),
            (generation("stop"), ["a\0"], "must be Unicode text without NUL, not 'a\\x00'"),
            (generation("stop"), ["a"] * 65, "must be at most 64 entries, not 65"),
            (own("quantization"), "16bit", f"must be one of {QUANTIZATIONS}, not '16bit'"),
            (own("quantization"), 8, f"must be one of {QUANTIZATIONS}, not 8"),
            (own("device"), "gpu", f"must be {DEVICES}, not 'gpu'"),
            (own("device"), "cuda\n", f"must be {DEVICES}, not 'cuda\\n'"),
            (own("device"), 0, f"must be {DEVICES}, not 0"),
            (own("theme"), "x" * 80 + "\0", f"must be Unicode text without NUL, not '{'x' * 60}'\u2026"),
            (own("model_folders"), [""], "entry 1 must be at least 1 character, not 0"),
            (own("keys"), 5, "must be a table of strings, not 5"),
            (own("keys"), {"a": 5}, "entry 'a' must be text, not 5"),
            (setting_of(Odd, "name"), "abcd", "must be 2 to 3 characters, not 4"),
            (setting_of(Odd, "pair"), ["a"], "must be at least 2 entries, not 1"),
        ],
        ids=lambda value: value.name if isinstance(value, Setting) else "",
    )
    def test_the_sentence(self, setting: Setting, value: object, message: str) -> None:
        assert refusal(setting, value) == message

    @pytest.mark.parametrize(
        ("setting", "value", "held"),
        [
            (generation("temperature"), 1, 1.0),
            (generation("temperature"), 0, 0.0),
            (generation("temperature"), 2, 2.0),
            (generation("top_p"), 5e-324, 5e-324),
            (generation("top_p"), 1, 1.0),
            (generation("min_p"), 0, 0.0),
            (generation("min_p"), 1, 1.0),
            (generation("repetition_penalty"), 10, 10.0),
            (generation("max_new_tokens"), 1, 1),
            (generation("max_new_tokens"), 1_000_000, 1_000_000),
            (generation("top_k"), 0, 0),
            (generation("seed"), MAX_SEED, MAX_SEED),
            (generation("system_prompt"), "x" * 100_000, "x" * 100_000),
            (generation("stop"), ["a", "b"], ("a", "b")),
            (generation("stop"), ["x" * 1000] * 64, ("x" * 1000,) * 64),
            (generation("stop"), UNSET, UNSET),
            (own("device"), "cuda:15", "cuda:15"),
            (own("stall_seconds"), 10, 10.0),
            (own("keys"), {"engine": {"cancel": "ctrl+x"}}, {"engine.cancel": "ctrl+x"}),
            (own("keys"), {"engine.cancel": "ctrl+x", "b": "c"}, {"engine.cancel": "ctrl+x", "b": "c"}),
        ],
        ids=lambda value: value.name if isinstance(value, Setting) else "",
    )
    def test_allowed(self, setting: Setting, value: object, held: object) -> None:
        converted = convert(setting, value)
        assert converted == held
        assert type(converted) is type(held)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("temperature", 2.0000001),
            ("top_p", 1.0000001),
            ("min_p", -5e-324),
            ("min_p", 1.0000001),
            ("repetition_penalty", 0),
            ("repetition_penalty", 10.0000001),
            ("max_new_tokens", 1_000_001),
            ("top_k", -1),
            ("top_k", 1_000_001),
            ("seed", -1),
        ],
    )
    def test_just_past_each_limit(self, name: str, value: object) -> None:
        assert refusal(generation(name), value) == f"must be {generation(name).limits}, not {value}"

    @pytest.mark.parametrize("name", ["dtype", "quantization", "device", "model_folders", "theme", "keys"])
    def test_bytes_of_a_command_line_that_are_no_text_are_refused_like_any_other(self, name: str) -> None:
        bad = "\udcff\udcfe"
        value = {"model_folders": [bad], "keys": {"quit": bad}}.get(name, bad)
        message = refusal(own(name), value)
        assert message.startswith(("must be ", "entry "))
        assert message.isprintable()

    def test_unset_is_no_value_of_a_setting_that_cannot_be_unset(self) -> None:
        assert refusal(own("ascii"), UNSET) == "must be true or false, not UNSET"

    def test_tables_nested_past_reason_are_refused(self) -> None:
        deep: dict[str, Any] = {"key": "x"}
        for _ in range(5000):
            deep = {"key": deep}
        assert "must be text, not a table" in refusal(own("keys"), deep)

    def test_a_table_of_numbers(self) -> None:
        limits = setting_of(Odd, "counts")
        assert convert(limits, {"a": 5}) == {"a": 5}
        assert refusal(limits, 5) == "must be a table, not 5"
        assert refusal(limits, {"a": "x"}) == "entry 'a' must be a whole number, not 'x'"
        assert refusal(limits, {"a\0": 5}).startswith("must be Unicode text without NUL")

    @settings(max_examples=300, deadline=None)
    @given(
        setting=st.sampled_from(ALL),
        value=st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.times(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=5,
        ),
    )
    def test_whatever_toml_holds_is_taken_or_refused_in_one_line(self, setting: Setting, value: object) -> None:
        problem = "must be ..."
        try:
            convert(setting, value)
        except InvalidValue as error:
            problem = str(error)
        assert "must be" in problem
        assert problem.isprintable()


class TestTyping:
    @pytest.mark.parametrize("setting", settings_of(GenerationSettings), ids=lambda setting: setting.name)
    @pytest.mark.parametrize("text", ["", "  ", "\n"])
    def test_nothing_typed_unsets(self, setting: Setting, text: str) -> None:
        assert parse(setting, text) is UNSET

    @pytest.mark.parametrize(
        ("setting", "text", "held"),
        [
            (generation("temperature"), " 0.7 ", 0.7),
            (generation("temperature"), "1", 1.0),
            (generation("top_k"), "1_000", 1000),
            (generation("do_sample"), "Off", False),
            (generation("do_sample"), "yes", True),
            (generation("system_prompt"), " two\nlines ", " two\nlines "),
            (generation("stop"), "one\n\n two \n  \n\\nUser:", ("one", " two ", "\nUser:")),
            (own("theme"), " nord ", "nord"),
            (own("theme"), "", ""),
            (own("model_folders"), "", ()),
            (own("quantization"), " 4bit\n", "4bit"),
        ],
    )
    def test_read(self, setting: Setting, text: str, held: object) -> None:
        assert parse(setting, text) == held

    @pytest.mark.parametrize(
        ("setting", "text", "message"),
        [
            (generation("temperature"), "0,7", "must be a number, not '0,7'"),
            (generation("temperature"), "nan", "must be 0 to 2, not nan"),
            (generation("top_k"), "50.0", "must be a whole number, not '50.0'"),
            (generation("top_k"), "9" * 5000, f"must be a whole number, not '{'9' * 60}'\u2026"),
            (generation("do_sample"), "maybe", "must be true or false, not 'maybe'"),
            (own("stall_seconds"), "", "must be a number, not ''"),
            (own("quantization"), "", f"must be one of {QUANTIZATIONS}, not ''"),
            (own("keys"), "a = b", "can only be set in the file"),
        ],
    )
    def test_refused(self, setting: Setting, text: str, message: str) -> None:
        with pytest.raises(InvalidValue) as caught:
            parse(setting, text)
        assert str(caught.value) == message

    @pytest.mark.parametrize(
        ("setting", "value", "text"),
        [
            (generation("temperature"), 2.0, "2"),
            (generation("temperature"), 1e-5, "1e-05"),
            (generation("do_sample"), True, "true"),
            (generation("do_sample"), False, "false"),
            (generation("seed"), 5, "5"),
            (generation("seed"), UNSET, ""),
            (generation("stop"), ("\n", " ", "a"), "\\n\n\\u0020\na"),
            (own("keys"), {"a": "b", "c": "d"}, "a = b\nc = d"),
        ],
    )
    def test_shown(self, setting: Setting, value: object, text: str) -> None:
        assert show(setting, value) == text

    @given(held=generation_settings)
    def test_what_is_shown_is_read_back(self, held: GenerationSettings) -> None:
        for setting in settings_of(GenerationSettings):
            value = getattr(held, setting.name)
            empty = value == () or (isinstance(value, str) and not value.strip())
            assert parse(setting, show(setting, value)) == (UNSET if empty else value)


class TestLines:
    @given(text=st.text())
    def test_one_visible_line_and_back(self, text: str) -> None:
        line = escaped(text)
        assert line.isprintable()
        assert unescaped(line) == text
        assert bool(line.strip()) == bool(text)

    @pytest.mark.parametrize("line", ["\\q", "\\", "\\u12", "\\UFFFFFFFF"])
    def test_what_is_no_escape_stays(self, line: str) -> None:
        assert unescaped(line) == line
