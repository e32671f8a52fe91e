from __future__ import annotations

import errno
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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from modeldeck.config.generation import BUILT_IN, GenerationSettings
from modeldeck.config.store import GenerationStore, SaveError
from modeldeck.config.toml_file import MAX_BYTES
from tests.fakes.plain_user import like_a_plain_user
from tests.unit.config.values import generation_settings, storable_text, table

MODEL = "org/name@abc"
COOL = GenerationSettings(temperature=0.2)
_HAMMER = """
import sys
from pathlib import Path
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.store import GenerationStore
for number in range(15):
    GenerationStore(Path(sys.argv[1]), lock_seconds=50).save(f"{sys.argv[2]}/{number}", GenerationSettings(seed=number))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deck" / "generation.toml"


@pytest.fixture
def store(file: Path) -> GenerationStore:
    return GenerationStore(file)


def loaded(file: Path, text: str | bytes) -> GenerationStore:
    """A store that has read a file with this in it."""
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    store = GenerationStore(file)
    store.load()
    return store


def messages(store: GenerationStore) -> list[tuple[str, str]]:
    return [(problem.key, problem.message) for problem in store.problems]


def visible(folder: Path) -> list[str]:
    """The names in a folder, without the lock and the copy of the last save."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith((".lock", ".bak")))


class TestReading:
    def test_no_file_means_the_built_in_values(self, store: GenerationStore, file: Path) -> None:
        assert store.load() == ()
        assert store.effective(MODEL) == BUILT_IN
        assert store.overrides(MODEL) == store.overrides(None) == GenerationSettings()
        assert not file.parent.exists()

    def test_layers(self, file: Path) -> None:
        store = loaded(
            file,
            f'schema_version = 1\n[all_models]\ntemperature = 1\ntop_k = 7\n[models."{MODEL}"]\ntemperature = 0.5\n',
        )
        assert store.problems == ()
        assert store.overrides(None) == GenerationSettings(temperature=1.0, top_k=7)
        assert store.overrides(MODEL) == GenerationSettings(temperature=0.5)
        assert store.effective(MODEL) == structs.replace(BUILT_IN, temperature=0.5, top_k=7)
        assert store.effective(None) == store.effective("other") == structs.replace(BUILT_IN, temperature=1.0, top_k=7)
        assert [store.layers(MODEL).held(name).layer for name in ("temperature", "top_k", "top_p", "seed")] == [
            "this model",
            "all models",
            "built-in",
            "built-in",
        ]
        assert {store.layers(model).held("temperature").layer for model in (None, "other")} == {"all models"}

    def test_by_hand_without_a_version(self, file: Path) -> None:
        assert loaded(file, "[all_models]\nseed = 1\n").overrides(None) == GenerationSettings(seed=1)

    def test_reads_again_what_another_instance_wrote(self, store: GenerationStore, file: Path) -> None:
        store.load()
        GenerationStore(file).save(MODEL, COOL)
        store.load()
        assert store.overrides(MODEL) == COOL


class TestProblems:
    def test_all_else_still_counts(self, file: Path) -> None:
        store = loaded(
            file,
            'schema_version = "1"\nall_model = 1\ntemperature = 0.5\nzzz = 1\n'
            "[all_models]\ntemprature = 0.5\ntop_k = -1\nseed = 7\n"
            '[models]\nb = 5\n[models.a]\nstop = "x"\ntop_p = 0.5\n',
        )
        assert messages(store) == [
            ("schema_version", "must be 1, not '1'"),
            ("all_model", "is not known here; did you mean all_models?"),
            ("temperature", "is not known here; it belongs under [all_models]"),
            ("zzz", "is not known here"),
            ("all_models.temprature", "is not a generation setting; did you mean temperature?"),
            ("all_models.top_k", "must be 0 to 1000000, not -1"),
            ("models.b", "must be a table, not 5"),
            ("models.a.stop", "must be a list of strings, not 'x'"),
        ]
        assert store.overrides(None) == GenerationSettings(seed=7)
        assert store.overrides("a") == GenerationSettings(top_p=0.5)
        assert store.overrides("b") == GenerationSettings()

    @pytest.mark.parametrize("version", ["true", "0", "-1", "1.5", "[]"])
    def test_a_version_that_is_none(self, version: str, file: Path) -> None:
        store = loaded(file, f"schema_version = {version}\n[all_models]\nseed = 1\n")
        assert [key for key, _ in messages(store)] == ["schema_version"]
        assert store.overrides(None) == GenerationSettings(seed=1)
        store.save(MODEL, COOL)
        assert table(file)["schema_version"] == 1
        assert store.problems == ()

    def test_tables_that_are_none(self, file: Path) -> None:
        store = loaded(file, "all_models = 1\nmodels = [1]\n")
        assert messages(store) == [
            ("all_models", "must be a table, not 1"),
            ("models", "must be a table, not a list"),
        ]


