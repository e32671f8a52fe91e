"""Stories of loading: it works, it is cancelled, it fails, it is replaced, it is given back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot
from textual.widgets import Button, Input, Select, TextArea

from modeldeck.backend.memory import DeviceMemory, MemoryReading
from modeldeck.backend.models import Attention, ModelFormat, ModelStatus, Quantization
from modeldeck.config.settings import Settings
from modeldeck.tui.messages import EngineChanged
from modeldeck.tui.screens.code_dialog import CodeDialog
from modeldeck.tui.screens.confirm import Confirm
from modeldeck.tui.screens.error_dialog import ErrorDialog
from modeldeck.tui.screens.load_dialog import LoadDialog
from modeldeck.tui.widgets.tick import Tick
from tests.helpers import screen_text, wait_until
from tests.tui.deck import MODELS, NARROW, WIDE, FakeCatalog, deck, deck_of, model, opened, until_status

BOTH_SIZES = pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "120x40"])


@BOTH_SIZES
async def test_enter_loads_the_highlighted_model_and_the_screen_says_so(size: tuple[int, int]) -> None:
    app = deck()
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        await pilot.press("j", "enter")
        await until_status(pilot, ModelStatus.LOADED)
        assert app.services.manager.request is not None
        assert app.services.manager.request.model_id == MODELS[1].id
        await wait_until(pilot, lambda: "● LOADED Llama-3.3-70B · cpu · bf16" in screen_text(pilot.app))
        assert " ● Llama-3.3-70B" in screen_text(pilot.app)
        await wait_until(pilot, lambda: "u Unload" in screen_text(pilot.app))


@BOTH_SIZES
async def test_a_load_shows_stage_percent_bytes_and_time_and_escape_cancels_it(
    size: tuple[int, int], tmp_path: Path
) -> None:
    app = deck(f"load-gate {tmp_path / 'gate'}\nserve")
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await wait_until(pilot, lambda: "◐ LOADING Qwen3-8B · reading" in screen_text(pilot.app))
        await wait_until(pilot, lambda: "esc Stop" in screen_text(pilot.app))
        assert " ◐ Qwen3-8B" in screen_text(pilot.app)
        await pilot.press("escape")
        await until_status(pilot, ModelStatus.NOT_LOADED)
        assert app.services.manager.engine_pids == ()
        await wait_until(pilot, lambda: "○ NOT LOADED" in screen_text(pilot.app))


async def test_a_failed_load_says_why_in_the_line_and_all_of_it_on_enter() -> None:
    app = deck("ready\nwait load\nfailed memory It needs 152.3 GB, 80.0 GB are free.")
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.FAILED)
        await wait_until(pilot, lambda: "✗ FAILED Qwen3-8B · It needs 152.3 GB, 80.0" in screen_text(pilot.app))
        assert "e shows why" in screen_text(pilot.app)
        await wait_until(pilot, lambda: "e Error" in screen_text(pilot.app))
        await pilot.press("enter")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, ErrorDialog))
        await wait_until(pilot, lambda: "It needs 152.3 GB, 80.0 GB are free." in screen_text(pilot.app))
        await pilot.press("enter")  # try again
        await wait_until(pilot, lambda: pilot.app.screen is deck_of(pilot).main_screen)
        await until_status(pilot, ModelStatus.FAILED)
        await pilot.press("e")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, ErrorDialog))
        await pilot.press("escape")
        await wait_until(pilot, lambda: pilot.app.screen is deck_of(pilot).main_screen)


async def test_an_engine_that_dies_with_a_model_is_shown_as_failed() -> None:
    app = deck("ready\nwait load\nfinished\nstderr cuda: device lost\nsleep 0.2\nexit 9")
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.FAILED)
        await wait_until(pilot, lambda: "✗ FAILED Qwen3-8B" in screen_text(pilot.app))


async def test_another_model_replaces_a_load_only_when_confirmed(tmp_path: Path) -> None:
    app = deck(f"load-gate {tmp_path / 'gate'}\nserve", "serve")
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        manager = app.services.manager
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADING)
        await pilot.press("j", "enter")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        await wait_until(pilot, lambda: "Qwen3-8B is still loading" in screen_text(pilot.app))
        await pilot.press("escape")
        await wait_until(pilot, lambda: pilot.app.screen is app.main_screen)
        assert manager.status is ModelStatus.LOADING
        assert manager.request is not None
        assert manager.request.model_id == MODELS[0].id
        await pilot.press("enter")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.main_screen.engine.model_id == MODELS[1].id)
        await until_status(pilot, ModelStatus.LOADED)
        assert len(manager.engine_pids) == 1  # the other load was stopped


async def test_loading_a_second_model_where_only_one_may_be_held_unloads_the_first() -> None:
    app = deck(settings=Settings(max_models=1))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        manager = app.services.manager
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        first = set(manager.engine_pids)
        await pilot.press("j", "enter")
        await wait_until(pilot, lambda: isinstance(app.screen, Confirm))
        await wait_until(pilot, lambda: "Unloads Qwen3-8B (1.0 GB). Then loads" in screen_text(app))
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.main_screen.loaded is not None and not first & set(manager.engine_pids))
        await until_status(pilot, ModelStatus.LOADED)
        assert len(manager.engine_pids) == 1
        await pilot.press("u")
        await until_status(pilot, ModelStatus.NOT_LOADED)
        assert not manager.engine_pids


async def test_enter_on_the_loaded_model_goes_to_the_chat() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.main_screen.pane == "chat")
        assert app.services.manager.status is ModelStatus.LOADED


async def test_the_footer_says_what_enter_does_to_the_highlighted_row() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await wait_until(pilot, lambda: "⏎ Load" in screen_text(app))
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await wait_until(pilot, lambda: "⏎ Chat" in screen_text(app) and "⏎ Load" not in screen_text(app))
        await pilot.press("j")
        await wait_until(pilot, lambda: "⏎ Load" in screen_text(app) and "⏎ Chat" not in screen_text(app))


class SmallMachine:
    """Eight gigabytes of RAM, half of them free, and no GPU."""

    def read(self, pids: Sequence[int] = ()) -> MemoryReading:
        ram = DeviceMemory(name="ram", label="RAM", used_bytes=4 * 10**9, total_bytes=8 * 10**9)
        return MemoryReading(devices=(), ram=ram)


class OneGpu:
    """A GPU with 80 GB free, beside 16 GB of RAM."""

    def read(self, pids: Sequence[int] = ()) -> MemoryReading:
        gpu = DeviceMemory(name="cuda:0", label="GPU", used_bytes=0, total_bytes=80 * 10**9)
        ram = DeviceMemory(name="ram", label="RAM", used_bytes=0, total_bytes=16 * 10**9)
        return MemoryReading(devices=(gpu,), ram=ram)


async def test_enter_on_a_model_that_does_not_fit_shows_the_figures_and_a_second_one_loads_nothing() -> None:
    app = deck(monitor=SmallMachine())
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await wait_until(pilot, lambda: "/8.0 GB" in screen_text(app))
        await pilot.press("enter")
        await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog))
        await wait_until(pilot, lambda: "does not fit in RAM" in screen_text(app))
        assert "Needs about" in screen_text(app)
        assert "GB short" in screen_text(app)
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.screen is app.main_screen)
        assert app.services.manager.request is None
        await pilot.press("enter")
        await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog))
        app.screen.query_one("#load", Button).press()  # it can be loaded all the same
        await until_status(pilot, ModelStatus.LOADED)


async def test_a_change_of_a_field_changes_the_estimate_at_once() -> None:
    app = deck(monitor=SmallMachine())
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await wait_until(pilot, lambda: "/8.0 GB" in screen_text(app))
        await pilot.press("l")
        await wait_until(pilot, lambda: "weights 16.4" in screen_text(app))
        app.screen.query_one("#quantization", Select).value = Quantization.INT8
        await wait_until(pilot, lambda: "weights 16.4" not in screen_text(app) and "weights " in screen_text(app))
        app.screen.query_one("#context", Input).value = "99"
        await wait_until(pilot, lambda: "for 99 tokens" in screen_text(app))
        app.screen.query_one("#context", Input).value = "0"
        await wait_until(pilot, lambda: "Context must be 1 or more tokens" in screen_text(app))
        assert "Needs about" not in screen_text(app)
        app.screen.query_one("#context", Input).value = "8192"
        await wait_until(pilot, lambda: "for 8,192 tokens" in screen_text(app))


async def test_up_and_down_move_between_the_fields_of_the_dialog() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("l")
        await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog) and app.focused is not None)
        await pilot.press("up")
        await wait_until(pilot, lambda: app.focused is not None and app.focused.id == "idle")
        await pilot.press("up")
        await wait_until(pilot, lambda: app.focused is not None and app.focused.id == "context-limit")
        await pilot.press("up")
        await wait_until(pilot, lambda: app.focused is not None and app.focused.id == "context")
        await pilot.press("up")
        await wait_until(pilot, lambda: app.focused is not None and app.focused.id == "attention")
        await pilot.press("up")
        await wait_until(pilot, lambda: app.focused is not None and app.focused.id == "quantization")
        await pilot.press("up")
        await wait_until(pilot, lambda: app.focused is not None and app.focused.id == "dtype")
        await pilot.press("down")
        await wait_until(pilot, lambda: app.focused is not None and app.focused.id == "quantization")


async def test_a_context_longer_than_the_models_own_is_told_and_not_loaded() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await pilot.press("l")
        await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog) and bool(app.screen.query("#context")))
        app.screen.query_one("#context", Input).value = "50000000"
        app.screen.query_one("#load", Button).press()
        await wait_until(pilot, lambda: "Context must be at most 8,192 tokens" in screen_text(app))
        assert isinstance(app.screen, LoadDialog)
        assert app.services.manager.request is None


async def test_a_broken_model_says_its_reason_and_is_not_loaded() -> None:
    app = deck()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        assert " ! half-a-download" in screen_text(pilot.app)
        await pilot.press("G", "enter")
        await wait_until(pilot, lambda: "model-00002-of-00004" in screen_text(pilot.app))
        await wait_until(pilot, lambda: isinstance(app.screen, ErrorDialog))  # it stays until it was read
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is app.main_screen)
        await pilot.press("l")
        await wait_until(pilot, lambda: isinstance(app.screen, ErrorDialog))
        assert app.services.manager.request is None


async def test_the_dialog_offers_what_applies_and_its_choice_is_remembered() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("l")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, LoadDialog))
        assert not app.screen.query("#remote-code")
        await wait_until(pilot, lambda: "Load Qwen3-8B" in screen_text(pilot.app))
        app.screen.query_one("#quantization").value = Quantization.NF4  # type: ignore[attr-defined]  # a Select
        await pilot.pause()
        app.screen.query_one("#load", Button).press()
        await until_status(pilot, ModelStatus.LOADED)
        request = app.services.manager.request
        assert request is not None
        assert request.quantization is Quantization.NF4
        assert not request.trust_remote_code
        await wait_until(pilot, lambda: app.main_screen.loads.request_for(MODELS[0]).quantization is Quantization.NF4)
        assert app.main_screen.loads.request_for(MODELS[1]).quantization is Quantization.NONE


async def choose_in_dialog(pilot: Pilot[int], **values: object) -> None:
    """Open the dialog for the highlighted model, set these fields and load."""
    await pilot.press("l")
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, LoadDialog))
    for field, value in values.items():
        pilot.app.screen.query_one(f"#{field}").value = value  # type: ignore[attr-defined]  # a Select or a Checkbox
    await pilot.pause()
    pilot.app.screen.query_one("#load", Button).press()
    await wait_until(pilot, lambda: not isinstance(pilot.app.screen, LoadDialog))


async def test_the_choice_is_remembered_by_the_next_run_until_the_settings_say_the_same() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await choose_in_dialog(pilot, quantization=Quantization.NF4, dtype="float16")
        await until_status(pilot, ModelStatus.LOADED)
        await wait_until(pilot, app.services.paths.remembered_loads.exists)
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        request = app.services.manager.request
        assert request is not None
        assert (request.quantization, request.dtype) == (Quantization.NF4, "float16")
        await choose_in_dialog(pilot, quantization=Quantization.NONE, dtype="auto")
        await wait_until(pilot, lambda: app.services.remembered.get(MODELS[0].id) is None)


async def test_a_failed_load_is_not_remembered_but_its_options_are_offered_again() -> None:
    app = deck("ready\nwait load\nfailed load No.", "serve")
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await choose_in_dialog(pilot, dtype="float32")
        await until_status(pilot, ModelStatus.FAILED)
        assert app.main_screen.loads.request_for(MODELS[0]).dtype == "auto"
        await pilot.press("e")
        await wait_until(pilot, lambda: isinstance(app.screen, ErrorDialog))
        app.screen.query_one("#options", Button).press()
        await wait_until(pilot, lambda: "Load Qwen3-8B" in screen_text(app))
        assert app.screen.query_one("#dtype").value == "float32"  # type: ignore[attr-defined]  # a Select


async def test_code_that_config_json_does_not_name_can_be_allowed_once_the_engine_refused_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    failing = "ready\nwait load\nfailed remote_code It needs code of its own."
    app = deck(failing, "serve", catalog=FakeCatalog([model("Custom", path=str(tmp_path))]))
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot, rows=1)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.FAILED)
        await pilot.press("l")
        await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog))
        await wait_until(pilot, lambda: not app.screen.query_one("#remote-code").disabled)
        app.screen.query_one("#remote-code", Tick).value = True
        app.screen.query_one("#load", Button).press()
        await until_status(pilot, ModelStatus.LOADED)
        request = app.services.manager.request
        assert request is not None
        assert request.trust_remote_code


async def test_a_model_that_is_quantized_already_offers_no_other_quantization() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("j", "j", "l")
        await wait_until(pilot, lambda: "stored as Q4_1, which is kept" in screen_text(pilot.app))
        assert not app.screen.query("#quantization")


async def test_a_gguf_model_can_be_quantized_once_its_copy_is_there(tmp_path: Path) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(b"GGUF")
    gguf = model("a", path=str(file), format=ModelFormat.GGUF, dtype="float32", quantization="Q4_1")
    app = deck(catalog=FakeCatalog([gguf]))
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot, rows=1)
        await pilot.press("l")
        await wait_until(pilot, lambda: "then its copy can be quantized" in screen_text(app))
        assert "stored as Q4_1" in screen_text(app)
        await pilot.press("escape")
        copies = app.services.gguf_copies
        copies.publish(copies.draft(file), file)
        await pilot.press("l")
        await wait_until(pilot, lambda: "Load a" in screen_text(app) and "none" in screen_text(app))
        app.screen.query_one("#quantization").value = Quantization.INT8  # type: ignore[attr-defined]  # a Select
        app.screen.query_one("#load", Button).press()
        await until_status(pilot, ModelStatus.LOADED)
        request = app.services.manager.request
        assert request is not None
        assert request.quantization is Quantization.INT8


async def test_the_estimate_knows_of_a_prepared_copy_as_soon_as_the_details_do(tmp_path: Path) -> None:
    """Without its copy a GGUF file of 8 billion parameters is unpacked in RAM, not on the GPU."""
    file = tmp_path / "a.gguf"
    file.write_bytes(b"GGUF")
    stored = {"format": ModelFormat.GGUF, "dtype": "float32", "quantization": "Q4_1"}
    gguf = model("a", path=str(file), parameters=8 * 10**9, **stored)
    app = deck(catalog=FakeCatalog([gguf]), monitor=OneGpu())
    copies = app.services.gguf_copies
    copies.publish(copies.draft(file), file)

    def in_ram() -> int:
        told = app.main_screen.fitting.estimate(gguf)
        return told.devices[-1].needed_bytes if told is not None and told.devices else 0

    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, rows=1)
        await wait_until(pilot, lambda: 0 < in_ram() < 2 * 10**9)
        app.main_screen.go("details")
        await wait_until(pilot, lambda: "x clears it" in screen_text(app))
        await pilot.press("x")
        await wait_until(pilot, lambda: in_ram() > 32 * 10**9)


async def test_a_question_never_takes_the_keys_of_who_is_typing(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    app = deck(f"ready\nwait load\ngate {gate}\nfailed quantization 4bit needs a newer CPU.", "serve")
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        await choose_in_dialog(pilot, quantization=Quantization.NF4)
        await until_status(pilot, ModelStatus.LOADING)
        await pilot.press("tab", *"What is")
        gate.touch()
        await until_status(pilot, ModelStatus.FAILED)
        await wait_until(pilot, lambda: "Press e for other options" in " ".join(screen_text(app).split()))
        await pilot.press("x")
        assert app.screen is app.main_screen
        assert app.main_screen.query_one(TextArea).text == "What isx"
        await pilot.press("shift+tab", "e")
        await wait_until(pilot, lambda: isinstance(app.screen, ErrorDialog))


async def test_where_quantization_cannot_apply_full_precision_is_one_key_away() -> None:
    app = deck("ready\nwait load\nfailed quantization 4bit needs a newer CPU.", "serve")
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("l")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, LoadDialog))
        app.screen.query_one("#quantization").value = Quantization.NF4  # type: ignore[attr-defined]  # a Select
        app.screen.query_one("#load", Button).press()
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        await wait_until(pilot, lambda: "4bit needs a newer CPU." in screen_text(pilot.app))
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        request = app.services.manager.request
        assert request is not None
        assert request.quantization is Quantization.NONE


async def test_escape_cancels_the_load_of_a_filtered_model_and_then_clears_the_filter(tmp_path: Path) -> None:
    app = deck(f"load-gate {tmp_path / 'gate'}\nserve")
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("slash", *"qwen", "enter", "enter")
        await wait_until(pilot, lambda: "LOADING Qwen3-8B" in screen_text(pilot.app))
        await pilot.press("escape")
        await until_status(pilot, ModelStatus.NOT_LOADED)
        assert app.main_screen.browser.filtering
        await pilot.press("escape")
        await wait_until(pilot, lambda: not app.main_screen.browser.filtering)


@BOTH_SIZES
async def test_escape_cancels_a_switch_while_the_model_before_is_still_unloaded(size: tuple[int, int]) -> None:
    app = deck("ignore shutdown\nignore term\nignore eof\nserve", "serve", settings=Settings(max_models=1))
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("j", "enter")
        await wait_until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.UNLOADING)
        await wait_until(pilot, lambda: "esc Stop" in screen_text(app))
        await pilot.press("escape")
        await until_status(pilot, ModelStatus.NOT_LOADED)
        await wait_until(pilot, lambda: not app.services.manager.load_running)
        assert app.services.manager.engine_pids == ()


async def test_f24_a_loaded_model_whose_row_is_gone_keeps_its_name() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await wait_until(pilot, lambda: "● LOADED Qwen3-8B" in screen_text(pilot.app))
        main = app.main_screen
        main.browser.model_list.drop([MODELS[0].id])
        await wait_until(pilot, lambda: main.browser.model_list.row_count == len(MODELS) - 1)
        main.post_message(EngineChanged())
        await pilot.pause()
        assert "● LOADED Qwen3-8B" in screen_text(pilot.app)


@BOTH_SIZES
async def test_the_dialogs_load_can_be_copied_as_code(size: tuple[int, int]) -> None:
    app = deck(catalog=FakeCatalog([replace(MODELS[0], load_dtype="bfloat16")]))
    async with app.run_test(size=size) as pilot:
        await opened(pilot, rows=1)
        await pilot.press("l")
        await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog))
        app.screen.query_one("#quantization", Select).value = Quantization.NF4
        app.screen.query_one("#as-code", Button).press()
        await wait_until(pilot, lambda: isinstance(app.screen, CodeDialog))
        await wait_until(pilot, lambda: "from transformers import" in screen_text(pilot.app))
        for button in app.screen.query(Button):
            assert app.screen.region.contains_region(button.region)
        await pilot.press("enter")
        await wait_until(pilot, lambda: "bnb_4bit_quant_type" in app.clipboard)
        compile(app.clipboard, "<copied>", "exec")
        assert MODELS[0].path in app.clipboard
        await pilot.press("tab", "enter")  # what transformers serve cannot say has no button
        await wait_until(pilot, lambda: app.clipboard.startswith("vllm serve "))
        await pilot.press("escape")
        await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog))  # with what was chosen
        assert app.screen.query_one("#quantization", Select).value is Quantization.NF4


async def test_the_attention_is_chosen_shown_and_remembered() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await pilot.press("l")
        await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog))
        app.screen.query_one("#attention", Select).value = Attention.EAGER
        await wait_until(pilot, lambda: "eager (not fused)" in screen_text(pilot.app))
        app.screen.query_one("#load", Button).press()
        await until_status(pilot, ModelStatus.LOADED)
        request = app.services.manager.request
        assert request is not None
        assert request.attention is Attention.EAGER
        await wait_until(pilot, lambda: app.services.remembered.get(MODELS[0].id) is not None)
        assert app.main_screen.loads.request_for(MODELS[0]).attention is Attention.EAGER


async def test_a_model_without_fused_attention_has_no_choice_of_it() -> None:
    app = deck(catalog=FakeCatalog([model("gemma", architecture="gemma2")]))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, rows=1)
        await pilot.press("l")
        await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog))
        assert not app.screen.query("#attention")
