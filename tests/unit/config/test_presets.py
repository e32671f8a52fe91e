"""Presets in ``generation.toml``: built in, saved, renamed, deleted, chosen, handed on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modeldeck.config.generation import GenerationSettings
from modeldeck.config.generation_layers import Layer
from modeldeck.config.preset_sharing import take_presets, write_preset
from modeldeck.config.presets import BUILT_IN_PRESETS
from modeldeck.config.store import GenerationStore, SaveError
from tests.unit.config.values import table

POEMS = GenerationSettings(temperature=1.3, stop=("END",))
_HAMMER = """
import sys
from pathlib import Path
from modeldeck.config.store import GenerationStore
store = GenerationStore(Path(sys.argv[1]), lock_seconds=50)
for number in range(10):
    store.change("m", {sys.argv[2]: number + 1})
    store.choose_preset("precise", f"{sys.argv[2]} {number}")
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deck" / "generation.toml"


@pytest.fixture
def store(file: Path) -> GenerationStore:
    return GenerationStore(file)


def refusal(store: GenerationStore, name: str, values: GenerationSettings = POEMS) -> str:
    with pytest.raises(SaveError) as caught:
        store.save_preset(name, values)
    return str(caught.value)


class TestTheUsersOwn:
    def test_the_built_in_ones_are_always_there(self, store: GenerationStore) -> None:
        assert store.preset_names == ("precise", "balanced", "creative", "deterministic")
        assert store.preset_values("deterministic") == GenerationSettings(do_sample=False)
        assert store.preset_values("nothing") == GenerationSettings()

    def test_saved_chosen_and_read_again(self, store: GenerationStore, file: Path) -> None:
        assert store.save_preset("  my   poems ", POEMS) == "my poems"
        store.choose_preset("my poems", "m")
        store.choose_preset("precise", None)
        assert table(file) == {
            "schema_version": 1,
            "preset": "precise",
            "presets": {"my poems": {"temperature": 1.3, "stop": ["END"]}},
            "model_presets": {"m": "my poems"},
        }
        again = GenerationStore(file)
        assert again.load() == ()
        assert (again.preset("m"), again.preset("n"), again.preset(None)) == ("my poems", "precise", "precise")
        assert again.layers("m").held("temperature").layer is Layer.PRESET
        assert again.effective("m").temperature == 1.3
        again.choose_preset(None, "m")
        again.choose_preset(None, None)
        assert again.preset("m") is None
        assert set(table(file)) == {"schema_version", "presets"}

    def test_the_layers_in_order(self, store: GenerationStore) -> None:
        store.change(None, {"temperature": 0.1, "top_k": 1, "top_p": 0.1})
        store.choose_preset("precise", "m")
        store.change("m", {"top_k": 3})
        effective = store.effective("m")
        assert (effective.temperature, effective.top_k, effective.top_p) == (0.2, 3, 0.8)
        assert store.effective("n").temperature == 0.1

    def test_renamed_and_deleted_wherever_it_is_chosen(self, store: GenerationStore, file: Path) -> None:
        store.save_preset("poems", POEMS)
        for model in ("m", None):
            store.choose_preset("poems", model)
        assert store.rename_preset("poems", "odes") == "odes"
        assert (store.preset("m"), store.preset(None), store.preset_values("odes")) == ("odes", "odes", POEMS)
        store.delete_preset("odes")
        store.delete_preset("odes")
        assert (store.preset("m"), store.preset(None)) == (None, None)
        assert table(file) == {"schema_version": 1}

    def test_what_cannot_be(self, store: GenerationStore) -> None:
        store.save_preset("poems", POEMS)
        assert refusal(store, "precise") == "Nothing was saved: “precise” is built in; take another name"
        assert refusal(store, " ") == "Nothing was saved: the name must be 1 to 40 characters, not 0"
        assert refusal(store, "x", GenerationSettings()).endswith("nothing is set that a preset could keep")
        assert "Temperature must be 0 to 2" in refusal(store, "x", GenerationSettings(temperature=3.0))
        store.save_preset("odes", POEMS)
        for old, new, why in (
            ("poems", "odes", "there is a preset “odes” already"),
            ("gone", "x", "there is no preset “gone” of yours"),
            ("precise", "x", "there is no preset “precise” of yours"),
        ):
            with pytest.raises(SaveError, match=why):
                store.rename_preset(old, new)
        with pytest.raises(SaveError, match="there is no preset “gone” any more"):
            store.choose_preset("gone", None)
        with pytest.raises(SaveError, match="Top k must be 0 to"):
            store.change("m", {"top_k": -1})

    def test_problems_in_the_file_are_told_and_the_rest_counts(self, file: Path) -> None:
        file.parent.mkdir()
        file.write_text(
            'schema_version = 1\npreset = "precis"\n[presets.poems]\ntemperature = 1.3\ntop_kk = 5\n'
            '[presets.precise]\ntop_k = 1\n[presets."a  b"]\ntop_k = 1\n[model_presets]\n'
            'a = "poem"\nb = 5\nc = "poems"\n'
        )
        store = GenerationStore(file)
        assert [(problem.key, problem.message) for problem in store.load()] == [
            ("presets.poems.top_kk", "is not a generation setting; did you mean top_k?"),
            ("presets.precise", "is built in, so this one is not used; give it another name"),
            ("presets.a  b", "must be a name of 1 to 40 visible characters, in single spaces"),
            ("preset", "must be the name of a preset, not 'precis'; did you mean precise?"),
            ("model_presets.a", "must be the name of a preset, not 'poem'; did you mean poems?"),
            ("model_presets.b", "must be the name of a preset, not 5"),
        ]
        assert store.preset_values("precise") == BUILT_IN_PRESETS["precise"]
        assert store.preset("c") == "poems"
        store.change("m", {"seed": 1})
        assert "top_kk" in file.read_text()


