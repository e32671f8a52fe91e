"""What leaves its device for RAM comes back bit by bit; memory that plays the GPU here is resized as a GPU's is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modeldeck.backend.models import Quantization
from modeldeck.backend.parking import PARKABLE
from tests.real.models import make_llama

pytest.importorskip("bitsandbytes")
_IN_4_BITS = {Quantization.NF4: "nf4", Quantization.FP4: "fp4"}


def quantization_config(quantization: Quantization) -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    make: Any = BitsAndBytesConfig  # its __init__ is not typed
    if quantization is Quantization.INT8:
        return make(load_in_8bit=True)
    kind = _IN_4_BITS[quantization]
    return make(load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_compute_dtype=torch.float32)


def model_in_memory(folder: Path, quantization: Quantization) -> Any:
    """Nothing of it is mapped from a file: a GPU maps nothing either."""
    import torch
    from transformers import AutoModelForCausalLM

    config = {} if quantization is Quantization.NONE else {"quantization_config": quantization_config(quantization)}
    model: Any = AutoModelForCausalLM.from_pretrained(str(folder), device_map={"": "cpu"}, dtype="float32", **config)
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone() if quantization is Quantization.NONE else tensor.data
    model.eval()
    with torch.no_grad():
        model(input_ids=torch.tensor([[1, 2, 3]]))  # bitsandbytes finishes its weights at the first token
    for tensor in (*model.parameters(), *model.buffers()):
        if not tensor.untyped_storage().resizable():
            tensor.data = tensor.data.clone()
    model.tie_weights()
    return model


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.mark.parametrize("quantization", sorted(PARKABLE))
def test_the_logits_are_the_same_after_each_way_there_and_back(llama: Path, quantization: Quantization) -> None:
    import torch

    from modeldeck.backend.engine.parking import ParkedWeights
    from modeldeck.backend.engine.stored import stored_bytes, stored_tensors

    model = model_in_memory(llama, quantization)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        before = model(input_ids=ids).logits
    size = stored_bytes(model)
    assert size > 100_000
    for _ in range(2):
        parked = ParkedWeights.of(model, torch.device("cpu"))
        assert parked.size >= 0.99 * size
        assert sum(tensor.untyped_storage().nbytes() for tensor in stored_tensors(model)) == 0
        parked.wake()
        with torch.no_grad():
            assert torch.equal(model(input_ids=ids).logits, before)


def test_tied_weights_move_once_and_stay_tied(llama: Path) -> None:
    import torch

    from modeldeck.backend.engine.parking import ParkedWeights

    model = model_in_memory(llama, Quantization.NONE)
    head, table = model.get_output_embeddings(), model.get_input_embeddings()
    head.weight = table.weight
    parked = ParkedWeights.of(model, torch.device("cpu"))
    parked.wake()
    assert head.weight.data_ptr() == table.weight.data_ptr()
    moved = sum(parameter.nbytes for parameter in model.parameters())
    assert parked.size == pytest.approx(moved, rel=0.01)


def test_a_device_without_room_leaves_it_parked(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from modeldeck.backend.engine import parking

    model = model_in_memory(llama, Quantization.NONE)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        before = model(input_ids=ids).logits
    parked = parking.ParkedWeights.of(model, torch.device("cpu"))
    real, calls = parking._bytes_of, []

    def short(storage: torch.UntypedStorage) -> torch.Tensor:
        calls.append(storage)
        if len(calls) == 5:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(storage)

    monkeypatch.setattr(parking, "_bytes_of", short)
    with pytest.raises(torch.OutOfMemoryError):
        parked.wake()
    assert sum(tensor.untyped_storage().nbytes() for tensor in model.parameters()) == 0
    parked.wake()
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, before)


def test_what_is_mapped_from_a_file_cannot_leave(llama: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from modeldeck.backend.engine.parking import ParkedWeights
    from modeldeck.backend.errors import ParkingFailed

    model: Any = AutoModelForCausalLM.from_pretrained(str(llama))
    with pytest.raises(ParkingFailed):
        ParkedWeights.of(model, torch.device("cpu"))
    with torch.no_grad():
        model(input_ids=torch.tensor([[1, 2]]))
