"""Loads that must not succeed: one sentence, the right kind, and no traceback in it. Run in this process, for speed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modeldeck.backend.engine.wire import Wire
from modeldeck.backend.models import LoadRequest, Quantization
from modeldeck.backend.protocol import EngineEvent, Load, LoadFailed, LoadFinished

pytestmark = [
    pytest.mark.usefixtures("libraries"),
    pytest.mark.filterwarnings("ignore"),  # what the libraries warn of while they fail is not ours
]
LoadHere = Callable[..., LoadFailed | LoadFinished]


class RecordingWire(Wire):
    """Keeps events instead of writing them."""

    def __init__(self) -> None:
        super().__init__(os.open(os.devnull, os.O_WRONLY))
        self.sent: list[EngineEvent] = []

    def send(self, event: EngineEvent) -> None:
        self.sent.append(event)


@pytest.fixture
def load() -> LoadHere:
    from modeldeck.backend.engine.session import Session

    def load(path: Path, **options: Any) -> LoadFailed | LoadFinished:
        wire = RecordingWire()
        Session(wire).load(Load(1, LoadRequest(model_id="x", path=str(path), **options)))
        last = wire.sent[-1]
        assert isinstance(last, (LoadFailed, LoadFinished)), last
        return last

    return load


@pytest.fixture
def copied(llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llama, tmp_path / "copied"))


def failure(result: LoadFailed | LoadFinished) -> LoadFailed:
    assert isinstance(result, LoadFailed), result
    assert "\n" not in result.message
    assert len(result.message) < 500
    assert result.message.endswith((".", "?", "\u2026"))
    return result


def change_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_path_that_is_not_there(load: LoadHere, tmp_path: Path) -> None:
    result = failure(load(tmp_path / "gone"))
    assert result.kind == "load"
    assert "gone" in result.message


def test_a_folder_without_a_config(load: LoadHere, tmp_path: Path) -> None:
    assert "config.json" in failure(load(tmp_path)).message


def test_a_folder_without_weights(load: LoadHere, copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    assert "no weights" in failure(load(copied)).message


def test_a_folder_without_a_tokenizer(load: LoadHere, copied: Path) -> None:
    for file in copied.glob("tokenizer*"):
        file.unlink()
    result = failure(load(copied))
    assert "tokenizer" in result.message
    assert "Traceback" in result.detail


def test_damaged_weights(load: LoadHere, copied: Path) -> None:
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert failure(load(copied)).kind == "load"


def test_weights_of_other_shapes_than_the_config_says(load: LoadHere, copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    change_config(copied, intermediate_size=2 * config["intermediate_size"])
    assert "other shapes than config.json says" in failure(load(copied)).message


def test_an_architecture_that_transformers_does_not_know(load: LoadHere, copied: Path) -> None:
    change_config(copied, model_type="flux-capacitor", architectures=["Flux"])
    result = failure(load(copied))
    assert result.kind == "unsupported"
    assert "flux-capacitor" in result.message


def test_an_architecture_that_is_no_text_model(load: LoadHere, copied: Path) -> None:
    change_config(copied, model_type="resnet", architectures=["ResNetModel"])
    assert failure(load(copied)).kind == "unsupported"


def test_code_of_the_models_own_is_refused_and_not_run(load: LoadHere, copied: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (copied / "own.py").write_text(f"open({str(canary)!r}, 'w')\n")
    change_config(copied, model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"})
    result = failure(load(copied))
    assert result.kind == "remote_code"
    assert "trust" in result.message
    assert not canary.exists()


def test_cuda_where_there_is_none(load: LoadHere, llama: Path) -> None:
    import torch

    missing = f"cuda:{torch.cuda.device_count()}"
    result = failure(load(llama, device=missing))
    assert result.kind == "load"
    assert missing in result.message
    assert "cpu" in result.message


def test_quantizing_what_is_quantized_already(load: LoadHere, copied: Path) -> None:
    change_config(copied, quantization_config={"quant_method": "gptq", "bits": 4})
    result = failure(load(copied, quantization=Quantization.NF4))
    assert result.kind == "quantization"
    assert "gptq" in result.message


def test_quantizing_a_gguf_that_has_no_copy(load: LoadHere, starter: Path) -> None:
    result = failure(load(starter, quantization=Quantization.INT8))
    assert result.kind == "quantization"
    assert "full precision" in result.message


def test_a_file_that_is_no_gguf(load: LoadHere, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + bytes(60))
    assert failure(load(tmp_path / "x.gguf")).kind in ("load", "unsupported")


def test_too_little_memory(load: LoadHere, llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    def fail(*args: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    result = failure(load(llama))
    assert result.kind == "memory"
    assert "memory" in result.message


@pytest.mark.parametrize("quantization", [Quantization.INT8, Quantization.NF4])
def test_bitsandbytes_quantizes_on_the_cpu(load: LoadHere, llama: Path, quantization: Quantization) -> None:
    plain, quantized = load(llama), load(llama, quantization=quantization)
    assert isinstance(plain, LoadFinished), plain
    assert isinstance(quantized, LoadFinished), quantized
    assert quantized.model.quantization == quantization
    assert quantized.model.weight_bytes < plain.model.weight_bytes


def test_weights_load_in_the_dtype_that_was_asked_for(load: LoadHere, llama: Path) -> None:
    result = load(llama, dtype="bfloat16")
    assert isinstance(result, LoadFinished), result
    assert result.model.dtype == "bfloat16"


def test_pickled_weights_are_read_where_there_are_no_others(load: LoadHere, copied: Path) -> None:
    import torch
    from safetensors.torch import load_file

    weights = copied / "model.safetensors"
    torch.save(load_file(weights), copied / "pytorch_model.bin")
    weights.unlink()
    assert isinstance(load(copied), LoadFinished)


def test_pickled_weights_that_run_code_are_refused(load: LoadHere, copied: Path, tmp_path: Path) -> None:
    import torch

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "canary"),))

    (copied / "model.safetensors").unlink()
    torch.save({"lm_head.weight": Evil()}, copied / "pytorch_model.bin")
    failure(load(copied))
    assert not (tmp_path / "canary").exists()


def test_a_package_that_is_missing_is_named_with_the_line_that_installs_it(load: LoadHere, copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (copied / "config.json").write_text(json.dumps(config))
    found = failure(load(copied, device="cpu"))
    assert "not installed where the engine runs: pip install " in found.message
    assert found.detail
