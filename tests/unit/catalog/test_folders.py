from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from modeldeck.backend.catalog.catalog import Catalog, read_model
from modeldeck.backend.catalog.reader import Reader
from modeldeck.backend.models import ModelFormat, ModelInfo, ModelSource
from tests.unit.catalog.trees import TENSORS, gguf_bytes, gguf_file, model_folder, safetensors_bytes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def scan(*folders: Path) -> list[ModelInfo]:
    return list(Catalog(folders, Path("/nowhere"), starter=False).scan())


def only(folder: Path) -> ModelInfo:
    (row,) = scan(folder)
    return row


def test_a_model_folder_is_described_from_its_own_files(root: Path) -> None:
    model = model_folder(root / "org" / "small")
    (model / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}", "model_max_length": 1e30}')
    row = only(root)
    assert (row.id, row.name, row.path, row.source) == (str(model), "org/small", str(model), ModelSource.FOLDER)
    assert (row.format, row.architecture) == (ModelFormat.SAFETENSORS, "llama")
    assert (row.parameters, row.dtype, row.context_length) == (44, "bfloat16", 2048)
    assert row.size_bytes == (model / "model.safetensors").stat().st_size
    assert (row.has_chat_template, row.loadable) == (True, True)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("chat_template.jinja", "{{ messages }}", True),
        ("chat_template.json", '{"chat_template": "{{ messages }}"}', True),
        ("processor_config.json", '{"chat_template": "{{ messages }}", "processor_class": "P"}', True),
        ("processor_config.json", '{"processor_class": "P"}', False),
        ("chat_template.json", '{"chat_template": ""}', False),
        ("chat_template.json", '{"chat_template": {}}', False),
        ("chat_template.json", "{", False),
    ],
)
def test_a_template_that_only_a_processor_reads_is_one(root: Path, name: str, content: str, found: bool) -> None:
    model = model_folder(root / "sees")
    (model / name).write_text(content)
    assert only(root).has_chat_template is found
    (model / "tokenizer_config.json").write_text('{"auto_map": {}, "chat_template": null}')
    assert only(root).has_chat_template is found


def test_shards_are_added_up_by_their_index(root: Path) -> None:
    model = model_folder(root / "big", name="model-00001-of-00002.safetensors")
    second = {f"more.{name}": tensor for name, tensor in TENSORS.items()}
    (model / "model-00002-of-00002.safetensors").write_bytes(safetensors_bytes(second))
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    row = only(root)
    assert (row.parameters, row.problems) == (88, ())

    (model / "model-00002-of-00002.safetensors").unlink()
    row = only(root)
    assert row.parameters is None
    assert row.problems == ("1 of 2 weight files are missing: model-00002-of-00002.safetensors is not here.",)


def test_pickles_are_listed_by_size_and_other_bin_files_are_no_weights(root: Path) -> None:
    model = model_folder(root / "old", {"model_type": "gpt2", "n_positions": 1024, "torch_dtype": "float16"})
    (model / "model.safetensors").unlink()
    (model / "optimizer.bin").write_bytes(b"12345678")
    (model / "training_args.bin").write_bytes(b"12345678")
    assert only(root).format is None
    (model / "pytorch_model.bin").write_bytes(b"123")
    row = only(root)
    assert (row.format, row.size_bytes, row.parameters) == (ModelFormat.PICKLE, 3, None)
    assert (row.dtype, row.context_length, row.loadable) == ("float16", 1024, True)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "It holds no weights (*.safetensors or *.bin)."),
        (["tf_model.h5"], "It holds no safetensors or .bin weights, only tf_model.h5."),
        (["adapter_config.json", "adapter_model.safetensors"], "adapter_config.json is not valid JSON."),
    ],
)
def test_a_folder_without_weights_is_listed_with_its_reason(root: Path, names: list[str], expected: str) -> None:
    model = model_folder(root / "empty")
    (model / "model.safetensors").unlink()
    for name in names:
        (model / name).write_bytes(safetensors_bytes(TENSORS))
    assert only(root).problems == (expected,)


def test_weights_under_another_name_say_what_to_do(root: Path) -> None:
    model_folder(root / "odd", name="weights.safetensors")
    row = only(root)
    assert row.parameters == 44
    assert row.problems == (
        "Its weights are in weights.safetensors; transformers looks for model.safetensors, so rename it.",
    )


