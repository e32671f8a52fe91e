from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import filelock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from modeldeck.config.profile_values import options
from modeldeck.config.profiles import DEFAULTS, Profiles, SaveError, clean_profile_name
from modeldeck.config.remembered import LoadOptions
from modeldeck.config.toml_file import MAX_BYTES
from tests.unit.config.values import storable_text, table

MODEL = "org/name@abc"
NF4 = structs.replace(DEFAULTS, quantization="4bit")
LONG = structs.replace(DEFAULTS, context_limit=131_072)
_HAMMER = """
import sys
from pathlib import Path
from msgspec import structs
from modeldeck.config.profiles import DEFAULTS, Profiles
for number in range(1, 16):
    options = structs.replace(DEFAULTS, context_limit=number)
    Profiles(Path(sys.argv[1]), lock_seconds=50).save(f"{sys.argv[2]} {number}", options)
"""

_fields: dict[str, st.SearchStrategy[Any]] = {
    "device": st.sampled_from(["auto", "cpu", "cuda:1", "cuda:0+cuda:2"]),
    "dtype": st.sampled_from(["auto", "float16"]),
    "quantization": st.sampled_from(["none", "4bit", "hqq-4bit"]),
    "attention": st.sampled_from(["auto", "eager"]),
    "idle_minutes": st.floats(0, 100_000),
    "double_quantization": st.booleans(),
    "compute_dtype": st.sampled_from(["auto", "bfloat16"]),
    "device_map": st.sampled_from(["auto", "sequential"]),
    "memory_limits": st.dictionaries(storable_text, st.integers(0, 2**62), max_size=3),
    "cpu_offload": st.booleans(),
    "context_limit": st.none() | st.integers(1, 10_000_000),
    "adapter": st.none() | storable_text,
    "adapter_bytes": st.integers(0, 2**62),
}
load_options = st.builds(LoadOptions, **_fields)
names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12).map(clean_profile_name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deck" / "profiles.toml"


@pytest.fixture
def profiles(file: Path) -> Profiles:
    return Profiles(file)


def loaded(file: Path, text: str | bytes = "") -> Profiles:
    """Profiles that have read the file, which gets this in it where it says something."""
    if text:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
    profiles = Profiles(file)
    profiles.load()
    return profiles


def messages(profiles: Profiles) -> list[tuple[str, str]]:
    return [(problem.key, problem.message) for problem in profiles.problems]


def visible(folder: Path) -> list[str]:
    """The names in a folder, without the lock and the copy of the last save."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith((".lock", ".bak")))


def test_every_load_option_is_covered_here() -> None:
    assert set(_fields) == set(options()) == set(LoadOptions.__struct_fields__)


class TestReading:
    def test_no_file_means_no_profiles(self, profiles: Profiles, file: Path) -> None:
        assert profiles.load() == ()
        assert profiles.names == ()
        assert profiles.get("4-bit") is None
        assert profiles.values("4-bit") == {}
        assert profiles.default(MODEL) is profiles.default(None) is None
        assert not file.parent.exists()

    def test_what_a_profile_leaves_out_is_filled_in(self, file: Path) -> None:
        profiles = loaded(
            file,
            '[profiles."long context"]\ncontext_limit = 131072\nidle_minutes = 5\n'
            '[profiles.split]\nmemory_limits = {"cuda:0" = 8_000_000_000}\n',
        )
        assert profiles.problems == ()
        assert profiles.names == ("long context", "split")
        assert profiles.get("long context") == structs.replace(LONG, idle_minutes=5.0)
        assert profiles.get("split") == structs.replace(DEFAULTS, memory_limits={"cuda:0": 8_000_000_000})

    def test_or_taken_from_what_is_given(self, file: Path) -> None:
        profiles = loaded(file, '[profiles.q]\nquantization = "4bit"\n')
        base = LoadOptions("cuda:1", "float16", "8bit", adapter="/adapters/a", adapter_bytes=7)
        assert profiles.get("q", base) == structs.replace(base, quantization="4bit")
        assert profiles.values("q") == {"quantization": "4bit"}

    def test_defaults(self, file: Path) -> None:
        profiles = loaded(
            file, f'default = "a"\n[profiles.a]\n[profiles.b]\n[model_defaults]\n"{MODEL}" = "b"\nother = "a"\n'
        )
        assert profiles.problems == ()
        assert [profiles.default(each) for each in (None, MODEL, "other", "third")] == ["a", "b", "a", "a"]

    def test_reads_again_what_another_instance_wrote(self, profiles: Profiles, file: Path) -> None:
        profiles.load()
        Profiles(file).save("4-bit", NF4)
        assert profiles.names == ()
        profiles.load()
        assert profiles.get("4-bit") == NF4


class TestProblems:
    def test_all_else_still_counts(self, file: Path) -> None:
        profiles = loaded(
            file,
            'schema_version = true\ndefault = "on"\nprofile = 1\ndtype = "auto"\nzzz = 1\n'
            '[profiles]\nnone = 5\n"" = {}\n"a\\u200b" = {}\n'
            '[profiles.one]\nquantisation = "4bit"\nquantization = "5bit"\ncontext_limit = 0\ncpu_offload = false\n'
            'memory_limits = {cpu = "8 GB"}\nadapter = "a\\u0000b"\ndevice = 5\ndouble_quantization = 1\n'
            '[profiles.two]\nmemory_limits = 5\ntrust_remote_code = true\n[model_defaults]\na = 1\nb = "two"\n',
        )
        visible_name = "must be a name of 1 to 40 visible characters, in single spaces"
        devices = "auto, cpu, mps, cuda, cuda:N, or several as in cuda:0+cuda:2"
        assert [each for each in messages(profiles) if not each[0].endswith(".quantization")] == [
            ("schema_version", "must be 1, not true"),
            ("profile", "is not known here; did you mean profiles?"),
            ("dtype", "is not known here; it belongs under [profiles.<name>]"),
            ("zzz", "is not known here"),
            ("profiles.none", "must be a table, not 5"),
            ("profiles.", visible_name),
            ("profiles.a\ufffd", visible_name),
            ("profiles.one.quantisation", "is not a load option; did you mean quantization?"),
            ("profiles.one.context_limit", "must be 1 to 10000000, not 0"),
            ("profiles.one.memory_limits", "entry 'cpu' must be a whole number, not '8 GB'"),
            ("profiles.one.adapter", "must be Unicode text without NUL, not 'a\\x00b'"),
            ("profiles.one.device", f"must be {devices}, not 5"),
            ("profiles.one.double_quantization", "must be true or false, not 1"),
            ("profiles.two.memory_limits", "must be a table, not 5"),
            ("profiles.two.trust_remote_code", "is not a load option"),
            ("default", "must be the name of a profile, not 'on'; did you mean one?"),
            ("model_defaults.a", "must be the name of a profile, not 1"),
        ]
        assert profiles.names == ("none", "one", "two")
        assert profiles.get("one") == structs.replace(DEFAULTS, cpu_offload=False)
        assert (profiles.default(None), profiles.default("b")) == (None, "two")

    def test_tables_that_are_none(self, file: Path) -> None:
        profiles = loaded(file, "profiles = [1]\nmodel_defaults = 2\ndefault = 3\n")
        assert messages(profiles) == [
            ("profiles", "must be a table, not a list"),
            ("default", "must be the name of a profile, not 3"),
            ("model_defaults", "must be a table, not 2"),
        ]


class TestNames:
    @pytest.mark.parametrize(
        ("typed", "kept"),
        [
            ("4-bit", "4-bit"),
            ("  long \t\n context\u00a0 ", "long context"),
            ("a\0\x1b\u200b\u202eb", "ab"),
            ("a \u200b b", "a b"),
            ("cafe\u0301", "caf\u00e9"),
            ("cafe\u200b\u0301", "caf\u00e9"),
            ("caf\udce9", "caf"),
            ("x" * 40, "x" * 40),
            ('"a.b" = [c]', '"a.b" = [c]'),
            ("\U0001f680", "\U0001f680"),
        ],
    )
    def test_are_cleaned(self, typed: str, kept: str, profiles: Profiles, file: Path) -> None:
        assert clean_profile_name(typed) == clean_profile_name(kept) == kept
        assert profiles.save(typed, NF4) == kept
        assert loaded(file).names == (kept,)

    @pytest.mark.parametrize(("typed", "size"), [("", 0), (" \n\u200b", 0), ("x" * 41, 41)])
    def test_that_are_none(self, typed: str, size: int, profiles: Profiles, file: Path) -> None:
        with pytest.raises(SaveError, match=rf"^Nothing was saved: the name must be 1 to 40 characters, not {size}$"):
            profiles.save(typed, NF4)
        assert not file.exists()

    @given(typed=st.text())
    def test_a_clean_name_stays_as_it_is(self, typed: str) -> None:
        name = " ".join(typed.split())[:13] + "x"
        assert clean_profile_name(clean_profile_name(name)) == clean_profile_name(name)


class TestSaving:
    def test_written_as_people_would(self, profiles: Profiles, file: Path) -> None:
        profiles.save("4-bit", NF4)
        profiles.save("long context", structs.replace(LONG, memory_limits={"cuda:0": 5}))
        profiles.set_default("4-bit", None)
        profiles.set_default("long context", MODEL)
        assert file.read_text() == (
            "# Kept by modeldeck: it writes this file again at every save, and comments are not kept.\n"
            'schema_version = 1\ndefault = "4-bit"\n\n[profiles.4-bit]\nquantization = "4bit"\n\n'
            '[profiles."long context"]\ncontext_limit = 131072\n\n[profiles."long context".memory_limits]\n'
            '"cuda:0" = 5\n\n[model_defaults]\n"org/name@abc" = "long context"\n'
        )
        assert loaded(file).problems == ()

    def test_only_what_is_asked_for(self, profiles: Profiles, file: Path) -> None:
        own = LoadOptions("cuda:1", "auto", "4bit", context_limit=None)
        profiles.save("q", own, fields={"quantization", "dtype", "context_limit"})
        assert table(file)["profiles"] == {"q": {"dtype": "auto", "quantization": "4bit"}}
        base = LoadOptions("cpu", "float16", "8bit", context_limit=5)
        assert profiles.get("q", base) == structs.replace(base, dtype="auto", quantization="4bit")

    def test_one_that_says_nothing(self, profiles: Profiles, file: Path) -> None:
        profiles.save("plain", DEFAULTS)
        assert loaded(file).get("plain") == DEFAULTS

    def test_replaces_all_that_it_said(self, profiles: Profiles, file: Path) -> None:
        profiles.save("a", structs.replace(NF4, context_limit=5))
        profiles.save("b", NF4)
        profiles.save("a", LONG)
        assert profiles.names == ("a", "b")
        assert loaded(file).get("a") == profiles.get("a") == LONG

    @given(wanted=st.dictionaries(names, load_options, max_size=4), data=st.data())
    @settings(max_examples=30, deadline=None)
    def test_everything_comes_back(
        self, wanted: dict[str, LoadOptions], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        file = tmp_path_factory.mktemp("deck") / "profiles.toml"
        for name, each in wanted.items():
            assert Profiles(file).save(name, each) == name
        default = data.draw(st.sampled_from([None, *wanted]))
        defaults = data.draw(st.dictionaries(storable_text, st.sampled_from([*wanted]), max_size=3)) if wanted else {}
        Profiles(file).set_default(default, None)
        for model_id, name in defaults.items():
            Profiles(file).set_default(name, model_id)
        profiles = Profiles(file)
        assert profiles.load() == ()
        assert {name: profiles.get(name) for name in profiles.names} == wanted
        assert profiles.default(None) == default
        assert {model_id: profiles.default(model_id) for model_id in defaults} == defaults

    def test_f22_what_is_not_understood_is_kept(self, file: Path) -> None:
        text = (
            'later = {a = [1]}\n[profiles]\nodd = 5\n"" = {x = 1}\n[profiles.a]\nlater = 2026-01-02\ndtype = "int3"\n'
        )
        profiles = loaded(file, text)
        before = table(file)
        profiles.save("a", NF4)
        assert table(file) == {
            "schema_version": 1,
            "later": {"a": [1]},
            "profiles": {**before["profiles"], "a": {**before["profiles"]["a"], "quantization": "4bit"}},
        }
        assert {key for key, _ in messages(profiles)} == {
            "later",
            "profiles.odd",
            "profiles.",
            "profiles.a.later",
            "profiles.a.dtype",
        }
        profiles.save("a", structs.replace(NF4, dtype="float16"))
        assert table(file)["profiles"]["a"]["dtype"] == "float16"
        profiles.set_default("a", MODEL)
        profiles.delete("a")
        assert table(file) == {
            "schema_version": 1,
            "later": {"a": [1]},
            "profiles": {"odd": 5, "": {"x": 1}},
        }

    def test_private_under_any_umask(self, profiles: Profiles, file: Path) -> None:
        before = os.umask(0)
        try:
            profiles.save("a", NF4)
        finally:
            os.umask(before)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (file.parent, *file.parent.iterdir())}
        names = ("profiles.toml", "profiles.toml.bak", ".profiles.toml.lock")
        assert modes == {"deck": 0o700, **dict.fromkeys(names, 0o600)}

    def test_through_a_symlink(self, profiles: Profiles, file: Path, tmp_path: Path) -> None:
        real = tmp_path / "dotfiles" / "profiles.toml"
        Profiles(real).save("a", NF4)
        file.parent.mkdir()
        file.symlink_to(real)
        profiles.save("b", NF4)
        assert file.is_symlink()
        assert loaded(real).names == ("a", "b")


class TestDefaults:
    def test_are_set_and_taken_back(self, profiles: Profiles, file: Path) -> None:
        profiles.save("a", NF4)
        profiles.save("b", LONG)
        profiles.set_default("a", None)
        profiles.set_default("b", MODEL)
        assert (profiles.default(None), profiles.default(MODEL)) == ("a", "b")
        profiles.set_default(None, MODEL)
        assert loaded(file).default(MODEL) == profiles.default(MODEL) == "a"
        profiles.set_default(None, None)
        assert profiles.default(MODEL) is None
        assert set(table(file)) == {"schema_version", "profiles"}

    def test_go_with_their_profile(self, profiles: Profiles, file: Path) -> None:
        for name in ("a", "b"):
            profiles.save(name, NF4)
        profiles.set_default("a", None)
        profiles.set_default("a", MODEL)
        profiles.set_default("b", "other")
        profiles.delete("a")
        assert (profiles.names, profiles.default(MODEL), profiles.default("other")) == (("b",), None, "b")
        assert loaded(file).problems == ()
        profiles.delete("b")
        assert table(file) == {"schema_version": 1}

    def test_of_a_profile_that_another_instance_deleted(self, profiles: Profiles, file: Path) -> None:
        profiles.save("a", NF4)
        Profiles(file).delete("a")
        with pytest.raises(SaveError, match=r"^Nothing was saved: there is no profile “a” any more$"):
            profiles.set_default("a", MODEL)

    def test_what_changes_nothing_writes_nothing(self, profiles: Profiles, file: Path) -> None:
        profiles.delete("gone")
        profiles.set_default(None, MODEL)
        profiles.set_default(None, None)
        assert not file.exists()
        profiles.save("a", NF4)
        before = file.stat()
        profiles.save("a", NF4)
        profiles.delete("gone")
        assert file.stat().st_ino == before.st_ino


class TestOtherInstances:
    def test_their_profiles_come_from_the_disk(self, profiles: Profiles, file: Path) -> None:
        profiles.load()
        Profiles(file).save("theirs", LONG)
        profiles.save("ours", NF4)
        assert profiles.names == ("theirs", "ours")
        Profiles(file).set_default("theirs", None)
        profiles.set_default("ours", MODEL)
        assert profiles.default(None) == "theirs"

    def test_what_they_deleted_is_not_brought_back(self, profiles: Profiles, file: Path) -> None:
        profiles.save("theirs", NF4)
        Profiles(file).delete("theirs")
        profiles.save("ours", NF4)
        assert loaded(file).names == ("ours",)

    @pytest.mark.timeout(120)
    def test_f23_two_that_hammer_lose_nothing(self, file: Path) -> None:
        both = [subprocess.Popen([sys.executable, "-c", _HAMMER, str(file), name]) for name in ("left", "right")]
        assert [process.wait(100) for process in both] == [0, 0]
        assert table(file)["profiles"] == {
            f"{side} {number}": {"context_limit": number} for side in ("left", "right") for number in range(1, 16)
        }
        assert visible(file.parent) == ["profiles.toml"]

    def test_one_that_does_not_finish(self, file: Path) -> None:
        profiles = Profiles(file, lock_seconds=0.05)
        profiles.save("a", NF4)
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with filelock.FileLock(file.parent / ".profiles.toml.lock"):
                held.set()
                done.wait(30)

        other = threading.Thread(target=hold)
        other.start()
        try:
            assert held.wait(30)
            with pytest.raises(SaveError, match=r"profiles.toml is being written by another modeldeck; try again$"):
                profiles.delete("a")
        finally:
            done.set()
            other.join()
        assert loaded(file).names == profiles.names == ("a",)


class TestFilesThatCannotBeRead:
    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"\n", "is empty"),
            (b"\0" * 100, "is not valid TOML: line 1, column 1, invalid statement; nothing in it is used"),
            (b'[profiles.a]\nquantization = "4b', "is not valid TOML: "),
            (b"# caf\xe9", "is not UTF-8 text (line 1), so nothing in it is used"),
            (b"#" * (MAX_BYTES + 1), "is larger than 2 MiB"),
        ],
        ids=["blank", "zeros", "torn", "latin-1", "huge"],
    )
    def test_f22_kept_aside_by_the_first_save(self, data: bytes, message: str, file: Path) -> None:
        profiles = loaded(file, data)
        ((key, said),) = messages(profiles)
        assert (key, profiles.names) == ("", ())
        assert said.startswith(message)
        assert said.endswith("; the next save keeps it aside as profiles.toml.corrupt-<time>")
        profiles.save("a", NF4)
        assert profiles.problems == ()
        assert table(file) == {"schema_version": 1, "profiles": {"a": {"quantization": "4bit"}}}
        _, aside = visible(file.parent)
        assert re.fullmatch(r"profiles\.toml\.corrupt-\d{8}T\d{6}Z", aside)
        assert (file.parent / aside).read_bytes() == data

    def test_f22_what_was_read_before_it_broke_is_saved_with_the_rest(self, profiles: Profiles, file: Path) -> None:
        profiles.save("a", NF4)
        file.write_text("broken")
        assert len(profiles.load()) == 1
        profiles.save("b", LONG)
        assert loaded(file).names == profiles.names == ("a", "b")

    @pytest.mark.parametrize("text", ["profiles = 5\n", "profiles = {a = 5}\n"])
    def test_what_stands_in_the_way_is_kept_aside(self, text: str, file: Path) -> None:
        profiles = loaded(file, text)
        profiles.save("a", NF4)
        assert profiles.get("a") == NF4
        (aside,) = file.parent.glob("*.corrupt-*")
        assert aside.read_text() == text
        file.write_text("model_defaults = 7\n" + file.read_text())
        profiles.set_default("a", MODEL)
        assert loaded(file).default(MODEL) == "a"
        assert len(list(file.parent.glob("*.corrupt-*"))) == 2

    def test_f22_a_newer_one_is_left_alone(self, file: Path) -> None:
        text = "schema_version = 2\n[profiles.a]\n"
        profiles = loaded(file, text)
        assert profiles.names == ()
        with pytest.raises(SaveError, match="was written by a newer modeldeck"):
            profiles.save("a", NF4)
        assert file.read_text() == text

    def test_f22_what_is_no_file_is_left_alone(self, file: Path) -> None:
        file.mkdir(parents=True)
        profiles = Profiles(file)
        assert [problem.message for problem in profiles.load()] == ["cannot be read: it is not a file"]
        with pytest.raises(SaveError, match=r"^Nothing was saved: .*profiles.toml cannot be read: it is not a file$"):
            profiles.save("a", NF4)


class TestSavesThatFail:
    def refused(self, profiles: Profiles, file: Path, *given: Any) -> str:
        """The sentence of a save that fails, with nothing changed on disk or in memory."""
        profiles.save("before", NF4)
        before = (file.read_bytes(), visible(file.parent))
        with pytest.raises(SaveError) as caught:
            profiles.save(*given)
        assert (file.read_bytes(), visible(file.parent)) == before
        assert profiles.names == ("before",)
        return str(caught.value)

    def test_f20_a_full_disk(self, profiles: Profiles, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        profiles.save("before", NF4)
        monkeypatch.setattr(Path, "replace", full)
        sentence = self.refused(profiles, file, "a", LONG)
        assert sentence == f"Nothing was saved: {file} could not be written: No space left on device"

    @pytest.mark.parametrize(
        ("wrong", "sentence"),
        [
            ({"context_limit": 0}, "context_limit must be 1 to 10000000, not 0"),
            ({"adapter": "/caf\udce9"}, "adapter must be Unicode text without NUL, not '/caf\\udce9'"),
            ({"memory_limits": {"cpu": 0.5}}, "memory_limits entry 'cpu' must be a whole number, not 0.5"),
        ],
    )
    def test_a_value_that_is_not_allowed(
        self, wrong: dict[str, Any], sentence: str, profiles: Profiles, file: Path
    ) -> None:
        refused = self.refused(profiles, file, "a", structs.replace(DEFAULTS, **wrong))
        assert refused == f"Nothing was saved: {sentence}"

    def test_a_model_whose_path_is_no_unicode(self, profiles: Profiles) -> None:
        profiles.save("a", NF4)
        with pytest.raises(SaveError, match="the name of this model is not valid Unicode text"):
            profiles.set_default("a", "/models/caf\udce9")
        assert profiles.default("/models/caf\udce9") is None

    def test_what_can_be_read_and_not_written(self, profiles: Profiles, file: Path) -> None:
        profiles.save("a", NF4)
        file.write_text(file.read_text().replace("schema", f"later = 0x{'F' * 9000}\nschema"))
        with pytest.raises(SaveError, match=r"holds values that cannot be written again; take them out$"):
            profiles.save("b", NF4)

    def test_more_than_would_be_read_again(self, profiles: Profiles, file: Path) -> None:
        profiles.save("a", NF4)
        file.write_text(file.read_text() + f'[later]\nlater = "{"x" * (MAX_BYTES - 500)}"\n')
        with pytest.raises(SaveError, match=r"would grow past 2 MiB$"):
            profiles.save("b", structs.replace(NF4, adapter="x" * 500))
