"""Stories of several models that are held at a time: switching, pinning, making room, timing out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from modeldeck.backend.memory import DeviceMemory, EngineMemory, MemoryReading
from modeldeck.backend.models import ModelStatus
from modeldeck.config.settings import Settings
from modeldeck.tui.screens.confirm import Confirm
from modeldeck.tui.screens.error_dialog import ErrorDialog
from modeldeck.tui.screens.load_dialog import LoadDialog
from modeldeck.tui.widgets.prompt import Prompt
from tests.fakes.driving import held
from tests.helpers import screen_text, wait_until
from tests.tui.deck import MODELS, NARROW, WIDE, deck, deck_of, opened, until_status

BOTH_SIZES = pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "120x40"])
QWEN, LLAMA, SMOL = (model.id for model in MODELS[:3])


async def load_next(pilot: Pilot[int], *keys: str) -> None:
    """Load the model that these keys highlight, and wait until the chat talks to it."""
    manager = deck_of(pilot).services.manager
    count = len(manager.residents)
    await pilot.press(*keys, "enter")
    await wait_until(pilot, lambda: len(manager.residents) > count and not manager.load_running)
    await until_status(pilot, ModelStatus.LOADED)


def talks_to(pilot: Pilot[int]) -> str | None:
    loaded = deck_of(pilot).main_screen.loaded
    return loaded.model_id if loaded is not None else None


@BOTH_SIZES
async def test_a_second_model_is_held_beside_the_first_and_keys_switch_between_them(size: tuple[int, int]) -> None:
    app = deck()
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        await load_next(pilot)
        await load_next(pilot, "j")
        assert held(app.services.manager) == [QWEN, LLAMA]
        await wait_until(pilot, lambda: "1○ Qwen3-8B" in screen_text(app) and "2● Llama-3.3-70B" in screen_text(app))
        await pilot.press("1")
        await wait_until(pilot, lambda: talks_to(pilot) == QWEN)
        assert isinstance(app.focused, Prompt)
        await wait_until(pilot, lambda: "● LOADED Qwen3-8B · cpu" in screen_text(app))
        await pilot.press(*"2 - 1")  # into the prompt, which takes them as text
        assert app.main_screen.query_one(Prompt).text == "2 - 1"
        await pilot.press("ctrl+o")
        await wait_until(pilot, lambda: talks_to(pilot) == LLAMA)
        assert app.main_screen.query_one(Prompt).text == "2 - 1"
        await pilot.press("escape", "minus")
        await wait_until(pilot, lambda: talks_to(pilot) == QWEN)
        await pilot.press("ctrl+o")
        await wait_until(pilot, lambda: talks_to(pilot) == LLAMA)


async def test_the_line_names_the_others_and_enter_on_one_talks_to_it() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await load_next(pilot)
        await load_next(pilot, "j")
        await wait_until(pilot, lambda: "LOADED Llama-3.3-70B · cpu · bf16 · also 1 Qwen3-8B" in screen_text(app))
        await pilot.press("k")
        await wait_until(pilot, lambda: "⏎ Chat" in screen_text(app))
        await pilot.press("enter")
        await wait_until(pilot, lambda: talks_to(pilot) == QWEN and app.main_screen.pane == "chat")


async def test_a_number_that_no_model_has_says_so() -> None:
    app = deck()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        await load_next(pilot)
        await pilot.press("5")
        await wait_until(pilot, lambda: "No model has the number 5." in screen_text(app))
        await pilot.press("minus")
        await wait_until(pilot, lambda: "No other model is loaded." in screen_text(app))
        assert talks_to(pilot) == QWEN


async def test_the_chat_goes_on_with_another_model_and_a_reply_that_runs_goes_on_too(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    app = deck(f"reply-gate {gate}\nreply of one two three four\nserve", "reply of the second\nserve")
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await load_next(pilot)
        await load_next(pilot, "j")
        await pilot.press("1")
        await wait_until(pilot, lambda: talks_to(pilot) == QWEN)
        await pilot.press(*"hello", "enter")
        await wait_until(pilot, lambda: app.services.manager.generating)
        await pilot.press("ctrl+o")
        await wait_until(pilot, lambda: talks_to(pilot) == LLAMA)
        assert app.services.manager.generating
        gate.touch()
        await wait_until(pilot, lambda: "of one two three four" in screen_text(app))
        await wait_until(pilot, lambda: not app.services.manager.generating)
        await pilot.press(*"again", "enter")
        await wait_until(pilot, lambda: "of the second" in screen_text(app))


async def test_u_unloads_the_highlighted_model_and_elsewhere_the_one_that_is_talked_to() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await load_next(pilot)
        await load_next(pilot, "j")
        await load_next(pilot, "j")
        await pilot.press("k", "u")
        await wait_until(pilot, lambda: held(app.services.manager) == [QWEN, SMOL])
        assert talks_to(pilot) == SMOL
        await wait_until(pilot, lambda: "3● SmolLM2-135M" in screen_text(app))  # numbers stay
        await pilot.press("tab", "escape", "tab", "tab", "u")
        await wait_until(pilot, lambda: held(app.services.manager) == [QWEN])
        await wait_until(pilot, lambda: talks_to(pilot) == QWEN)
        assert " ● Qwen3-8B" in screen_text(app)  # alone it needs no number


async def test_what_an_unload_beside_another_model_gave_back_is_said() -> None:
    app = deck()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        await load_next(pilot)
        await load_next(pilot, "j")
        await pilot.press("u")
        await wait_until(pilot, lambda: "Llama-3.3-70B is unloaded: freed 1.0 GB of RAM." in screen_text(app))
        await pilot.press("k", "u")
        await wait_until(pilot, lambda: held(app.services.manager) == [])
        assert "Qwen3-8B is unloaded" not in screen_text(app)  # the status line says so


async def test_where_the_model_in_front_has_died_the_other_one_is_named() -> None:
    app = deck("serve", "ready\nwait load\nfinished\nwait generate\nsignal KILL", "serve")
    async with app.run_test(size=(140, 40)) as pilot:
        await opened(pilot)
        await load_next(pilot)
        await load_next(pilot, "j")
        await pilot.press("tab", *"hello", "enter")
        await until_status(pilot, ModelStatus.FAILED)
        await wait_until(pilot, lambda: "1○ Qwen3-8B" in screen_text(app))
        await pilot.press(*"again", "enter")
        await wait_until(pilot, lambda: "ctrl+o talks to Qwen3-8B, which is loaded." in screen_text(app))
        assert app.main_screen.query_one(Prompt).text == "again"
        await wait_until(pilot, lambda: "esc Models" in screen_text(app))  # no longer for the reply
        await pilot.press("escape")
        await wait_until(pilot, lambda: "⏎ Error" in screen_text(app))
        await pilot.press("enter")
        await wait_until(pilot, lambda: isinstance(app.screen, ErrorDialog))
        await pilot.press("escape", "ctrl+o")
        await wait_until(pilot, lambda: talks_to(pilot) == QWEN)


async def test_a_pinned_model_never_makes_room() -> None:
    app = deck(settings=Settings(max_models=2))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await load_next(pilot)
        await pilot.press("p")
        await wait_until(pilot, lambda: "Qwen3-8B (pinned)" in screen_text(app))
        await wait_until(pilot, lambda: "cpu · bf16 · pinned" in screen_text(app))
        await load_next(pilot, "j")
        await pilot.press("j", "enter")
        await wait_until(pilot, lambda: isinstance(app.screen, Confirm))
        await wait_until(pilot, lambda: "Unloads Llama-3.3-70B (1.0 GB). Then loads SmolLM2" in screen_text(app))
        await pilot.press("enter")
        await wait_until(pilot, lambda: held(app.services.manager) == [QWEN, SMOL])


class TightMachine:
    """60 GB of RAM; every engine takes 18 of them, as Qwen3-8B does."""

    def read(self, pids: Sequence[int] = ()) -> MemoryReading:
        engines = tuple(EngineMemory(pid, 18 * 10**9) for pid in pids)
        used = 25 * 10**9 + 18 * 10**9 * len(pids)
        ram = DeviceMemory(name="ram", label="RAM", used_bytes=used, total_bytes=60 * 10**9)
        return MemoryReading(devices=(), ram=ram, engines=engines)


async def test_where_memory_is_short_the_plan_is_said_in_figures_and_nothing_goes_unsaid() -> None:
    app = deck(monitor=TightMachine())
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await wait_until(pilot, lambda: "/60.0 GB" in screen_text(app))
        await load_next(pilot, "j", "j")
        await wait_until(pilot, lambda: "43.0/60.0 GB" in screen_text(app))
        await pilot.press("k", "k", "l")
        await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog))
        await wait_until(pilot, lambda: "Unloads SmolLM2-135M (18.0 GB) first" in screen_text(app))
        assert "+ 18.0 from unloading" in screen_text(app)
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is app.main_screen)
        await pilot.press("enter")
        await wait_until(pilot, lambda: isinstance(app.screen, Confirm))
        question = "Unloads SmolLM2-135M (18.0 GB). Then loads Qwen3-8B (about 19"
        await wait_until(pilot, lambda: question in screen_text(app))
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is app.main_screen)
        assert held(app.services.manager) == [SMOL]
        await pilot.press("enter")
        await wait_until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("enter")
        await wait_until(pilot, lambda: held(app.services.manager) == [QWEN])


async def test_when_memory_runs_out_what_makes_room_is_told() -> None:
    app = deck("serve", "fail-load memory no room\nserve", "serve")
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        await load_next(pilot)
        await pilot.press("j", "l")
        await wait_until(pilot, lambda: "Keeps Qwen3-8B, unless memory runs out" in screen_text(app))
        await pilot.press("enter")
        await wait_until(pilot, lambda: held(app.services.manager) == [LLAMA])
        await wait_until(pilot, lambda: "Memory ran out, so Qwen3-8B was unloaded" in screen_text(app))
        assert app.services.manager.failure is None


async def test_a_model_whose_time_out_has_passed_goes_and_says_so() -> None:
    app = deck()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("l")
        await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog))
        app.screen.query_one("#idle", Input).value = "-1"
        await wait_until(pilot, lambda: "Unload after must be 0 to 100,000 minutes." in screen_text(app))
        app.screen.query_one("#idle", Input).value = "0.005"
        app.screen.query_one("#load").press()  # type: ignore[attr-defined]  # a Button
        await wait_until(pilot, lambda: "was unloaded: no reply for 0.005 min" in screen_text(app))
        await until_status(pilot, ModelStatus.NOT_LOADED)
        await wait_until(pilot, lambda: app.services.remembered.get(QWEN) is not None)
        assert app.main_screen.loads.request_for(MODELS[0]).idle_minutes == 0.005


async def test_a_resident_that_dies_is_told_and_the_chat_stays_with_the_other(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    dying = f"ready\nwait load\nfinished\nwait generate\ngate {gate}\nexit 3"
    app = deck(dying, "serve")
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        await load_next(pilot)
        await load_next(pilot, "j")
        await pilot.press("1")
        await wait_until(pilot, lambda: talks_to(pilot) == QWEN)
        await pilot.press(*"hi", "enter", "ctrl+o")
        await wait_until(pilot, lambda: talks_to(pilot) == LLAMA)
        gate.touch()
        await wait_until(pilot, lambda: held(app.services.manager) == [LLAMA])
        await wait_until(pilot, lambda: "Qwen3-8B failed, and Llama-3.3-70B stays" in screen_text(app))
        assert talks_to(pilot) == LLAMA


async def test_the_palette_offers_the_loaded_models_by_name() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await load_next(pilot)
        await load_next(pilot, "j")
        await pilot.press("tab", "ctrl+p", *"talk qwen")
        await wait_until(pilot, lambda: "Talk to Qwen3-8B (1)" in screen_text(app))
        await pilot.press("down", "enter")
        await wait_until(pilot, lambda: talks_to(pilot) == QWEN)


class BusyMachine:
    """60 GB of RAM, of which somebody else has 50 until ``busy`` is taken away."""

    def __init__(self) -> None:
        self.busy = True

    def read(self, pids: Sequence[int] = ()) -> MemoryReading:
        ram = DeviceMemory(name="ram", label="RAM", used_bytes=(50 if self.busy else 5) * 10**9, total_bytes=60 * 10**9)
        return MemoryReading(devices=(), ram=ram, engines=tuple(EngineMemory(pid, 10**9) for pid in pids))


@BOTH_SIZES
async def test_a_load_can_wait_for_room_and_be_cancelled(size: tuple[int, int]) -> None:
    machine = BusyMachine()
    app = deck(monitor=machine)
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        await wait_until(pilot, lambda: app.main_screen.fitting.estimate(MODELS[0]) is not None)
        for ends in ("cancelled", "loaded"):
            await pilot.press("enter")
            await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog))
            await wait_until(pilot, lambda: "Wait for room" in screen_text(app))
            app.screen.query_one("#wait").press()  # type: ignore[attr-defined]  # a Button
            await wait_until(pilot, lambda: "waiting for 19" in screen_text(app))
            assert "LOADING Qwen3-8B" in screen_text(app)
            if ends == "cancelled":
                await pilot.press("escape")
                await until_status(pilot, ModelStatus.NOT_LOADED)
            else:
                machine.busy = False
                await until_status(pilot, ModelStatus.LOADED)


async def test_what_is_too_large_for_the_machine_is_not_waited_for() -> None:
    app = deck(monitor=BusyMachine())
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await wait_until(pilot, lambda: app.main_screen.fitting.estimate(MODELS[0]) is not None)
        await pilot.press("j", "enter")
        await wait_until(pilot, lambda: "does not fit in RAM" in screen_text(app))
        assert "Wait for room" not in screen_text(app)


@BOTH_SIZES
async def test_z_parks_a_model_and_brings_it_back_with_its_figures(size: tuple[int, int]) -> None:
    app = deck(settings=Settings(device="cuda:0"))
    async with app.run_test(size=size, notifications=True) as pilot:
        await opened(pilot)
        await load_next(pilot)
        await pilot.press("z")
        await until_status(pilot, ModelStatus.PARKED)
        await wait_until(pilot, lambda: "z PARKED Qwen3-8B · 270 MB in RAM" in screen_text(app))
        said = "Qwen3-8B is parked (270 MB of RAM, 0.25 s); z or the next message brings it back."
        await wait_until(pilot, lambda: said in app.services.log.newest(0))
        assert " z Qwen3-8B" in screen_text(app)  # its row
        await pilot.press("z")
        await until_status(pilot, ModelStatus.LOADED)
        await wait_until(pilot, lambda: "Qwen3-8B was back after 0.25 s." in app.services.log.newest(0))
        await pilot.press("z")
        told = "270 MB in RAM · z wakes it" + (" · back in 0.25 s last time" if size == WIDE else "")
        await wait_until(pilot, lambda: told in screen_text(app))


async def test_a_message_to_a_parked_model_wakes_it() -> None:
    app = deck(settings=Settings(device="cuda:0"))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await load_next(pilot)
        await pilot.press("z")
        await until_status(pilot, ModelStatus.PARKED)
        await pilot.press("enter", *"hi", "enter")
        await wait_until(pilot, lambda: "You said hi" in screen_text(app))
        await until_status(pilot, ModelStatus.LOADED)


async def test_a_model_in_ram_says_that_there_is_nothing_to_park() -> None:
    app = deck()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        await load_next(pilot)
        await pilot.press("z")
        said = "Qwen3-8B is not parked. It lies in RAM already, and stays there until it is unloaded."
        await wait_until(pilot, lambda: said in app.services.log.newest(0))
        assert app.services.manager.status is ModelStatus.LOADED


async def test_where_all_are_pinned_the_limit_of_models_is_said_and_nothing_is_loaded() -> None:
    app = deck(settings=Settings(max_models=1))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        await load_next(pilot)
        await pilot.press("p", "j", "enter")
        said = "As many models are held as max_models allows (1), and all of them are pinned"
        await wait_until(pilot, lambda: any(said in line for line in app.services.log.newest(0)))
        assert held(app.services.manager) == [QWEN]