def test_broken_files_are_problems_of_their_row_alone(root: Path) -> None:
    (model_folder(root / "a") / "config.json").write_text('{"model_type": ')
    (model_folder(root / "b") / "config.json").write_text("[1]")
    whole = safetensors_bytes(TENSORS)
    (model_folder(root / "c") / "model.safetensors").write_bytes(whole[:-7])
    (model_folder(root / "d") / "model.safetensors").write_bytes(b"")
    model_folder(root / "e")
    rows = {row.name: row.problems for row in scan(root)}
    assert rows == {
        "a": ("config.json is not valid JSON.",),
        "b": ("config.json does not hold a JSON object.",),
        "c": ("model.safetensors is cut off: 7 bytes are missing.",),
        "d": ("model.safetensors is cut off or is not a safetensors file.",),
        "e": (),
    }


def test_gguf_files_are_rows_of_their_own_and_a_split_one_is_a_single_row(root: Path) -> None:
    gguf_file(root / "one.Q4_1.gguf")
    for part in (1, 2):
        gguf_file(root / "split" / f"two-0000{part}-of-00002.gguf")
    gguf_file(root / "lost" / "three-00002-of-00003.gguf")
    rows = {row.name: row for row in scan(root)}
    one = rows["one.Q4_1"]
    assert (one.format, one.quantization, one.parameters, one.dtype) == (ModelFormat.GGUF, "Q4_1", 136, None)
    assert (one.architecture, one.context_length, one.has_chat_template, one.problems) == ("llama", 512, True, ())
    assert set(rows) == {"one.Q4_1", "two-00001-of-00002", "three-00002-of-00003"}
    assert rows["two-00001-of-00002"].size_bytes == 2 * len(gguf_bytes())
    assert "llama-gguf-split --merge" in rows["two-00001-of-00002"].problems[0]
    assert rows["three-00002-of-00003"].problems == ("2 of the 3 parts of this model are missing.",)


def test_a_config_beside_gguf_files_is_no_model_of_its_own(root: Path) -> None:
    model = model_folder(root / "repo")
    (model / "model.safetensors").unlink()
    gguf_file(model / "x.gguf")
    assert [row.name for row in scan(root)] == ["x"]


def test_parts_and_hidden_folders_are_no_models_but_checkpoints_are(root: Path) -> None:
    model = model_folder(root / "run")
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling" / "config.json").write_text("{}")
    model_folder(model / "checkpoint-5")
    model_folder(root / ".git" / "x")
    assert [row.name for row in scan(root)] == ["run", "run/checkpoint-5"]


def test_the_model_folder_may_itself_be_a_model(root: Path) -> None:
    model_folder(root)
    assert only(root).name == "models"


def test_s13_folders_are_searched_four_deep(root: Path) -> None:
    model_folder(root / "1" / "2" / "3" / "4")
    model_folder(root / "1" / "2" / "3" / "4" / "5")
    assert [row.name for row in scan(root)] == ["1/2/3/4"]


def test_overlapping_folders_give_every_model_once(root: Path, tmp_path: Path) -> None:
    model_folder(root / "1" / "2" / "3")
    deep = model_folder(root / "1" / "2" / "3" / "4" / "5")
    (tmp_path / "also").symlink_to(root)
    rows = scan(root, root / "1" / "2" / "3", tmp_path / "also", root)
    assert sorted(row.id for row in rows) == [str(deep.parent.parent), str(deep)]


def test_s13_loops_and_special_files_are_neither_followed_nor_opened(root: Path) -> None:
    model = model_folder(root / "good")
    (root / "good" / "loop").symlink_to(root)
    (root / "self.gguf").symlink_to("self.gguf")
    os.mkfifo(root / "pipe.gguf")
    fifo = root / "fifo"
    fifo.mkdir()
    os.mkfifo(fifo / "config.json")  # opening it would wait for a writer
    os.mkfifo(fifo / "model.safetensors")
    (root / "null.gguf").symlink_to("/dev/zero")
    (root / "folder.gguf").mkdir()
    rows = {row.name: row.problems for row in scan(root)}
    assert rows.pop("good") == ()
    assert rows == {
        "fifo": ("config.json is not a regular file.", "model.safetensors is not a regular file."),
        "null": ("null.gguf is a link to a place outside of the model folders.",),
        "pipe": ("pipe.gguf is not a regular file.",),
        "self": ("self.gguf is a link that leads to itself.",),
    }
    assert model.is_dir()


