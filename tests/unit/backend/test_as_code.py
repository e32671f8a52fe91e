"""A load as code: what is written is what the engine would do."""

from __future__ import annotations

import shlex
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from modeldeck.backend.as_code import NotExpressible, python_code, transformers_command, vllm_command
from modeldeck.backend.model_shape import ModelShape
from modeldeck.backend.models import (
    Attention,
    DeviceMap,
    LoadRequest,
    ModelFormat,
    ModelInfo,
    ModelSource,
    Quantization,
)

FOLDER = ModelInfo(
    id="/models/it's a llama",
    name="llama",
    path="/models/it's a llama",
    source=ModelSource.FOLDER,
    format=ModelFormat.SAFETENSORS,
    load_dtype="bfloat16",
)
SEES = replace(FOLDER, architecture="llava", architecture_class="LlavaForConditionalGeneration")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CACHED = replace(
    FOLDER,
    id=f"org/llama@{COMMIT}",
    path=f"/cache/models--org--llama/snapshots/{COMMIT}",
    source=ModelSource.HUB_CACHE,
    revision=COMMIT,
)
GGUF = replace(FOLDER, id="/models/a b.gguf", path="/models/a b.gguf", format=ModelFormat.GGUF, load_dtype=None)
NF4 = Quantization.NF4
UUIDS = {"cuda:0": "GPU-0aaa", "cuda:1": "GPU-1aaa", "cuda:2": "GPU-2aaa"}


def asked(**options: Any) -> LoadRequest:
    return LoadRequest(model_id="x", path="/x", **options)


