"""What is loaded on a GPU leaves it, comes back to it, and never half-fills it, whatever happens on the way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median

import pytest

from benchmarks.sides import Ahead, load_seconds, our_manager
from modeldeck.backend.errors import NotEnoughMemory
from modeldeck.backend.memory import MemoryMonitor
from modeldeck.backend.memory_reading import MemoryReading
from modeldeck.backend.models import ModelStatus, Quantization
from modeldeck.backend.pipeline_manager import PipelineManager
from modeldeck.config.generation import GenerationSettings
from modeldeck.tui.exit_codes import ExitCode
from tests.fakes.driving import reply
from tests.gpu.conftest import gpu_count
from tests.gpu.test_estimate_on_gpu import MIB, used_bytes
from tests.helpers import eventually

CYCLES = 20
BACK_SECONDS = 1.0
SLACK = 20 * MIB
WAKE_SHARE = 0.2
"""The most that the way back of a model of 2 GB may take of its load."""
QUANTIZATIONS = (Quantization.INT8, Quantization.NF4, Quantization.FP4)
RUN = "import sys; from modeldeck.tui.cli import main; sys.exit(main())"
GREEDY = GenerationSettings(do_sample=False, max_new_tokens=20)
BALLAST = (
    "import sys, torch; keep = int(sys.argv[1]); free = torch.cuda.mem_get_info()[0];"
    "held = torch.empty(max(0, free - keep), dtype=torch.uint8, device='cuda:0');"
    "torch.cuda.synchronize(); print('held', flush=True); sys.stdin.read()"
)


@asynccontextmanager
async def manager_of_the_gpu(ahead: int = 0) -> AsyncIterator[PipelineManager]:
    engines = Ahead(ahead)
    async with aclosing(engines), our_manager(started=engines) as manager:
        monitor = MemoryMonitor()

        async def read() -> MemoryReading:
            return monitor.read(manager.model_pids)

        manager.read_memory = read
        await manager.warm()
        yield manager


@contextmanager
def all_but(keep: int) -> Iterator[None]:
    """Another process holds the GPU but for so many bytes."""
    command = [sys.executable, "-c", BALLAST, str(keep)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.kill()


@pytest.fixture(scope="session")
def two_gigabytes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 2 GB in bfloat16."""
    if gpu_count() == 0:
        pytest.skip("torch sees no CUDA device on this machine")
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.real.models import CHATML, make_tokenizer

    folder = tmp_path_factory.mktemp("models") / "large"
    tokenizer = make_tokenizer(CHATML)
    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=20,
        num_attention_heads=16,
        num_key_value_heads=4,
        dtype="bfloat16",
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model.to_empty(device="cpu")
    for tensor in model.parameters():
        tensor.data = tensor.data.to(torch.bfloat16).uniform_(-0.02, 0.02)
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


async def back_within_a_second(before: int) -> bool:
    try:
        await eventually(lambda: used_bytes() <= before + SLACK, BACK_SECONDS, "the device's memory")
    except AssertionError:
        return False
    return True


async def test_twenty_unloads_each_give_the_memory_back_within_a_second(llama: Path) -> None:
    async with manager_of_the_gpu(ahead=CYCLES) as manager:
        before, back, said = used_bytes(), [], []
        for _ in range(CYCLES):
            await load_seconds(manager, llama, device="cuda:0")
            assert used_bytes() > before + 300 * MIB
            await manager.unload()
            said.append(bool(manager.freed) and all(one.complete for one in manager.freed))
            back.append(await back_within_a_second(before))
        assert (sum(back), sum(said)) == (CYCLES, CYCLES)


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
async def test_in_8_and_4_bits_it_loads_replies_parks_and_leaves(llama: Path, quantization: Quantization) -> None:
    async with manager_of_the_gpu() as manager:
        before = used_bytes()
        await load_seconds(manager, llama, device="cuda:0", dtype="bfloat16", quantization=quantization)
        said = (await reply(manager, GREEDY))[1].token_ids
        await manager.park(str(llama))
        await manager.wake(str(llama))
        assert (await reply(manager, GREEDY))[1].token_ids == said
        await manager.unload()
        assert await back_within_a_second(before)