def test_s13_links_out_of_the_model_folders_are_told_and_not_followed(root: Path, tmp_path: Path) -> None:
    elsewhere = model_folder(tmp_path / "elsewhere" / "big")
    (root / "linked").symlink_to(elsewhere)
    inside = model_folder(root / "inside")
    (inside / "model.safetensors").unlink()
    (inside / "model.safetensors").symlink_to(elsewhere / "model.safetensors")
    rows = {row.name: row.problems for row in scan(root)}
    assert rows == {
        "linked": (f"It is a link to {elsewhere}, outside of the model folders: add that folder to model_folders.",),
        "inside": ("model.safetensors is a link to a place outside of the model folders.",),
    }
    assert read_model(root / "linked", ModelSource.FOLDER).problems == ()  # typed by hand: the user means it


def test_links_within_the_model_folders_are_followed(root: Path) -> None:
    store = model_folder(root / "store")
    linked = model_folder(root / "linked")
    (linked / "model.safetensors").unlink()
    (linked / "model.safetensors").symlink_to("../store/model.safetensors")
    assert all(row.loadable and row.parameters == 44 for row in scan(root))
    (store / "model.safetensors").unlink()
    assert {row.name: row.problems for row in scan(root)}["linked"] == ("model.safetensors is missing.",)


def test_s13_s23_a_huge_config_is_not_read(root: Path) -> None:
    model = model_folder(root / "huge")
    os.truncate(model / "config.json", 5_000_000)
    assert "more than the 4,194,304" in only(root).problems[0]


def test_a_folder_that_cannot_be_listed_is_a_row_and_the_others_stay(
    root: Path,
) -> None:
    model_folder(root / "a")
    model_folder(root / "b")

    class Refused(Reader):
        def list(self, path: str) -> list[os.DirEntry[str]]:
            if path.endswith("/a"):
                raise PermissionError(13, "Permission denied", path)
            return super().list(path)

    rows = Catalog([root], Path("/nowhere"), starter=False, reader=Refused()).scan()
    assert {row.name: row.problems for row in rows} == {
        "a": ("It cannot be read: permission denied.",),
        "b": (),
    }


def test_a_folder_deleted_in_mid_scan_ends_nothing(root: Path) -> None:
    for name in "abcd":
        model_folder(root / name)
        gguf_file(root / name / "x.gguf")
    rows = Catalog([root], Path("/nowhere"), starter=False).scan()
    assert next(rows).name == "a"
    shutil.rmtree(root)
    assert all(isinstance(row, ModelInfo) for row in rows)


def test_hostile_names_are_cleaned_and_paths_stay_usable(root: Path) -> None:
    model = model_folder(root / "evil\x1b[2J\u202e")
    row = only(root)
    assert row.name == "evil␛[2J\ufffd"
    assert row.path == str(model)


def test_a_path_that_is_not_unicode_is_a_problem(root: Path) -> None:
    raw = os.fsencode(root) + b"/bad\xff"
    shutil.copytree(model_folder(root / "x"), os.fsdecode(raw))
    bad = next(row for row in scan(root) if row.name.startswith("bad"))
    assert bad.problems == ("Its path is not valid UTF-8: rename it.",)
    assert (bad.path + bad.id).encode()


def test_a_model_that_writes_no_text_is_listed_as_it_is(root: Path) -> None:
    model_folder(root / "clip", {"model_type": "clip"})
    row = only(root)
    assert (row.architecture, row.context_length, row.problems) == ("clip", None, ())


@pytest.mark.parametrize(("number", "why"), [(13, "permission denied"), (5, "input/output error")])
def test_f25_a_model_folder_that_cannot_be_listed_is_a_row_itself(
    root: Path, tmp_path: Path, number: int, why: str
) -> None:
    class Refused(Reader):
        def list(self, path: str) -> list[os.DirEntry[str]]:
            if path == str(root):
                raise OSError(number, os.strerror(number), path)
            return super().list(path)

    model_folder(tmp_path / "other" / "a")
    folders = [root, tmp_path / "other", tmp_path / "not there"]
    rows = list(Catalog(folders, tmp_path / "hub", starter=False, reader=Refused()).scan())
    assert [row.name for row in rows] == [str(root), "a"]
    assert rows[0].problems == (f"It cannot be read: {why}.",)
