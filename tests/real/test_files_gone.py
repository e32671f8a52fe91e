"""Loads of models whose files another program has deleted in the meantime (F24); in this process, for speed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from modeldeck.backend.models import LoadRequest
from modeldeck.backend.protocol import Load, LoadFailed, LoadFinished
from tests.real.test_load_failures import RecordingWire, failure

pytestmark = [pytest.mark.usefixtures("libraries"), pytest.mark.filterwarnings("ignore")]


def load(path: Path) -> LoadFailed | LoadFinished:
    from modeldeck.backend.engine.session import Session

    wire = RecordingWire()
    Session(wire).load(Load(1, LoadRequest(model_id="x", path=str(path))))
    last = wire.sent[-1]
    assert isinstance(last, (LoadFailed, LoadFinished)), last
    return last


@pytest.fixture
def split(llama: Path, tmp_path: Path) -> Path:
    """The model in several files, as all large ones are."""
    from transformers import AutoModelForCausalLM

    folder = Path(shutil.copytree(llama, tmp_path / "split"))
    (folder / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(llama).save_pretrained(folder, max_shard_size="100KB")
    return folder


def lose(file: Path) -> None:
    """As in the hub's cache once the blob is gone: the link stays."""
    file.unlink()
    file.symlink_to("../../blobs/0123")


def test_f24_a_path_that_is_not_there(tmp_path: Path) -> None:
    result = failure(load(tmp_path / "gone"))
    assert result.kind == "load"
    assert result.message == f"There is nothing at {tmp_path / 'gone'}; it may have been moved or deleted."


@pytest.mark.parametrize("name", ["model-00002-of-*.safetensors", "config.json", "tokenizer.json"])
def test_f24_a_file_whose_blob_was_deleted_is_named(split: Path, name: str) -> None:
    (lost,) = split.glob(name)
    lose(lost)
    assert failure(load(split)).message == (
        f"{lost.name} leads to a file that is gone; it may have been deleted by another program: "
        "download the model again."
    )


def test_a_lost_file_that_can_be_done_without_stops_no_load(split: Path) -> None:
    lose(split / "generation_config.json")
    assert isinstance(load(split), LoadFinished)
