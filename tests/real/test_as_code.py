"""A script that is shown loads what the engine loads; what is said of ``transformers serve`` is what it does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from modeldeck.backend.as_code import python_code, transformers_command
from modeldeck.backend.models import Attention, DeviceMap, LoadRequest, ModelFormat, ModelInfo, ModelSource
from modeldeck.backend.models import Quantization as Q

pytestmark = [
    pytest.mark.usefixtures("libraries"),
    pytest.mark.filterwarnings("ignore"),  # what the quantizers warn of is not ours
]
GIB = 2**30


def info(path: Path) -> ModelInfo:
    return ModelInfo(
        id=str(path),
        name="tiny",
        path=str(path),
        source=ModelSource.FOLDER,
        format=ModelFormat.SAFETENSORS,
        load_dtype="float32",
        context_length=16_384,
    )


def run(code: str) -> Any:
    """The model that a script has loaded."""
    names: dict[str, Any] = {}
    exec(compile(code, "<copied>", "exec"), names)  # what is tested is that it runs
    return names["model"]


def loaded_by_engine(request: LoadRequest) -> Any:
    from modeldeck.backend.engine.loading import load_model
    from modeldeck.backend.engine.progress import Progress

    return load_model(request, Progress(lambda report: None, 1), lambda line: None).model


def make_adapter(model: Path, folder: Path) -> Path:
    """A LoRA adapter with random weights."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(model), lora).save_pretrained(str(folder))
    return folder


def logits(model: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model(torch.tensor([[1, 7, 5, 9]])).logits


def quantized_with(model: Any) -> dict[str, Any] | None:
    config = getattr(model.config, "quantization_config", None)
    return dict(config.to_dict()) if config is not None else None


def assert_same(script: Any, engine: Any) -> None:
    import torch

    assert [type(module) for module in script.modules()] == [type(module) for module in engine.modules()]
    assert (script.dtype, script.device) == (engine.dtype, engine.device)
    assert quantized_with(script) == quantized_with(engine)
    assert script.config._attn_implementation == engine.config._attn_implementation
    assert torch.equal(logits(script), logits(engine))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dtype": "bfloat16", "attention": Attention.EAGER},
        {"quantization": Q.INT8},
        {"quantization": Q.NF4, "dtype": "bfloat16"},
        {"quantization": Q.FP4, "double_quantization": False},
        {"quantization": Q.FP4, "compute_dtype": "bfloat16"},
        {"quantization": Q.TORCHAO_INT8},
        {"quantization": Q.QUANTO_INT8},
    ],
    ids=str,
)
def test_the_script_loads_what_the_engine_loads(options: dict[str, Any], llama: Path) -> None:
    request = LoadRequest(model_id="x", path=str(llama), device="cpu", **options)
    assert_same(run(python_code(info(llama), request)), loaded_by_engine(request))


@pytest.mark.parametrize("quantization", [Q.NONE, Q.NF4])
def test_the_script_puts_the_adapter_on(quantization: Q, llama: Path, tmp_path: Path) -> None:
    import torch

    adapter = make_adapter(llama, tmp_path / "it's a lora")
    plain = LoadRequest(model_id="x", path=str(llama), device="cpu", quantization=quantization)
    request = LoadRequest(model_id="x", path=str(llama), device="cpu", quantization=quantization, adapter=str(adapter))
    script = run(python_code(info(llama), request))
    assert_same(script, loaded_by_engine(request))
    assert not torch.equal(logits(script), logits(run(python_code(info(llama), plain))))


def test_the_script_ends_a_reply_where_the_context_limit_is(llama: Path) -> None:
    import torch

    request = LoadRequest(model_id="x", path=str(llama), device="cpu", context_limit=12)
    model = run(python_code(info(llama), request))
    reply = model.generate(torch.tensor([[1, 7, 5, 9]]), do_sample=False, eos_token_id=None)
    assert reply.shape == (1, 12)


@pytest.mark.parametrize("quantization", [Q.TORCHAO_INT4, Q.HQQ_8, Q.HQQ_4, Q.QUANTO_INT4])
def test_the_config_of_what_no_cpu_can_do_is_the_engines(
    quantization: Q, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    from modeldeck.backend.engine.quantizing import quantization_config

    if quantization in {Q.HQQ_8, Q.HQQ_4}:  # its config cannot be made where hqq is not installed
        monkeypatch.setattr(
            transformers, "HqqConfig", lambda **options: SimpleNamespace(to_dict=lambda: options), raising=False
        )
    request = LoadRequest(model_id="x", path=str(llama), device="cuda", quantization=quantization)
    config = transformers.AutoConfig.from_pretrained(str(llama))
    passed = passed_by(python_code(info(llama), request), monkeypatch)
    assert passed["quantization_config"].to_dict() == quantization_config(request, config).to_dict()


def passed_by(code: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a script passes to ``from_pretrained`` of the model."""
    import transformers

    passed: dict[str, Any] = {}
    with monkeypatch.context() as patched:
        patched.setattr(
            transformers.AutoModelForCausalLM, "from_pretrained", lambda *names, **options: passed.update(options)
        )
        run(code)
    return passed


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A machine with so many GPUs, each with other free memory."""
    import torch

    def pretend(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: ((index + 3) * GIB + 7, 80 * GIB))
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=50 * GIB + 7))

    return pretend


