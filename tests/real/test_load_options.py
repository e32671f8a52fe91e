"""Options of a load as the libraries carry them out: quantizers, adapters, limits, and which device is meant."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modeldeck.backend.catalog.catalog import read_model
from modeldeck.backend.engine.wire import TOKEN_INTERVAL
from modeldeck.backend.errors import LoadError
from modeldeck.backend.estimate.estimating import count_parts
from modeldeck.backend.models import SPARING_SECONDS, DeviceMap, LoadRequest, ModelSource, Quantization
from modeldeck.backend.protocol import Load, LoadFailed, LoadFinished
from tests.real.engine import Engine, running_engine

pytestmark = [pytest.mark.usefixtures("libraries"), pytest.mark.filterwarnings("ignore")]
Start = Callable[[], Engine]


@pytest.fixture
def start_engine(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start engines that end with the test; the extensions that quanto builds are kept for the next one."""
    kept = {"TORCH_EXTENSIONS_DIR": str(tmp_path.parent / "extensions")}
    with ExitStack() as engines:
        yield lambda: engines.enter_context(running_engine(tmp_path, environment | kept))


def ask_greedily(engine: Engine) -> str:
    reply = engine.reply("Hello there", max_new_tokens=12, do_sample=False)
    assert reply.stats is not None, reply.failure
    return reply.text


@pytest.mark.parametrize(
    ("quantization", "options"),
    [
        (Quantization.FP4, {}),
        (Quantization.NF4, {"double_quantization": False, "compute_dtype": "float32"}),
        (Quantization.TORCHAO_INT8, {}),
        (Quantization.QUANTO_INT8, {}),
    ],
    ids=["fp4", "nf4 with plain scales", "torchao", "quanto"],
)
def test_a_quantizer_replies_and_its_weights_take_what_the_estimate_says(
    quantization: Quantization, options: dict[str, Any], llama: Path, start_engine: Start
) -> None:
    engine = start_engine()
    result = engine.load(llama, device="cpu", quantization=quantization, **options)
    assert isinstance(result, LoadFinished), result
    assert result.model.quantization == quantization
    ask_greedily(engine)
    info = read_model(llama, ModelSource.FOLDER)
    request = LoadRequest(model_id=info.id, path=info.path, device="cpu", quantization=quantization, **options)
    parts = count_parts(info, request, 8192)
    assert parts is not None
    assert parts.weight_total == pytest.approx(result.model.weight_bytes, rel=0.01)


@pytest.mark.parametrize(
    ("quantization", "told"),
    [(Quantization.HQQ_4, "hqq"), (Quantization.TORCHAO_INT4, "needs a GPU")],
)
def test_what_cannot_be_done_here_is_told_before_any_weight_is_read(
    quantization: Quantization, told: str, llama: Path, start_engine: Start
) -> None:
    engine = start_engine()
    result = engine.load(llama, device="cpu", quantization=quantization)
    assert isinstance(result, LoadFailed)
    assert result.kind == "quantization"
    assert told in result.message
    assert "READING_WEIGHTS" not in engine.stages