class TestSaving:
    def test_written_as_people_would(self, store: GenerationStore, file: Path) -> None:
        store.save(MODEL, GenerationSettings(system_prompt="Be brief.", stop=("\n", "User:")))
        store.save(None, GenerationSettings(temperature=0.5, do_sample=True))
        assert file.read_text() == (
            "# Kept by modeldeck: it writes this file again at every save, and comments are not kept.\n"
            "schema_version = 1\n\n[all_models]\ndo_sample = true\ntemperature = 0.5\n\n"
            '[models."org/name@abc"]\nsystem_prompt = "Be brief."\nstop = [\n    "\\n",\n    "User:",\n]\n'
        )

    def test_replaces_the_scope_and_nothing_else(self, store: GenerationStore, file: Path) -> None:
        store.save(None, GenerationSettings(seed=1))
        store.save(MODEL, GenerationSettings(seed=2, top_k=3))
        store.save(MODEL, COOL)
        assert table(file) == {"schema_version": 1, "all_models": {"seed": 1}, "models": {MODEL: {"temperature": 0.2}}}
        assert store.overrides(MODEL) == COOL

    def test_nothing_set_leaves_no_table(self, store: GenerationStore, file: Path) -> None:
        store.save(None, COOL)
        store.save(MODEL, COOL)
        store.save(None, GenerationSettings())
        store.save(MODEL, GenerationSettings())
        assert table(file) == {"schema_version": 1}
        assert store.load() == ()

    @given(own=generation_settings, shared=generation_settings, model=storable_text)
    @settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    def test_every_setting_comes_back(
        self, own: GenerationSettings, shared: GenerationSettings, model: str, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        file = tmp_path_factory.mktemp("deck") / "generation.toml"
        GenerationStore(file).save(model, own)
        GenerationStore(file).save(None, shared)
        store = GenerationStore(file)
        assert store.load() == ()
        assert (store.overrides(model), store.overrides(None)) == (own, shared)

    def test_private_under_any_umask(self, store: GenerationStore, file: Path) -> None:
        before = os.umask(0)
        try:
            store.save(None, COOL)
        finally:
            os.umask(before)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (file.parent, *file.parent.iterdir())}
        names = ("generation.toml", "generation.toml.bak", ".generation.toml.lock")
        assert modes == {"deck": 0o700, **dict.fromkeys(names, 0o600)}

    def test_f22_what_is_not_understood_is_kept(self, file: Path) -> None:
        store = loaded(
            file,
            'future = {a = [1]}\n[all_models]\ntemprature = 0.5\ntop_k = -1\nseed = 7\n[models.a]\nstop = "x"\n'
            "[models.b]\nlater = 2026-01-02\n",
        )
        store.save("a", COOL)
        assert table(file)["models"]["a"] == {"stop": "x", "temperature": 0.2}
        store.save(None, COOL)
        assert table(file) == {
            "schema_version": 1,
            "future": {"a": [1]},
            "all_models": {"temprature": 0.5, "top_k": -1, "temperature": 0.2},
            "models": {"a": {"stop": "x", "temperature": 0.2}, "b": table(file)["models"]["b"]},
        }
        assert {key for key, _ in messages(store)} == {
            "future",
            "all_models.temprature",
            "all_models.top_k",
            "models.a.stop",
            "models.b.later",
        }

    def test_a_bad_value_goes_when_that_setting_is_saved(self, file: Path) -> None:
        store = loaded(file, "[all_models]\ntop_k = -1\n")
        store.save(None, GenerationSettings(top_k=5))
        assert table(file)["all_models"] == {"top_k": 5}
        assert store.problems == ()

    @pytest.mark.parametrize(
        ("text", "model"),
        [("all_models = 5\n", None), ("models = [1]\n", "a"), ("models = {a = 5, b = {seed = 1}}\n", "a")],
    )
    def test_what_stands_in_the_way_is_kept_aside(self, text: str, model: str | None, file: Path) -> None:
        store = loaded(file, text)
        store.save(model, COOL)
        assert store.overrides(model) == COOL
        (aside,) = file.parent.glob("*.corrupt-*")
        assert aside.read_text() == text
        assert store.problems == ()

    def test_through_a_symlink(self, store: GenerationStore, file: Path, tmp_path: Path) -> None:
        real = tmp_path / "dotfiles" / "generation.toml"
        GenerationStore(real).save(None, COOL)
        file.parent.mkdir()
        file.symlink_to(real)
        store.save(MODEL, COOL)
        assert file.is_symlink()
        assert set(table(real)) == {"schema_version", "all_models", "models"}