LIMITS = {"cuda:0": GIB, "cuda:2": 2 * GIB}
SINGLE, SEQUENTIAL = DeviceMap.SINGLE, DeviceMap.SEQUENTIAL


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cpu_offload": False},
        {"memory_limits": LIMITS},
        {"memory_limits": {"cpu": GIB}},
        {"memory_limits": LIMITS, "cpu_offload": False},
        {"device_map": SINGLE},
        {"device_map": SINGLE, "memory_limits": LIMITS},
        {"device_map": SINGLE, "memory_limits": LIMITS, "cpu_offload": False},
        {"device_map": SEQUENTIAL},
        {"device_map": SEQUENTIAL, "memory_limits": {"cuda:0": GIB, "cpu": GIB}},
        {"device": "cuda"},
        {"device": "cuda", "memory_limits": LIMITS},
        {"device": "cuda", "memory_limits": {"cpu": GIB}, "device_map": SEQUENTIAL},
        {"device": "cuda:0", "memory_limits": LIMITS, "cpu_offload": False},
    ],
    ids=str,
)
def test_the_script_places_the_weights_as_the_engine_does(
    options: dict[str, Any], count: int, gpus: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(count)
    assert_placed(options, monkeypatch)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cpu_offload": False},
        {"device_map": SINGLE},
        {"device_map": SINGLE, "memory_limits": LIMITS},
        {"device_map": SEQUENTIAL, "memory_limits": {"cuda:0": GIB, "cuda:1": GIB}},
        {"memory_limits": LIMITS},
        {"memory_limits": LIMITS | {"cpu": GIB}},
    ],
    ids=str,
)
def test_the_script_places_the_weights_on_the_gpus_that_were_named(
    options: dict[str, Any], gpus: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(3)
    assert_placed({"device": "cuda:2+cuda:0", **options}, monkeypatch)


def assert_placed(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from modeldeck.backend.engine.devices import placement_for

    request = LoadRequest(model_id="x", path="/x", **options)
    passed, placement = passed_by(script_of(request, monkeypatch), monkeypatch), placement_for(request)
    assert passed["device_map"] == placement.device_map
    assert passed.get("max_memory") == placement.max_memory
    assert list(passed.get("max_memory") or ()) == list(placement.max_memory or ())  # sequential goes in this order


def script_of(request: LoadRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a model that is not there; nothing of it is read."""
    import transformers

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *names, **options: None)
    return python_code(info(Path("/x")), request)


@pytest.mark.parametrize(
    "options",
    [
        {"memory_limits": LIMITS | {"mps": GIB}},
        {"cpu_offload": False},
        {"device_map": SINGLE},
        {"device_map": SEQUENTIAL},
    ],
    ids=str,
)
def test_the_script_leaves_everything_to_transformers_where_there_is_no_gpu(
    options: dict[str, Any], llama: Path, gpus: Callable[[int], None]
) -> None:
    gpus(0)
    request = LoadRequest(model_id="x", path=str(llama), **options)
    assert str(run(python_code(info(llama), request)).device) == "cpu"


def test_the_options_of_transformers_serve_are_in_its_help(llama: Path) -> None:
    request = LoadRequest(
        model_id="x",
        path=str(llama),
        attention=Attention.SDPA,
        quantization=Q.INT8,
        trust_remote_code=True,
    )
    command = [str(Path(sys.executable).with_name("transformers")), "serve", "--help"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    options = [word for word in transformers_command(info(llama), request).split() if word.startswith("--")]
    assert len(options) == 5
    assert all(f"{option} " in told for option in options)
    assert "bnb-4bit" in told
    assert "bnb-8bit" in told


def test_transformers_serve_quantizes_to_4_bits_in_the_one_way_that_is_said_of_it() -> None:
    from transformers.cli.serving.model_manager import ModelManager

    manager: Any = SimpleNamespace(quantization="bnb-4bit")
    config = ModelManager.get_quantization_config(manager)
    assert config is not None
    told = config.to_dict()
    assert (told["bnb_4bit_quant_type"], told["bnb_4bit_use_double_quant"]) == ("nf4", True)
    assert told["bnb_4bit_compute_dtype"] == "float32"
