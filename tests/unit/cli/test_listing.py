"""``ls`` and ``show``."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from modeldeck.backend.catalog import starter
from tests.unit.cli.conftest import Modeldeck, write_model

KEYS = {
    "id", "name", "path", "source", "format", "architecture", "parameters", "dtype", "quantization",
    "context_length", "size_bytes", "has_chat_template", "needs_remote_code", "problems", "loadable",
}  # fmt: skip
"""A script may rely on these: taking one away needs a new schema version."""


@pytest.fixture
def no_starter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter, "find_spec", lambda _name: None)


class TestList:
    def test_json_holds_every_model_with_stable_keys(self, modeldeck: Modeldeck, model_folder: Path) -> None:
        ended = modeldeck("ls", "--json")
        assert (ended.code, ended.err) == (0, "")
        assert ended.document["schema_version"] == 1
        by_path = {model["path"]: model for model in ended.document["models"]}
        found = by_path[str(model_folder)]
        assert set(found) >= KEYS
        assert (found["name"], found["parameters"], found["loadable"]) == ("tiny-llama", 64, True)

    def test_the_table_names_what_the_row_is(self, modeldeck: Modeldeck, model_folder: Path) -> None:
        row = next(line for line in modeldeck("ls").out.splitlines() if "tiny-llama" in line)
        assert row.split() == ["tiny-llama", "64", "bf16", "2,048", "203", "B", "folder"]

    def test_quiet_prints_ids_that_show_takes(self, modeldeck: Modeldeck, model_folder: Path) -> None:
        ids = modeldeck("ls", "-q").out.splitlines()
        assert str(model_folder) in ids
        assert all(modeldeck("show", one).code == 0 for one in ids)

    @pytest.mark.usefixtures("no_starter")
    def test_nothing_found_says_where_it_looked_and_stdout_stays_empty(self, modeldeck: Modeldeck) -> None:
        ended = modeldeck("ls")
        assert (ended.code, ended.out) == (0, "")
        assert "~/models (not there)" in ended.err

    def test_a_broken_folder_is_listed_with_its_reason(self, modeldeck: Modeldeck, model_folder: Path) -> None:
        (model_folder / "config.json").write_text("{")
        ended = modeldeck("ls", "--json")
        found = next(model for model in ended.document["models"] if model["name"] == "tiny-llama")
        assert found["loadable"] is False
        assert found["problems"]
        assert "broken" in modeldeck("ls").out

    def test_a_hostile_name_reaches_no_terminal(self, modeldeck: Modeldeck, model_folder: Path) -> None:
        shutil.copytree(model_folder, model_folder.with_name("evil\x1b]52;c;aGk=\x07\u202e"))
        for arguments in (("ls",), ("ls", "-q"), ("ls", "--json"), ("show", "evil")):
            ended = modeldeck(*arguments)
            assert "evil" in ended.out
            assert not {"\x1b", "\x07", "\u202e"} & set(ended.out + ended.err)

    def test_a_bad_setting_is_told_and_the_rest_counts(self, modeldeck: Modeldeck, home: Path) -> None:
        other = write_model(home / "elsewhere" / "other")
        config = home / ".config" / "modeldeck" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text('model_folders = ["~/elsewhere"]\ndevice = "tpu"\n')
        ended = modeldeck("ls", "-q")
        assert ended.code == 0
        assert str(other) in ended.out
        assert "device" in ended.err
        assert "tpu" in ended.err


class TestShow:
    def test_what_is_not_here_ends_with_3_and_a_sentence(self, modeldeck: Modeldeck, model_folder: Path) -> None:
        ended = modeldeck("show", "tiny-lama")
        assert (ended.code, ended.out) == (3, "")
        assert "tiny-llama" in ended.err

    def test_json_is_the_model_of_ls(self, modeldeck: Modeldeck, model_folder: Path) -> None:
        listed = modeldeck("ls", "--json").document["models"]
        assert modeldeck("show", "tiny-llama", "--json").document["model"] in listed

    def test_for_people_it_says_every_figure_with_its_unit(self, modeldeck: Modeldeck, model_folder: Path) -> None:
        out = modeldeck("show", str(model_folder)).out
        assert "2,048 tokens" in out
        assert "203 B" in out
