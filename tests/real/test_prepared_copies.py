"""A prepared copy that is damaged or out of date costs time, never the load. Run in this process, for speed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from modeldeck.backend.gguf_copies import GgufCopies
from modeldeck.backend.models import LoadRequest, Quantization
from modeldeck.backend.protocol import EngineLog, LoadFailed, LoadFinished
from tests.real.test_load_failures import RecordingWire

pytestmark = [
    pytest.mark.usefixtures("libraries"),
    pytest.mark.filterwarnings("ignore"),  # what the libraries warn of while they fail is not ours
]
LoadHere = Callable[..., LoadFailed | LoadFinished]
Publish = Callable[..., Path]


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    """No model is in it: whatever loads came out of its copy."""
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF, but not really")
    return file


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GgufCopies:
    monkeypatch.setenv("MODELDECK_GGUF_COPIES", str(tmp_path / "copies"))
    return GgufCopies(tmp_path / "copies")


@pytest.fixture
def publish(copies: GgufCopies, gguf: Path, llama: Path) -> Publish:
    """Make the tiny Llama the copy of the file, with a stamp of this version or of another."""

    def publish(*, transformers: str = "") -> Path:
        import transformers as library

        from modeldeck.backend.engine import prepared

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(library, "__version__", transformers or library.__version__)
            stamp = prepared._stamp()
        draft = copies.draft(gguf)
        shutil.copytree(llama, draft, dirs_exist_ok=True)
        (draft / "made-by.json").write_text(stamp)
        return copies.publish(draft, gguf)

    return publish


@pytest.fixture
def wire() -> RecordingWire:
    return RecordingWire()


@pytest.fixture
def load(gguf: Path, wire: RecordingWire) -> LoadHere:
    from modeldeck.backend.engine.session import Session
    from modeldeck.backend.protocol import Load

    def load(device: str = "cpu", quantization: Quantization = Quantization.NONE) -> LoadFailed | LoadFinished:
        request = LoadRequest(model_id="x", path=str(gguf), device=device, quantization=quantization)
        Session(wire).load(Load(1, request))
        last = wire.sent[-1]
        assert isinstance(last, (LoadFailed, LoadFinished)), last
        return last

    return load


def _said(wire: RecordingWire) -> str:
    return " ".join(event.text for event in wire.sent if isinstance(event, EngineLog))


def test_a_copy_of_this_version_is_loaded(publish: Publish, load: LoadHere) -> None:
    publish()
    assert isinstance(load(), LoadFinished)


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "model.safetensors"])
def test_a_copy_that_cannot_be_read_is_removed_and_the_file_itself_is_loaded(
    publish: Publish, load: LoadHere, copies: GgufCopies, wire: RecordingWire, name: str
) -> None:
    damaged = publish() / name
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    load()
    assert copies.list() == ()
    assert "could not be read and is removed" in _said(wire)


def test_a_copy_that_another_transformers_made_is_removed(
    publish: Publish, load: LoadHere, copies: GgufCopies, wire: RecordingWire
) -> None:
    publish(transformers="4.0.0")
    assert isinstance(load(), LoadFailed)  # of the file, which holds no model
    assert copies.list() == ()
    assert "another version" in _said(wire)


def test_a_copy_is_not_blamed_for_a_device_that_is_not_there(
    publish: Publish, load: LoadHere, copies: GgufCopies
) -> None:
    copy = publish()
    assert isinstance(load("cuda:99"), LoadFailed)
    assert [one.path for one in copies.list()] == [copy]
