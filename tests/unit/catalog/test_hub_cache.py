from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from modeldeck.backend.catalog.catalog import Catalog, read_model
from modeldeck.backend.catalog.reader import Reader
from modeldeck.backend.models import ModelInfo, ModelSource
from tests.unit.catalog.trees import COMMIT, gguf_bytes, hub_model, hub_repo

OTHER = "f" * 40


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "hub"
    folder.mkdir()
    return folder


def scan(cache: Path, *folders: Path) -> list[ModelInfo]:
    return list(Catalog(folders, cache, starter=False).scan())


def test_every_snapshot_is_a_row_and_main_comes_first(cache: Path) -> None:
    old = hub_repo(cache, "org/name", hub_model(), "0" * 40, ref="old")
    main = hub_repo(cache, "org/name", hub_model(), OTHER)
    rows = scan(cache)
    assert [row.id for row in rows] == [f"org/name@{OTHER}", f"org/name@{'0' * 40}"]
    assert [row.path for row in rows] == [str(main), str(old)]
    assert {(row.name, row.source, row.parameters, row.problems) for row in rows} == {
        ("org/name", ModelSource.HUB_CACHE, 44, ())
    }


def test_what_is_no_model_is_not_listed(cache: Path) -> None:
    (cache / "datasets--org--data" / "snapshots" / COMMIT).mkdir(parents=True)
    (cache / ".locks" / "models--org--x").mkdir(parents=True)
    (cache / "models--org--asked-for" / "refs").mkdir(parents=True)
    (cache / "version.txt").write_text("1")
    (cache / "models--a-file").write_text("")
    assert scan(cache) == []


def test_f19_interrupted_downloads_are_listed_as_such(cache: Path) -> None:
    blobs = cache / "models--org--started" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "abc.1234.incomplete").write_bytes(b"half")
    config_only = hub_model()
    del config_only["model.safetensors"]
    hub_repo(cache, "org/config-only", config_only)
    snapshot = hub_repo(cache, "org/no-blob", hub_model())
    (snapshot / "model.safetensors").resolve().unlink()
    index = json.dumps(
        {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    )
    sharded = {**config_only, "model.safetensors.index.json": index.encode()}
    hub_repo(cache, "org/shards", {**sharded, "model-00001-of-00002.safetensors": hub_model()["model.safetensors"]})
    assert {row.name: row.problems for row in scan(cache)} == {
        "org/started": ("Download incomplete: no file of it is whole yet.",),
        "org/config-only": ("Download incomplete: it holds no weights (*.safetensors or *.bin).",),
        "org/no-blob": ("Download incomplete: model.safetensors is missing.",),
        "org/shards": (
            "Download incomplete: 1 of 2 weight files are missing: model-00002-of-00002.safetensors is not here.",
        ),
    }


def test_gguf_repositories_give_a_row_for_each_file(cache: Path) -> None:
    files = {"x-Q4_1.gguf": gguf_bytes(), "BF16/y.gguf": gguf_bytes(tensors=[(30, (8, 8))]), "README.md": b"#"}
    snapshot = hub_repo(cache, "org/name-GGUF", files)
    rows = scan(cache)
    assert [(row.id, row.name) for row in rows] == [
        (f"org/name-GGUF@{COMMIT}/BF16/y.gguf", "org/name-GGUF/BF16/y"),
        (f"org/name-GGUF@{COMMIT}/x-Q4_1.gguf", "org/name-GGUF/x-Q4_1"),
    ]
    assert [(row.dtype, row.quantization, row.problems) for row in rows] == [("bfloat16", None, ()), (None, "Q4_1", ())]
    assert Path(rows[1].path) == snapshot / "x-Q4_1.gguf"


def test_a_repository_without_config_says_so(cache: Path) -> None:
    hub_repo(cache, "org/diffusion", {"model_index.json": b"{}"})
    (row,) = scan(cache)
    assert "no config.json" in row.problems[0]


def test_f25_an_unreadable_repository_is_a_row_and_the_others_stay(cache: Path) -> None:
    hub_repo(cache, "org/a", hub_model())
    hub_repo(cache, "org/b", hub_model())

    class Refused(Reader):
        def list(self, path: str) -> list[os.DirEntry[str]]:
            if "models--org--a" in path:
                raise PermissionError(13, "Permission denied", path)
            return super().list(path)

    assert {row.name: row.problems for row in Catalog([], cache, starter=False, reader=Refused()).scan()} == {
        "org/a": ("It cannot be read: permission denied.",),
        "org/b": (),
    }


def test_a_link_out_of_the_cache_is_not_followed(cache: Path, tmp_path: Path) -> None:
    snapshot = hub_repo(cache, "org/a", hub_model())
    (tmp_path / "secret").write_text("{}")
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(tmp_path / "secret")
    (row,) = scan(cache)
    assert row.problems == ("config.json is a link to a place outside of the model folders.",)


def test_blobs_shared_by_the_whole_cache_are_followed(cache: Path) -> None:
    snapshot = hub_repo(cache, "org/a", hub_model())
    blob = (snapshot / "model.safetensors").resolve()
    (cache / "_shared_blobs").mkdir()
    shared = blob.rename(cache / "_shared_blobs" / blob.name)
    blob.symlink_to(Path("../../_shared_blobs") / shared.name)
    assert [row.problems for row in scan(cache)] == [()]


def test_a_cache_among_the_model_folders_keeps_its_ids(cache: Path) -> None:
    hub_repo(cache, "org/a", hub_model())
    assert [row.id for row in scan(cache, cache.parent)] == [f"org/a@{COMMIT}"]


def test_one_snapshot_is_read_with_the_id_of_the_list(cache: Path) -> None:
    snapshot = hub_repo(cache, "org/a", hub_model())
    assert read_model(snapshot, ModelSource.HUB_CACHE) == scan(cache)[0]


def test_f25_a_cache_that_cannot_be_listed_is_a_row_itself(cache: Path) -> None:
    class Refused(Reader):
        def list(self, path: str) -> list[os.DirEntry[str]]:
            raise PermissionError(13, "Permission denied", path)

    rows = list(Catalog([], cache, starter=False, reader=Refused()).scan())
    assert [(row.name, row.problems) for row in rows] == [(str(cache), ("It cannot be read: permission denied.",))]
