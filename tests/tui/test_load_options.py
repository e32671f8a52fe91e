"""Stories of the load dialog on a machine with several GPUs, and of adapters."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Button, Input, Select

from modeldeck.backend.load_defaults import options_of
from modeldeck.backend.memory import DeviceMemory, MemoryReading
from modeldeck.backend.models import DeviceMap, LoadRequest, ModelFormat, ModelStatus, Quantization
from modeldeck.config.settings import Settings
from modeldeck.tui.screens.load_dialog import LoadDialog
from modeldeck.tui.screens.profile_dialog import ProfileDialog
from modeldeck.tui.widgets import load_fields
from modeldeck.tui.widgets.tick import Tick
from tests.helpers import screen_text, wait_until
from tests.tui.deck import MODELS, NARROW, WIDE, FakeCatalog, deck, deck_of, model, opened, until_status

GB = 10**9
BOTH_SIZES = pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "120x40"])


class ThreeGpus:
    """80 GB each, nearly all free."""

    def read(self, pids: Sequence[int] = ()) -> MemoryReading:
        gpus = tuple(
            DeviceMemory(name=f"cuda:{n}", label="H100", used_bytes=2 * GB, total_bytes=80 * GB, uuid=f"GPU-{n}")
            for n in range(3)
        )
        ram = DeviceMemory(name="ram", label="RAM", used_bytes=GB, total_bytes=256 * GB)
        return MemoryReading(devices=gpus, ram=ram)


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_fields, "_devices", lambda: ("auto", "cuda:0", "cuda:1", "cuda:2", "cpu"))


def shown(pilot: Pilot[int], name: str) -> bool:
    row = pilot.app.screen.query_one(f"#{name}").parent
    return isinstance(row, Widget) and row.display


async def open_dialog(pilot: Pilot[int]) -> None:
    await pilot.press("l")
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, LoadDialog))


async def load(pilot: Pilot[int]) -> LoadRequest:
    """Press Load; returns what the manager was asked."""
    pilot.app.screen.query_one("#load", Button).press()
    await until_status(pilot, ModelStatus.LOADED)
    request = deck_of(pilot).services.manager.request
    assert request is not None
    return request


@pytest.mark.usefixtures("three_gpus")
@BOTH_SIZES
async def test_several_gpus_are_ticked_and_named_by_their_uuids(size: tuple[int, int]) -> None:
    app = deck(monitor=ThreeGpus())
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        await wait_until(pilot, lambda: app.main_screen.fitting.estimate(MODELS[0]) is not None)
        await open_dialog(pilot)
        await wait_until(pilot, lambda: len(app.screen.query(".gpu")) == 3)
        app.screen.query_one("#device", Select).value = "several"
        await wait_until(pilot, lambda: "Choose at least one GPU." in screen_text(app))
        for box in list(app.screen.query(".gpu").results(Tick))[1:]:
            box.value = True
        await wait_until(pilot, lambda: "[ ] cuda:0  [x] cuda:1  [x] cuda:2" in screen_text(app))
        app.screen.query_one("#device-map", Select).value = DeviceMap.SEQUENTIAL
        app.screen.query_one("#memory-limits", Input).value = "cuda:1=9 cpu=x"
        await wait_until(pilot, lambda: "GB at most must be like cuda:0=20 cpu=64, or empty." in screen_text(app))
        app.screen.query_one("#memory-limits", Input).value = "cuda:1=9"
        app.screen.query_one("#cpu-offload", Tick).value = False
        await wait_until(pilot, lambda: "fits on cuda:1 and on cuda:2" in screen_text(app))
        for button in app.screen.query(Button):
            assert app.screen.region.contains_region(button.region)
        request = await load(pilot)
        assert (request.device, request.device_map) == ("cuda:1+cuda:2", DeviceMap.SEQUENTIAL)
        assert request.gpu_uuids == {"cuda:1": "GPU-1", "cuda:2": "GPU-2"}
        assert (request.memory_limits, request.cpu_offload) == ({"cuda:1": 9 * GB}, False)
        await wait_until(pilot, lambda: app.services.remembered.get(MODELS[0].id) is not None)
        again = app.main_screen.loads.request_for(MODELS[0])
        assert (again.device, again.device_map, again.gpu_uuids) == ("cuda:1+cuda:2", DeviceMap.SEQUENTIAL, {})


@pytest.mark.usefixtures("three_gpus")
async def test_only_what_applies_is_shown() -> None:
    app = deck(monitor=ThreeGpus())
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await open_dialog(pilot)
        await wait_until(pilot, lambda: shown(pilot, "device-map"))  # auto means all three
        assert shown(pilot, "memory-limits")
        assert not shown(pilot, "double-quantization")
        app.screen.query_one("#device", Select).value = "cuda:1"
        await wait_until(pilot, lambda: not shown(pilot, "device-map"))
        assert shown(pilot, "cpu-offload")
        app.screen.query_one("#device", Select).value = "cpu"
        await wait_until(pilot, lambda: not shown(pilot, "memory-limits"))
        app.screen.query_one("#quantization", Select).value = Quantization.FP4
        await wait_until(pilot, lambda: shown(pilot, "double-quantization") and shown(pilot, "compute-dtype"))
        app.screen.query_one("#double-quantization", Tick).value = False
        app.screen.query_one("#compute-dtype", Select).value = "float16"
        request = await load(pilot)
        assert request.quantization is Quantization.FP4
        assert (request.double_quantization, request.compute_dtype) == (False, "float16")
        assert request.memory_limits == {}


async def test_without_a_gpu_nothing_about_gpus_is_asked() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await open_dialog(pilot)
        await wait_until(pilot, lambda: "Context" in screen_text(app))
        assert not any(shown(pilot, name) for name in ("device-map", "memory-limits", "cpu-offload"))


async def test_a_context_can_be_a_limit() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await open_dialog(pilot)
        app.screen.query_one("#context", Input).value = "2000"
        app.screen.query_one("#context-limit", Tick).value = True
        await wait_until(pilot, lambda: "for 2,000 tokens" in screen_text(app))
        assert (await load(pilot)).context_limit == 2000
        await wait_until(pilot, lambda: app.services.remembered.get(MODELS[0].id) is not None)
        assert app.main_screen.loads.request_for(MODELS[0]).context_limit == 2000


BASE = model("base")
LORA = model("lora", format=ModelFormat.ADAPTER, base_model="base", size_bytes=50_000_000, parameters=12_000_000)


async def test_an_adapter_is_chosen_in_the_dialog_of_its_base() -> None:
    app = deck(catalog=FakeCatalog([BASE, LORA]))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, rows=2)
        await open_dialog(pilot)
        await wait_until(pilot, lambda: "Adapter" in screen_text(app))
        app.screen.query_one("#adapter", Select).value = LORA.path
        request = await load(pilot)
        assert (request.model_id, request.adapter, request.adapter_bytes) == (BASE.id, LORA.path, 50_000_000)
        await wait_until(pilot, lambda: "bf16 + lora" in screen_text(app))


async def test_enter_on_an_adapter_offers_its_base_with_it() -> None:
    app = deck(catalog=FakeCatalog([BASE, LORA]))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, rows=2)
        await pilot.press("j", "enter")
        await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog))
        await wait_until(pilot, lambda: "Load base" in screen_text(app))
        assert (await load(pilot)).adapter == LORA.path


@pytest.mark.parametrize(("settings", "parts"), [(Settings(prefetch=False), 0), (Settings(), 3)])
async def test_the_files_are_read_ahead_while_the_dialog_is_open(
    settings: Settings, parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.safetensors").write_bytes(bytes(3 * 2**20))
    asked: list[int] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _fd, start, _length, _advice: asked.append(start))
    app = deck(catalog=FakeCatalog([model("here", path=str(tmp_path))]), settings=settings)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, rows=1)
        await wait_until(pilot, lambda: app.services.memory.reading is not None)
        await open_dialog(pilot)
        await wait_until(pilot, lambda: "fits in RAM" in screen_text(app))
        await wait_until(pilot, lambda: len(asked) == parts)
        await pilot.press("escape")


class TestProfiles:
    """Options are kept under a name, chosen, and taken unless another is chosen."""

    async def save(self, pilot: Pilot[int], name: str, *ticks: str) -> None:
        pilot.app.screen.query_one("#save-profile", Button).press()
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, ProfileDialog) and pilot.app.screen.query("#save"))
        pilot.app.screen.query_one("#typed", Input).value = name
        for tick in ticks:
            pilot.app.screen.query_one(tick, Tick).value = True
        pilot.app.screen.query_one("#save", Button).press()

    @BOTH_SIZES
    async def test_one_is_saved_and_chosen_for_another_model(self, size: tuple[int, int]) -> None:
        app = deck()
        async with app.run_test(size=size) as pilot:
            await opened(pilot)
            await open_dialog(pilot)
            assert not shown(pilot, "profile")
            app.screen.query_one("#quantization", Select).value = Quantization.NF4
            app.screen.query_one("#dtype", Select).value = "float16"
            await self.save(pilot, "  small   one ")
            await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog) and shown(pilot, "profile"))
            await wait_until(pilot, lambda: "Profile         small one" in screen_text(app))
            await pilot.press("escape", "j")
            await open_dialog(pilot)
            await wait_until(pilot, lambda: "Profile         last used" in screen_text(app))
            app.screen.query_one("#profile", Select).value = "small one"
            await wait_until(pilot, lambda: "4-bit (nf4)" in screen_text(app) and "float16" in screen_text(app))
            for button in app.screen.query(Button):
                assert not button.display or app.screen.region.contains_region(button.region)
            request = await load(pilot)
            assert (request.model_id, request.quantization) == (MODELS[1].id, Quantization.NF4)
            assert request.dtype == "float16"

    async def test_a_default_is_what_enter_takes_and_a_quantized_model_stays_what_it_is(self) -> None:
        app = deck()
        async with app.run_test(size=WIDE) as pilot:
            await opened(pilot)
            await open_dialog(pilot)
            app.screen.query_one("#quantization", Select).value = Quantization.INT8
            await self.save(pilot, "8-bit", "#for-all")
            await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog))
            await pilot.press("escape")
            loads = app.main_screen.loads
            assert [loads.request_for(one).quantization for one in MODELS[:3]] == [
                Quantization.INT8,
                Quantization.INT8,
                Quantization.NONE,
            ]
            await open_dialog(pilot)
            app.screen.query_one("#quantization", Select).value = Quantization.NF4
            await self.save(pilot, "4-bit", "#for-model")
            await wait_until(pilot, lambda: loads.request_for(MODELS[0]).quantization is Quantization.NF4)
            assert loads.request_for(MODELS[1]).quantization is Quantization.INT8

    async def test_a_name_that_is_none_is_told_and_a_profile_can_be_deleted(self) -> None:
        app = deck()
        async with app.run_test(size=WIDE) as pilot:
            await opened(pilot)
            await open_dialog(pilot)
            await self.save(pilot, "   ")
            await wait_until(pilot, lambda: "Nothing was saved" in screen_text(app))
            app.screen.query_one("#typed", Input).value = "mine"
            app.screen.query_one("#save", Button).press()
            await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog))
            app.screen.query_one("#save-profile", Button).press()
            await wait_until(pilot, lambda: isinstance(app.screen, ProfileDialog) and app.screen.query("#delete"))
            app.screen.query_one("#delete", Button).press()
            await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog) and not shown(pilot, "profile"))
            assert app.services.profiles.names == ()


async def test_names_that_look_like_markup_are_text_in_every_field() -> None:
    odd = model("a[/x] [red]b")
    lora = model("l[/x]", format=ModelFormat.ADAPTER, base_model=odd.name, size_bytes=5)
    app = deck(catalog=FakeCatalog([odd, lora]))
    await asyncio.to_thread(app.services.profiles.save, "p[/x]", options_of(LoadRequest(model_id="", path="")))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, rows=2)
        await open_dialog(pilot)
        app.screen.query_one("#adapter", Select).value = lora.path
        app.screen.query_one("#profile", Select).value = "p[/x]"
        await wait_until(pilot, lambda: "p[/x]" in screen_text(app))
        app.screen.query_one("#save-profile", Button).press()
        await wait_until(pilot, lambda: "a[/x] [red]b is loaded so unless" in screen_text(app))


async def test_a_wrong_limit_that_no_longer_applies_holds_nothing_up(three_gpus: None) -> None:
    app = deck(monitor=ThreeGpus())
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await open_dialog(pilot)
        await wait_until(pilot, lambda: shown(pilot, "memory-limits"))
        app.screen.query_one("#memory-limits", Input).value = "foo"
        await wait_until(pilot, lambda: "GB at most must be like" in screen_text(app))
        app.screen.query_one("#device", Select).value = "cpu"
        await wait_until(pilot, lambda: "GB at most must be like" not in screen_text(app))
        assert (await load(pilot)).device == "cpu"