class TestOtherInstances:
    def test_their_scopes_come_from_the_disk(self, store: GenerationStore, file: Path) -> None:
        store.load()
        GenerationStore(file).save("theirs", COOL)
        store.save(MODEL, COOL)
        assert store.overrides("theirs") == COOL
        assert set(table(file)["models"]) == {"theirs", MODEL}

    def test_what_they_removed_is_not_brought_back(self, store: GenerationStore, file: Path) -> None:
        store.save("theirs", COOL)
        file.unlink()
        store.save(MODEL, COOL)
        assert set(table(file)["models"]) == {MODEL}

    @pytest.mark.timeout(120)
    def test_f23_two_that_hammer_lose_nothing(self, file: Path) -> None:
        names = ("left", "right")
        both = [subprocess.Popen([sys.executable, "-c", _HAMMER, str(file), name]) for name in names]
        assert [process.wait(100) for process in both] == [0, 0]
        assert table(file)["models"] == {f"{name}/{number}": {"seed": number} for name in names for number in range(15)}
        assert visible(file.parent) == ["generation.toml"]

    def test_f23_one_that_does_not_finish(self, file: Path) -> None:
        store = GenerationStore(file, lock_seconds=0.05)
        store.save(None, COOL)
        before = file.read_bytes()
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with filelock.FileLock(file.parent / ".generation.toml.lock"):
                held.set()
                done.wait(30)

        other = threading.Thread(target=hold)
        other.start()
        try:
            assert held.wait(30)
            with pytest.raises(SaveError, match=r"is being written by another modeldeck; try again$"):
                store.save(None, GenerationSettings())
        finally:
            done.set()
            other.join()
        assert file.read_bytes() == before
        assert store.overrides(None) == COOL


class TestFilesThatCannotBeRead:
    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "is empty"),
            (b"\n", "is empty"),
            (b"\0" * 100, "is not valid TOML: line 1, column 1, invalid statement; nothing in it is used"),
            (b"[all_models", "is not valid TOML: "),
            (b"# caf\xe9", "is not UTF-8 text (line 1), so nothing in it is used"),
            (b"#" * (MAX_BYTES + 1), "is larger than 2 MiB"),
        ],
        ids=["0 bytes", "blank", "zeros", "torn", "latin-1", "huge"],
    )
    def test_f22_kept_aside_by_the_first_save(self, data: bytes, message: str, file: Path) -> None:
        store = loaded(file, data)
        assert store.effective(None) == BUILT_IN
        ((key, said),) = messages(store)
        assert key == ""
        assert said.startswith(message)
        assert said.endswith("; the next save keeps it aside as generation.toml.corrupt-<time>")
        assert visible(file.parent) == ["generation.toml"]
        store.save(None, COOL)
        assert store.problems == ()
        assert table(file) == {"schema_version": 1, "all_models": {"temperature": 0.2}}
        aside, _ = visible(file.parent)[::-1]
        assert re.fullmatch(r"generation\.toml\.corrupt-\d{8}T\d{6}Z", aside)
        assert (file.parent / aside).read_bytes() == data

    def test_f22_each_under_a_name_of_its_own(self, file: Path) -> None:
        for number in range(3):
            loaded(file, f"broken {number}").save(None, COOL)
        kept = list(file.parent.glob("*.corrupt-*"))
        assert sorted(path.read_text() for path in kept) == ["broken 0", "broken 1", "broken 2"]

    def test_f22_what_was_read_before_it_broke_is_saved_with_the_rest(self, store: GenerationStore, file: Path) -> None:
        store.save(MODEL, COOL)
        file.write_text("broken")
        assert len(store.load()) == 1
        assert store.overrides(MODEL) == COOL
        store.save(None, GenerationSettings(seed=1))
        assert table(file) == {"schema_version": 1, "all_models": {"seed": 1}, "models": {MODEL: {"temperature": 0.2}}}

    def test_f22_a_newer_one_is_left_alone(self, file: Path) -> None:
        text = "schema_version = 2\n[all_models]\nseed = 1\n"
        store = loaded(file, text)
        assert store.effective(None) == BUILT_IN
        assert messages(store) == [
            (
                "",
                "was written by a newer modeldeck (schema_version 2, known here is 1), so it is neither used nor"
                " changed",
            )
        ]
        with pytest.raises(SaveError, match="was written by a newer modeldeck"):
            store.save(None, COOL)
        assert file.read_text() == text
        assert store.effective(None) == BUILT_IN

    def test_f22_what_is_no_file_is_left_alone(self, file: Path) -> None:
        file.mkdir(parents=True)
        store = GenerationStore(file)
        assert [problem.message for problem in store.load()] == ["cannot be read: it is not a file"]
        with pytest.raises(SaveError, match=r"^Nothing was saved: .*generation.toml cannot be read: it is not a file$"):
            store.save(None, COOL)
        assert file.is_dir()