class TestHandedOn:
    def test_there_and_back(self, store: GenerationStore, tmp_path: Path) -> None:
        store.save_preset("poems", POEMS)
        given = tmp_path / "poems.toml"
        write_preset(store, "poems", given)
        other = GenerationStore(tmp_path / "other" / "generation.toml")
        assert take_presets(other, given) == (("poems",), ())
        assert other.preset_values("poems") == POEMS
        with pytest.raises(SaveError, match="there is a preset “poems” already"):
            take_presets(other, given)
        with pytest.raises(SaveError, match="is there already"):
            write_preset(store, "poems", given)
        with pytest.raises(SaveError, match="there is no folder"):
            write_preset(store, "poems", tmp_path / "no" / "x.toml")

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            (None, "is not there"),
            ("x", "is not valid TOML"),
            ("[presets]\n", "holds no preset"),
            ("presets = 5\n", "must be a table, not 5"),
        ],
    )
    def test_a_file_that_is_none(self, text: str | None, why: str, store: GenerationStore, tmp_path: Path) -> None:
        file = tmp_path / "given.toml"
        if text is not None:
            file.write_text(text)
        with pytest.raises(SaveError, match=why):
            take_presets(store, file)

    def test_a_disk_that_refuses(self, store: GenerationStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("modeldeck.config.preset_sharing.write_atomically", full)
        with pytest.raises(SaveError, match="No space left"):
            write_preset(store, "precise", tmp_path / "x.toml")


class TestOtherEditors:
    def test_what_was_written_elsewhere_is_noticed_once(self, store: GenerationStore, file: Path) -> None:
        store.load()
        assert not store.reload()
        store.change("m", {"seed": 1})
        assert not store.reload(), "its own save is no news"
        GenerationStore(file).change("m", {"top_k": 2})
        assert store.reload()
        assert not store.reload()
        assert store.overrides("m") == GenerationSettings(seed=1, top_k=2)
        file.unlink()
        assert store.reload()
        assert store.overrides("m") == GenerationSettings()

    def test_f23_two_that_change_the_same_model_lose_nothing(self, file: Path) -> None:
        both = [subprocess.Popen([sys.executable, "-c", _HAMMER, str(file), name]) for name in ("seed", "top_k")]
        assert [process.wait(50) for process in both] == [0, 0]
        store = GenerationStore(file)
        assert store.load() == ()
        assert store.overrides("m") == GenerationSettings(seed=10, top_k=10)
        assert len(table(file)["model_presets"]) == 20
