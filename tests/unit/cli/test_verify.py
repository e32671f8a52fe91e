"""``verify``: the files of a download against the hashes that the hub's cache names them by (S20)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from modeldeck.config.paths import Paths
from tests.unit.catalog.trees import COMMIT, hub_model
from tests.unit.cli.conftest import Modeldeck

FILES = {**hub_model(), "tokenizer.json": b"{}", "deep/er/notes.md": b"", "README.md": b"# A model\n"}


def blob_name(name: str, data: bytes) -> str:
    """As the hub has it: SHA-256 for large files, git's own SHA-1 for the others."""
    if name.endswith(".safetensors"):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@pytest.fixture
def snapshot(paths: Paths) -> Path:
    """``org/tiny``, as huggingface_hub lays it down."""
    repo = paths.hub_cache / "models--org--tiny"
    snapshot = repo / "snapshots" / COMMIT
    (repo / "blobs").mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    for name, data in FILES.items():
        blob, link = repo / "blobs" / blob_name(name, data), snapshot / name
        blob.write_bytes(data)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path(*[".."] * (2 + name.count("/")), "blobs", blob.name))
    return snapshot


def test_s20_a_download_that_is_whole(modeldeck: Modeldeck, snapshot: Path) -> None:
    ended = modeldeck("verify", "org/tiny")
    assert (ended.code, ended.err) == (0, "")
    assert sorted(line.split()[-1] for line in ended.out.splitlines()) == sorted(FILES)
    document = modeldeck("verify", "org/tiny", "--json").document
    assert (document["whole"], document["revision"]) == (True, COMMIT)
    assert {file["name"]: file["size"] for file in document["files"]} == {name: len(FILES[name]) for name in FILES}


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_s20_one_byte_that_is_another_is_told(modeldeck: Modeldeck, snapshot: Path, name: str) -> None:
    blob = (snapshot / name).resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    ended = modeldeck("verify", "org/tiny")
    assert ended.code == 1
    assert f"{name}: it is not what was downloaded: its hash is another." in ended.err
    assert [line.split()[-1] for line in ended.out.splitlines() if line.startswith("BAD")] == [name]
    document = modeldeck("verify", "org/tiny", "--json").document
    assert not document["whole"]
    assert [file["name"] for file in document["files"] if file["problem"]] == [name]


def test_s20_a_file_that_is_cut_off_gone_or_replaced_is_told(
    modeldeck: Modeldeck, snapshot: Path, tmp_path: Path
) -> None:
    (snapshot / "model.safetensors").resolve().write_bytes(b"half")
    (snapshot / "README.md").resolve().unlink()
    outside = tmp_path / blob_name("tokenizer.json", FILES["tokenizer.json"])
    outside.write_bytes(FILES["tokenizer.json"])
    (snapshot / "tokenizer.json").unlink()
    (snapshot / "tokenizer.json").symlink_to(outside)
    (snapshot / "deep/er/notes.md").unlink()
    (snapshot / "deep/er/notes.md").write_bytes(b"")
    ended = modeldeck("verify", "org/tiny")
    assert ended.code == 1
    assert "model.safetensors: it is not what was downloaded" in ended.err
    assert "README.md: README.md is a link to a file that is not there." in ended.err
    assert "tokenizer.json: tokenizer.json is a link to a place outside of the model folders." in ended.err
    assert "deep/er/notes.md: its hash is not known, so it cannot be compared." in ended.err


def test_s20_what_the_hub_did_not_send_cannot_be_compared(modeldeck: Modeldeck, model_folder: Path) -> None:
    ended = modeldeck("verify", "tiny-llama")
    assert (ended.code, ended.out) == (1, "")
    assert "does not lie in the hub's cache, so there is nothing to compare it with." in ended.err
    assert modeldeck("verify", "no-such-model").code == 3