class Calls:
    """Stands for transformers, and keeps what it was called with; ``tests/real`` runs scripts with the real one."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self.adapters: list[str] = []
        self.model = SimpleNamespace(load_adapter=self.adapters.append, generation_config=SimpleNamespace())

    def _class(self, name: str) -> SimpleNamespace:
        def from_pretrained(*arguments: Any, **options: Any) -> SimpleNamespace:
            self.made[name] = (arguments, options)
            return self.model

        return SimpleNamespace(from_pretrained=from_pretrained)

    def run(self, code: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        module: Any = ModuleType("transformers")
        for name in ("AutoModelForCausalLM", "AutoTokenizer"):
            setattr(module, name, self._class(name))
        module.BitsAndBytesConfig = lambda **options: options
        torch: Any = ModuleType("torch")
        torch.bfloat16 = "torch.bfloat16"
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, "transformers", module)
            patched.setitem(sys.modules, "torch", torch)
            exec(compile(code, "<copied>", "exec"), {})  # what is tested is that it runs
        assert self.made["AutoTokenizer"][0] == self.made["AutoModelForCausalLM"][0]
        return self.made["AutoModelForCausalLM"][1]


@pytest.mark.parametrize(
    ("model", "request_", "named", "options"),
    [
        (FOLDER, asked(), FOLDER.path, {"dtype": "auto", "device_map": "auto"}),
        (FOLDER, asked(device="cpu", dtype="float32"), FOLDER.path, {"dtype": "float32"}),
        (FOLDER, asked(device="cuda:1"), FOLDER.path, {"dtype": "auto", "device_map": {"": "cuda:1"}}),
        (
            CACHED,
            asked(device="cuda", trust_remote_code=True),
            "org/llama",
            {"dtype": "auto", "revision": COMMIT, "device_map": {"": "cuda:0"}, "trust_remote_code": True},
        ),
        (GGUF, asked(device="cpu"), "/models", {"dtype": "auto", "gguf_file": "a b.gguf"}),
        (
            FOLDER,
            asked(device="cpu", quantization=Quantization.INT8),
            FOLDER.path,
            {"dtype": "auto", "device_map": {"": "cpu"}, "quantization_config": {"load_in_8bit": True}},
        ),
        (
            FOLDER,
            asked(attention=Attention.EAGER),
            FOLDER.path,
            {"dtype": "auto", "device_map": "auto", "attn_implementation": "eager"},
        ),
        (
            FOLDER,
            asked(quantization=Quantization.NF4),
            FOLDER.path,
            {
                "dtype": "auto",
                "device_map": "auto",
                "quantization_config": {
                    "load_in_4bit": True,
                    "bnb_4bit_quant_type": "nf4",
                    "bnb_4bit_use_double_quant": True,
                    "bnb_4bit_compute_dtype": "torch.bfloat16",
                },
            },
        ),
    ],
)
def test_the_script_runs_and_loads_what_was_asked_for(
    model: ModelInfo, request_: LoadRequest, named: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls()
    assert calls.run(python_code(model, request_), monkeypatch) == options
    assert calls.made["AutoModelForCausalLM"][0] == (named,)
    assert calls.made["AutoTokenizer"][1].get("trust_remote_code", False) == request_.trust_remote_code


def test_the_script_names_the_class_that_loads_a_model_whole() -> None:
    whole, own = python_code(SEES, asked()), replace(SEES, needs_remote_code=True)
    assert whole.count("AutoModelForMultimodalLM") == 2
    assert "AutoModelForCausalLM" not in whole
    assert python_code(own, asked()) == whole  # nothing of its own runs
    for model, trusted in ((own, True), (replace(SEES, format=ModelFormat.GGUF), False)):
        assert "AutoModelForMultimodalLM" not in python_code(model, asked(trust_remote_code=trusted))


def test_what_belongs_to_the_model_follows_its_load(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls()
    request = asked(device="cpu", adapter="/adapters/it's one", context_limit=2048)
    calls.run(python_code(FOLDER, request), monkeypatch)
    assert calls.adapters == ["/adapters/it's one"]
    assert calls.model.generation_config.max_length == 2048
    for limit in (16_384, 20_000):  # the model itself allows no more
        assert "max_length" not in python_code(replace(FOLDER, context_length=16_384), asked(context_limit=limit))


def test_transformers_serve_survives_a_shell() -> None:
    request = asked(
        device="cuda:1", dtype="bfloat16", quantization=NF4, compute_dtype="float32", trust_remote_code=True
    )
    words = shlex.split(transformers_command(FOLDER, request))
    assert words[:3] == ["transformers", "serve", FOLDER.path]
    assert words[3:] == [
        "--device", "cuda:1", "--dtype", "bfloat16", "--quantization", "bnb-4bit", "--trust-remote-code",
    ]  # fmt: skip
    assert shlex.split(transformers_command(CACHED, asked()))[2] == f"org/llama@{COMMIT}"
    assert shlex.split(transformers_command(GGUF, asked()))[2] == "/models:a b.gguf"
    assert transformers_command(FOLDER, asked(attention=Attention.SDPA)).endswith("--attn-implementation sdpa")
    assert transformers_command(FOLDER, asked(quantization=Quantization.INT8)).endswith("--quantization bnb-8bit")
    single = asked(device="cuda:1+cuda:2", device_map=DeviceMap.SINGLE, cpu_offload=False)
    assert "--device cuda:1 " in transformers_command(FOLDER, single)
    assert "--device cuda " in transformers_command(FOLDER, asked(device="cuda"))


def test_vllm_serve_survives_a_shell() -> None:
    request = asked(device="cuda:1", dtype="bfloat16", quantization=NF4, trust_remote_code=True)
    words = shlex.split(vllm_command(FOLDER, request, 8192, UUIDS))
    assert words[:4] == ["CUDA_VISIBLE_DEVICES=GPU-1aaa", "vllm", "serve", FOLDER.path]
    assert words[4:] == [
        "--dtype", "bfloat16", "--max-model-len", "8192", "--quantization", "bitsandbytes", "--trust-remote-code",
    ]  # fmt: skip
    several = vllm_command(FOLDER, asked(device="cuda:2+cuda:0", cpu_offload=False), 1, UUIDS)
    assert several.startswith("CUDA_VISIBLE_DEVICES=GPU-2aaa,GPU-0aaa vllm serve ")
    assert several.endswith("--tensor-parallel-size 2")
    single = vllm_command(FOLDER, asked(device="cuda:2+cuda:0", device_map=DeviceMap.SINGLE), 1, UUIDS)
    assert single.startswith("CUDA_VISIBLE_DEVICES=GPU-2aaa vllm serve ")
    assert "--tensor-parallel-size" not in single
    for device in ("auto", "cuda"):
        assert vllm_command(FOLDER, asked(device=device, device_map=DeviceMap.SINGLE), 1, UUIDS).startswith("vllm ")


@pytest.mark.parametrize(("limit", "tokens"), [(None, 4096), (2048, 2048), (99_999, 16_384)])
def test_the_context_of_vllm_is_the_limit_or_what_the_dialog_counts_with(limit: int | None, tokens: int) -> None:
    model = replace(FOLDER, context_length=16_384)
    assert f"--max-model-len {tokens}" in vllm_command(model, asked(context_limit=limit), 4096, {})


def test_the_dtype_of_vllm_is_named_where_its_auto_would_halve_it() -> None:
    full = replace(FOLDER, load_dtype=None, dtype="float32")
    assert "--dtype float32" in vllm_command(full, asked(), 1, {})
    assert "--dtype float16" in vllm_command(full, asked(dtype="float16"), 1, {})
    for model in (FOLDER, GGUF, replace(full, quantization="gptq")):
        assert "--dtype auto" in vllm_command(model, asked(), 1, {})


@pytest.mark.parametrize(
    ("folder", "rank", "words"),
    [
        ("/a/my lora", 16, ["my lora=/a/my lora"]),
        ("/a/lora", None, ["lora=/a/lora"]),
        ("/a/lora", 17, ["lora=/a/lora", "--max-lora-rank", "32"]),
        ("/a=b/lora", 8, ['{"name": "lora", "path": "/a=b/lora"}']),
        (f"/hub/models--org--lora/snapshots/{COMMIT}", 8, [f"lora=/hub/models--org--lora/snapshots/{COMMIT}"]),
    ],
)
def test_vllm_serves_an_adapter_under_its_name(folder: str, rank: int | None, words: list[str]) -> None:
    command = shlex.split(vllm_command(FOLDER, asked(adapter=folder), 1, {}, rank))
    assert command[command.index("--enable-lora") :] == ["--enable-lora", "--lora-modules", *words]


@pytest.mark.parametrize(
    ("model", "request_", "why"),
    [
        (replace(FOLDER, path="/m/a@b"), asked(), "@ or :"),
        (replace(GGUF, path="/m:n/a.gguf"), asked(), "@ or :"),
        (replace(GGUF, path="/m/A.GGUF"), asked(), "ending .gguf"),
        (GGUF, asked(quantization=NF4), "GGUF"),
        (FOLDER, asked(quantization=NF4), "not in bfloat16"),
        (FOLDER, asked(quantization=NF4, compute_dtype="float16"), "not in float16"),
        (FOLDER, asked(quantization=NF4, compute_dtype="float32", double_quantization=False), "double quantization"),
        *((FOLDER, asked(quantization=kind), "while it loads") for kind in Quantization if "-" in kind),
        (FOLDER, asked(device="cuda:0+cuda:1"), "choice of several"),
        (FOLDER, asked(device_map=DeviceMap.SEQUENTIAL), "sequential"),
        (FOLDER, asked(memory_limits={"cuda:0": 1}), "memory limits"),
        (FOLDER, asked(device="cuda:0", memory_limits={"cpu": 1}), "memory limits"),
        (FOLDER, asked(cpu_offload=False), "RAM"),
        (FOLDER, asked(adapter="/adapter"), "adapter"),
        (FOLDER, asked(context_limit=2048), "context"),
    ],
)
def test_what_transformers_serve_cannot_say_is_refused_with_the_reason(
    model: ModelInfo, request_: LoadRequest, why: str
) -> None:
    with pytest.raises(NotExpressible, match=why):
        transformers_command(model, request_)


@pytest.mark.parametrize(
    ("model", "request_", "why"),
    [
        (FOLDER, asked(device="cpu"), "GPUs alone"),
        (FOLDER, asked(device="mps"), "GPUs alone"),
        # nobody told the UUIDs of these, and their numbers may be other ones for vLLM
        (FOLDER, asked(device="cuda:7"), "cuda:7"),
        (FOLDER, asked(device="cuda:0+cuda:7+cuda:8"), "cuda:7 and cuda:8"),
        (FOLDER, asked(quantization=Quantization.INT8), "LLM.int8"),
        *((FOLDER, asked(quantization=kind), "while it loads") for kind in Quantization if "-" in kind),
        (FOLDER, asked(quantization=NF4, double_quantization=False), "double quantization"),
        (FOLDER, asked(quantization=NF4, compute_dtype="float32"), "not in float32"),
        (replace(FOLDER, load_dtype=None), asked(quantization=NF4), "not in float32"),
        (GGUF, asked(quantization=NF4, compute_dtype="bfloat16"), "GGUF"),
        (FOLDER, asked(attention=Attention.SDPA), "attention"),
        (FOLDER, asked(device="cuda:0+cuda:1", device_map=DeviceMap.SEQUENTIAL), "equal part"),
        (FOLDER, asked(device="cuda:0", memory_limits={"cuda:0": 1}), "limit the weights"),
        (replace(FOLDER, shape=ModelShape(attention_heads=9)), asked(device="cuda:0+cuda:1"), "9 attention heads"),
        (FOLDER, asked(adapter="/adapter"), "rank"),
    ],
)
def test_what_vllm_cannot_say_is_refused_with_the_reason(model: ModelInfo, request_: LoadRequest, why: str) -> None:
    with pytest.raises(NotExpressible, match=why):
        vllm_command(model, request_, 8192, UUIDS, adapter_rank=1024)


def test_limits_that_the_engine_does_not_heed_are_no_reason_to_refuse() -> None:
    request = asked(device="cuda:0", memory_limits={"cuda:0": 1}, cpu_offload=False)
    assert "--device cuda:0" in transformers_command(FOLDER, request)
    assert vllm_command(FOLDER, request, 1, UUIDS)
    assert vllm_command(FOLDER, asked(memory_limits={"cpu": 1}), 1, UUIDS)  # vLLM leaves no weights in RAM anyway


def test_a_quantized_gguf_is_no_script() -> None:
    with pytest.raises(NotExpressible):
        python_code(GGUF, asked(quantization=NF4))
