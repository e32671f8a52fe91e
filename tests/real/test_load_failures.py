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
from tests.real.engine import OUT_OF_MEMORY

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


def test_s4_code_of_the_models_own_is_refused_and_not_run(load: LoadHere, copied: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (copied / "own.py").write_text(f"open({str(canary)!r}, 'w')\n")
    change_config(copied, model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"})
    result = failure(load(copied))
    assert result.kind == "remote_code"
    assert "trust" in result.message
    assert not canary.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"vision_config": {"depth": 5000}},
        {"text_config": {"num_attention_heads": 2**40}},
        {"num_local_experts": 2**31},
        {"hidden_size": 10**30},
        {"num_hidden_layers": 10**9},
    ],
    ids=str,
)
def test_s23_sizes_that_no_machine_has_are_refused_at_once(
    load: LoadHere, copied: Path, changes: dict[str, object]
) -> None:
    change_config(copied, **changes)
    refused = failure(load(copied))
    assert refused.kind == "unsupported"
    assert "which no machine can load" in refused.message


def test_f28_cuda_where_there_is_none(load: LoadHere, llama: Path) -> None:
    import torch

    missing = f"cuda:{torch.cuda.device_count()}"
    result = failure(load(llama, device=missing))
    assert result.kind == "load"
    assert missing in result.message
    assert "cpu" in result.message


def test_f28_a_torch_without_cuda_is_told_with_the_line_that_mends_it(
    load: LoadHere, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    message = failure(load(llama, device=f"cuda:{torch.cuda.device_count()}")).message
    assert f"This PyTorch ({torch.__version__}) is built without CUDA" in message
    assert "-m pip install --force-reinstall torch; or load on " in message


def test_f28_a_bitsandbytes_without_its_library_is_told_with_the_line_that_mends_it(
    load: LoadHere, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its own words, pages of them."""
    from bitsandbytes.cextension import ErrorHandlerMockBNBNativeLibrary
    from transformers import AutoModelForCausalLM

    def fail(*args: object, **options: object) -> None:
        ErrorHandlerMockBNBNativeLibrary("Configured CUDA binary not found at /x/libbitsandbytes_cuda199.so").quantize()

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    result = failure(load(llama, quantization=Quantization.NF4))
    assert result.kind == "quantization"
    assert "bitsandbytes has no library for this CUDA; run: " in result.message
    assert "-m pip install --upgrade bitsandbytes; or load in full precision." in result.message


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


@pytest.mark.parametrize("words", OUT_OF_MEMORY)
def test_f8_too_little_memory(load: LoadHere, llama: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    from transformers import AutoModelForCausalLM

    def fail(*args: object, **options: object) -> None:
        raise RuntimeError(words)

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


def test_s6_pickled_weights_are_read_only_where_they_are_allowed(load: LoadHere, copied: Path) -> None:
    import torch
    from safetensors.torch import load_file

    weights = copied / "model.safetensors"
    torch.save(load_file(weights), copied / "pytorch_model.bin")
    weights.unlink()
    refused = failure(load(copied))
    assert refused.kind == "pickles"
    assert "not allowed" in refused.message
    assert isinstance(load(copied, allow_pickles=True), LoadFinished)


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.folder),))


@pytest.mark.parametrize("allowed", [False, True])
def test_s6_pickled_weights_run_no_code_allowed_or_not(
    load: LoadHere, copied: Path, tmp_path: Path, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    (copied / "model.safetensors").unlink()
    torch.save({"lm_head.weight": Evil(tmp_path / "canary")}, copied / "pytorch_model.bin")
    failure(load(copied, allow_pickles=allowed))
    assert not (tmp_path / "canary").exists()


def test_s6_an_index_of_safetensors_that_names_a_pickle_needs_the_same_consent(load: LoadHere, copied: Path) -> None:
    import torch
    from safetensors.torch import load_file

    tensors = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").rename(copied / "other.safetensors")
    torch.save(tensors, copied / "evil.bin")
    index = {"metadata": {}, "weight_map": dict.fromkeys(tensors, "evil.bin")}
    (copied / "model.safetensors.index.json").write_text(json.dumps(index))
    assert failure(load(copied)).kind == "pickles"


def test_s6_a_pickled_adapter_needs_the_same_consent(load: LoadHere, llama: Path, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    adapter = tmp_path / "adapter"
    lora = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(llama), lora).save_pretrained(str(adapter))
    weights = adapter / "adapter_model.safetensors"
    torch.save(load_file(weights), adapter / "adapter_model.bin")
    weights.unlink()
    assert failure(load(llama, adapter=str(adapter))).kind == "pickles"
    assert isinstance(load(llama, adapter=str(adapter), allow_pickles=True), LoadFinished)


def test_a_package_that_is_missing_is_named_with_the_line_that_installs_it(load: LoadHere, copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (copied / "config.json").write_text(json.dumps(config))
    found = failure(load(copied, device="cpu"))
    assert "not installed where the engine runs: pip install " in found.message
    assert found.detail
