"""A load as code: what is written is what the engine would do."""

from __future__ import annotations

import shlex
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from modeldeck.backend.as_code import NotExpressible, python_code, transformers_command, vllm_command
from modeldeck.backend.models import Attention, LoadRequest, ModelFormat, ModelInfo, ModelSource, Quantization

FOLDER = ModelInfo(
    id="/models/it's a llama",
    name="llama",
    path="/models/it's a llama",
    source=ModelSource.FOLDER,
    format=ModelFormat.SAFETENSORS,
)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CACHED = replace(
    FOLDER,
    id=f"org/llama@{COMMIT}",
    path=f"/cache/models--org--llama/snapshots/{COMMIT}",
    source=ModelSource.HUB_CACHE,
    revision=COMMIT,
)
GGUF = replace(FOLDER, id="/models/a b.gguf", path="/models/a b.gguf", format=ModelFormat.GGUF)


def asked(**options: Any) -> LoadRequest:
    return LoadRequest(model_id="x", path="/x", **options)


class Calls:
    """Stands for transformers, and keeps what it was called with."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def _class(self, name: str) -> SimpleNamespace:
        def from_pretrained(*arguments: Any, **options: Any) -> None:
            self.made[name] = (arguments, options)

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
    assert calls.run(python_code(model, request_, "bfloat16"), monkeypatch) == options
    assert calls.made["AutoModelForCausalLM"][0] == (named,)
    assert calls.made["AutoTokenizer"][1].get("trust_remote_code", False) == request_.trust_remote_code


def test_the_commands_survive_a_shell() -> None:
    request = asked(device="cuda:1", dtype="bfloat16", quantization=Quantization.NF4, trust_remote_code=True)
    words = shlex.split(transformers_command(FOLDER, request))
    assert words[:3] == ["transformers", "serve", FOLDER.path]
    assert words[3:] == [
        "--device", "cuda:1", "--dtype", "bfloat16", "--quantization", "bnb-4bit", "--trust-remote-code",
    ]  # fmt: skip
    words = shlex.split(vllm_command(FOLDER, request, 8192, "GPU-1aaa"))
    assert words[:4] == ["CUDA_VISIBLE_DEVICES=GPU-1aaa", "vllm", "serve", FOLDER.path]
    assert words[4:] == [
        "--dtype", "bfloat16", "--max-model-len", "8192", "--quantization", "bitsandbytes", "--trust-remote-code",
    ]  # fmt: skip
    assert shlex.split(transformers_command(CACHED, asked()))[2] == f"org/llama@{COMMIT}"
    assert shlex.split(transformers_command(GGUF, asked()))[2] == "/models:a b.gguf"
    assert transformers_command(FOLDER, asked(attention=Attention.SDPA)).endswith("--attn-implementation sdpa")
    assert "CUDA_VISIBLE_DEVICES" not in vllm_command(FOLDER, asked(), 1)


def test_what_a_command_cannot_say_is_refused_with_the_reason_and_never_said_otherwise() -> None:
    for request in (
        asked(device="cpu"),
        asked(quantization=Quantization.INT8),
        asked(device="cuda:1"),  # nobody told its UUID, and its number may be another one for vLLM
    ):
        with pytest.raises(NotExpressible):
            vllm_command(FOLDER, request, 8192)
    quantized = asked(quantization=Quantization.NF4)
    for model in (replace(FOLDER, path="/m/a@b"), replace(GGUF, path="/m:n/a.gguf"), replace(GGUF, path="/m/A.GGUF")):
        with pytest.raises(NotExpressible):
            transformers_command(model, asked())
    with pytest.raises(NotExpressible):
        transformers_command(GGUF, quantized)
    with pytest.raises(NotExpressible):
        python_code(GGUF, quantized, "float32")