async def test_a_parked_model_leaves_its_gpu_and_is_back_in_a_fifth_of_a_load(
    two_gigabytes: Path, record_property: Callable[[str, object], None]
) -> None:
    name = str(two_gigabytes)
    loads, wakes = [], []
    async with manager_of_the_gpu(ahead=5) as manager:
        before = used_bytes()
        for _ in range(5):
            await manager.warm()
            loads.append(await load_seconds(manager, two_gigabytes, device="cuda:0"))
            said = (await reply(manager, GREEDY))[1].token_ids
            loaded = manager.loaded
            assert loaded is not None
            held = used_bytes()
            parked = await manager.park(name)
            assert parked.moved_bytes == pytest.approx(loaded.weight_bytes, rel=0.01)
            assert used_bytes() < held - 0.95 * loaded.weight_bytes
            wakes.append((await manager.wake(name)).seconds)
            assert (await reply(manager, GREEDY))[1].token_ids == said
            await manager.unload()
        assert await back_within_a_second(before)
    share = median(wakes) / median(loads)
    record_property("wake", f"load {median(loads):.2f} s, wake {median(wakes):.3f} s: {share:.3f}x")
    assert share <= WAKE_SHARE, (wakes, loads)


async def test_a_gpu_that_filled_up_meanwhile_leaves_it_parked(two_gigabytes: Path) -> None:
    name = str(two_gigabytes)
    async with manager_of_the_gpu() as manager:
        await load_seconds(manager, two_gigabytes, device="cuda:0")
        said = (await reply(manager, GREEDY))[1].token_ids
        await manager.park(name)
        with all_but(500 * MIB), pytest.raises(Exception, match="no room"):
            await manager.wake(name)
        assert manager.status is ModelStatus.PARKED
        await eventually(lambda: MemoryMonitor().read().devices[0].free_bytes > 5000 * MIB, 10, "room on the GPU")
        await manager.wake(name)
        assert (await reply(manager, GREEDY))[1].token_ids == said


async def test_memory_that_runs_out_in_mid_load_is_survived(two_gigabytes: Path, llama: Path) -> None:
    async with manager_of_the_gpu() as manager:
        before = used_bytes()
        with all_but(1500 * MIB):
            filled = used_bytes()
            with pytest.raises(NotEnoughMemory):
                await load_seconds(manager, two_gigabytes, device="cuda:0")
            assert manager.status is ModelStatus.FAILED
            assert await back_within_a_second(filled)
        await eventually(lambda: used_bytes() <= before + SLACK, 10, "the other process's memory")
        await load_seconds(manager, llama, device="cuda:0")
        assert (await reply(manager, GREEDY))[1].new_tokens


def test_what_cannot_fit_is_refused_before_it_starts(two_gigabytes: Path) -> None:
    with all_but(1000 * MIB):
        filled = used_bytes()
        done = subprocess.run(
            [sys.executable, "-c", RUN, "run", str(two_gigabytes), "hello", "--device", "cuda:0"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == ExitCode.DOES_NOT_FIT, done.stderr
        assert "does not fit: it needs about" in done.stderr
        assert used_bytes() <= filled + SLACK


async def test_a_gpu_is_found_by_its_uuid(llama: Path) -> None:
    devices = MemoryMonitor().read().devices
    if not devices:
        pytest.skip("the driver's memory figures cannot be read here")
    last = len(devices) - 1
    uuids = {devices[last].name: devices[last].uuid}
    async with manager_of_the_gpu() as manager:
        before = used_bytes(last)
        await load_seconds(manager, llama, device=devices[last].name, gpu_uuids=uuids)
        assert used_bytes(last) > before + 300 * MIB
        assert manager.loaded is not None
        assert manager.loaded.device == devices[last].name


async def test_a_subset_of_several_gpus_is_the_one_that_is_used(two_gigabytes: Path) -> None:
    devices = MemoryMonitor().read().devices
    if len(devices) < 3:
        pytest.skip(f"this needs 3 GPUs; here are {len(devices)}")
    chosen = [devices[0], devices[2]]
    uuids = {gpu.name: gpu.uuid for gpu in chosen}
    async with manager_of_the_gpu() as manager:
        left_alone = used_bytes(1)
        await load_seconds(manager, two_gigabytes, device="cuda:0+cuda:2", gpu_uuids=uuids)
        assert manager.loaded is not None
        assert manager.loaded.device == "cuda:0+cuda:2"
        assert used_bytes(1) <= left_alone + SLACK