class TestSavesThatFail:
    @pytest.fixture
    def saved(self, store: GenerationStore) -> GenerationStore:
        store.save(None, COOL)
        return store

    def refused(self, store: GenerationStore, file: Path, model: str | None, overrides: GenerationSettings) -> str:
        """The sentence of a save that fails, with nothing changed on disk or in memory."""
        before = file.read_bytes()
        names = visible(file.parent)
        with pytest.raises(SaveError) as caught:
            store.save(model, overrides)
        assert file.read_bytes() == before
        assert visible(file.parent) == names
        assert store.overrides(None) == COOL
        return str(caught.value)

    @pytest.mark.parametrize(
        ("owner", "step"),
        [(os, "fsync"), (Path, "replace"), (os, "fchmod")],
        ids=["fsync", "replace", "fchmod"],
    )
    def test_f20_a_full_disk(
        self, owner: object, step: str, saved: GenerationStore, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(owner, step, full)
        sentence = self.refused(saved, file, MODEL, COOL)
        assert sentence == f"Nothing was saved: {file} could not be written: No space left on device"

    def test_f22_a_read_only_folder(self, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def read_only(*_: object, **__: object) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr(Path, "mkdir", read_only)
        with pytest.raises(SaveError, match=r"could not be written: Read-only file system$"):
            GenerationStore(file).save(None, COOL)
        assert list(tmp_path.glob("deck")) == []

    def test_f22_a_folder_without_write_permission(self, saved: GenerationStore, file: Path) -> None:
        file.parent.chmod(0o500)
        with like_a_plain_user():
            sentence = self.refused(saved, file, MODEL, COOL)
        file.parent.chmod(0o700)
        assert sentence == f"Nothing was saved: {file} could not be written: Permission denied"

    @pytest.mark.parametrize(
        ("wrong", "sentence"),
        [
            ({"temperature": 3.0}, "Nothing was saved: Temperature must be 0 to 2, not 3.0"),
            ({"stop": ("",)}, "Nothing was saved: Stop strings entry 1 must be 1 to 1000 characters, not 0"),
        ],
    )
    def test_a_value_that_is_not_allowed(
        self, wrong: dict[str, Any], sentence: str, saved: GenerationStore, file: Path
    ) -> None:
        assert self.refused(saved, file, MODEL, GenerationSettings(**wrong)) == sentence

    def test_a_model_whose_path_is_no_unicode(self, saved: GenerationStore, file: Path) -> None:
        sentence = self.refused(saved, file, "/models/caf\udce9", COOL)
        assert sentence == "Nothing was saved: the name of this model is not valid Unicode text"

    def test_what_can_be_read_and_not_written(self, saved: GenerationStore, file: Path) -> None:
        file.write_text(f"a = 0x{'F' * 9000}\n")
        sentence = self.refused(saved, file, MODEL, COOL)
        assert sentence == f"Nothing was saved: {file} holds values that cannot be written again; take them out"

    def test_more_than_would_be_read_again(self, saved: GenerationStore, file: Path) -> None:
        prompt = GenerationSettings(system_prompt="x" * 100_000)
        file.write_text(file.read_text() + f'[models.a]\nlater = "{"x" * (MAX_BYTES - 50_000)}"\n')
        sentence = self.refused(saved, file, MODEL, prompt)
        assert sentence == f"Nothing was saved: {file} would grow past 2 MiB"


@given(order=st.permutations(["all", "a", "b"]), values=st.tuples(*[generation_settings] * 3))
@settings(max_examples=15, deadline=None)
def test_the_order_of_saves_does_not_matter(
    order: list[str], values: tuple[GenerationSettings, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("deck") / "generation.toml"
    scopes = dict(zip(["all", "a", "b"], values, strict=True))
    for scope in order:
        GenerationStore(file).save(None if scope == "all" else scope, scopes[scope])
    store = GenerationStore(file)
    assert store.load() == ()
    assert {scope: store.overrides(None if scope == "all" else scope) for scope in order} == scopes