@pytest.fixture(scope="module")
def lora(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter of the small model with random weights that change its replies."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("adapters") / "lora"
    torch.manual_seed(1)
    make: Any = LoraConfig
    config = make(r=4, lora_alpha=64, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(llama), config).save_pretrained(str(folder))
    return folder


def test_an_adapter_changes_the_reply_and_is_told(llama: Path, lora: Path, start_engine: Start) -> None:
    plain, adapted = start_engine(), start_engine()
    without = plain.load(llama, device="cpu")
    result = adapted.load(llama, device="cpu", adapter=str(lora))
    assert isinstance(without, LoadFinished)
    assert isinstance(result, LoadFinished), result
    assert result.model.weight_bytes > without.model.weight_bytes
    assert any(str(lora) in note for note in result.model.notes)
    assert ask_greedily(adapted) != ask_greedily(plain)


def test_an_adapter_of_another_model_is_refused_in_one_sentence(
    llama: Path, lora: Path, tmp_path: Path, start_engine: Start
) -> None:
    config = json.loads((lora / "adapter_config.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    (other / "adapter_config.json").write_text(json.dumps({**config, "target_modules": ["no_such_module"]}))
    (other / "adapter_model.safetensors").write_bytes((lora / "adapter_model.safetensors").read_bytes())
    for adapter, told in ((other, "The adapter does not fit this model: "), (tmp_path / "gone", "There is no adapter")):
        result = start_engine().load(llama, device="cpu", adapter=str(adapter))
        assert isinstance(result, LoadFailed)
        assert told in result.message


def test_a_context_limit_holds_for_every_reply(llama: Path, start_engine: Start) -> None:
    engine = start_engine()
    result = engine.load(llama, device="cpu", context_limit=40)
    assert isinstance(result, LoadFinished)
    assert result.model.context_length == 40
    reply = engine.reply("Hello", max_new_tokens=500, do_sample=False)
    assert reply.stats is not None
    assert reply.stats.prompt_tokens + reply.stats.new_tokens <= 40
    assert engine.reply("word " * 100, max_new_tokens=5).failure


class FakeCuda:
    """Two GPUs, which PyTorch counts in another order than the driver."""

    uuids = ("bbbb", "aaaa")

    def is_available(self) -> bool:
        return True

    def device_count(self) -> int:
        return len(self.uuids)

    def get_device_properties(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(uuid=self.uuids[index])

    def mem_get_info(self, index: int) -> tuple[int, int]:
        return (1000 * (index + 1), 10_000)


UUIDS = {"cuda:0": "GPU-aaaa", "cuda:1": "GPU-bbbb"}


class TestPlacement:
    """Where the weights go, on a machine with two GPUs."""

    @pytest.fixture(autouse=True)
    def _two_gpus(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import torch

        monkeypatch.setattr(torch, "cuda", FakeCuda())

    def placed(self, device: str, **options: Any) -> Any:
        from modeldeck.backend.engine.devices import placement_for

        return placement_for(LoadRequest(model_id="m", path="/m", device=device, **options))

    def test_a_gpu_is_found_by_its_uuid_and_called_what_the_user_calls_it(self) -> None:
        found = self.placed("cuda:0", gpu_uuids=UUIDS)
        assert found.device_map == {"": "cuda:1"}
        assert found.named({"cuda:1": 5, "ram": 1}) == {"cuda:0": 5, "ram": 1}
        assert self.placed("cuda:0").device_map == {"": "cuda:0"}  # where no driver tells, names count

    def test_auto_is_left_to_transformers_unless_something_is_limited(self) -> None:
        found = self.placed("auto")
        assert (found.device_map, found.max_memory) == ("auto", None)
        assert self.placed("auto", cpu_offload=False).max_memory == {0: 1000, 1: 2000, "cpu": 0}

    def test_several_gpus_are_limited_to_what_is_free_and_to_what_was_said(self) -> None:
        found = self.placed("cuda:0+cuda:1", gpu_uuids=UUIDS, memory_limits={"cuda:0": 500, "cpu": 7})
        assert found.max_memory == {1: 500, 0: 1000, "cpu": 7}

    def test_sequential_is_passed_on_and_single_takes_the_first(self) -> None:
        assert self.placed("auto", device_map=DeviceMap.SEQUENTIAL).device_map == "sequential"
        found = self.placed("cuda:0+cuda:1", gpu_uuids=UUIDS, device_map=DeviceMap.SINGLE)
        assert found.device_map == {"": "cuda:1"}

    def test_one_gpu_with_a_limit_offloads_the_rest(self) -> None:
        found = self.placed("cuda:1", memory_limits={"cuda:1": 100, "cpu": 50})
        assert (found.device_map, found.max_memory) == ("auto", {1: 100, "cpu": 50})

    def test_the_gpus_that_may_get_weights_are_opened_and_no_others(self) -> None:
        assert self.placed("cuda:0", gpu_uuids=UUIDS).gpus == ["cuda:1"]
        assert self.placed("cuda:1", memory_limits={"cuda:1": 100, "cpu": 50}).gpus == ["cuda:1"]
        assert self.placed("auto").gpus == ["cuda:0", "cuda:1"]
        assert self.placed("cpu").gpus == []

    def test_a_gpu_that_is_not_there_is_told_with_those_that_are(self) -> None:
        with pytest.raises(LoadError, match=r"no device cuda:4 on this machine; it finds cuda:0, cuda:1"):
            self.placed("cuda:0+cuda:4")


class TestOpening:
    def test_what_is_launched_ahead_can_be_launched_on_any_device(self) -> None:
        import torch

        from modeldeck.backend.engine.opening import launch_usual_kernels

        launch_usual_kernels(torch.device("cpu"))

    def test_a_device_that_cannot_be_opened_is_left_to_the_load(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from modeldeck.backend.engine.opening import open_beside

        cried: list[object] = []
        monkeypatch.setattr(threading, "excepthook", cried.append)
        open_beside(["cuda:99"])
        for thread in threading.enumerate():
            if thread.name == "opening cuda:99":
                thread.join(30)
        assert cried == []

    def test_a_load_opens_the_gpus_of_its_placement(self, llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from modeldeck.backend.engine import loading
        from modeldeck.backend.engine.devices import Placement
        from modeldeck.backend.engine.progress import Progress

        opened: list[list[str]] = []
        monkeypatch.setattr(loading, "open_beside", opened.append)
        monkeypatch.setattr(Placement, "gpus", ["cuda:7"])
        request = LoadRequest(model_id="m", path=str(llama), device="cpu")
        loading.load_model(request, Progress(lambda _event: None, 1), lambda _line: None)
        assert opened == [["cuda:7"]]


def test_an_engine_whose_model_computes_on_the_cpu_tells_its_reply_in_fewer_pieces(llama: Path) -> None:
    from modeldeck.backend.engine.session import Session

    wire: Any = SimpleNamespace(token_interval=TOKEN_INTERVAL, send=lambda _event: None)
    Session(wire).load(Load(1, LoadRequest(model_id="m", path=str(llama), device="cpu")))
    assert wire.token_interval == SPARING_SECONDS > TOKEN_INTERVAL
