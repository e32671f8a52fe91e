"""Stories of the list: its order, its marks, its place while models come and go, what the filter asks for."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from modeldeck.backend.estimate.figures import Verdict
from modeldeck.backend.models import ModelFormat, ModelInfo, ModelStatus
from modeldeck.config.paths import Paths
from modeldeck.config.remembered_list import RememberedList
from modeldeck.config.settings import Settings
from modeldeck.tui.widgets.filter_field import ModelFilter
from modeldeck.tui.widgets.model_row import fit_cell
from modeldeck.tui.widgets.shelf_list import ShelfList
from tests.helpers import screen_text, wait_until
from tests.tui.deck import MODELS, NARROW, WIDE, FakeCatalog, deck, deck_of, model, opened, until_status

MANY = [model(f"model-{number:03}") for number in range(100)]


def rows_of(pilot: Pilot[int]) -> ShelfList:
    return deck_of(pilot).main_screen.browser.model_list


def lines(pilot: Pilot[int]) -> list[str]:
    """The names that the screen shows, from the first one on."""
    return [line.split()[0] for line in screen_text(pilot.app).splitlines() if "model-" in line]


def line_of_highlight(pilot: Pilot[int]) -> int:
    shown = rows_of(pilot)
    return shown.cursor - int(shown.scroll_offset.y)


def name_of_highlight(pilot: Pilot[int]) -> str:
    found = rows_of(pilot).highlighted
    assert found is not None
    return found.name


def remembered() -> RememberedList:
    return RememberedList(Paths.from_environment().remembered_list)


class TestOneFrame:
    """What a key in the filter takes is measured by ``benchmarks/filter.py``; these hold what its figures rest on."""

    async def test_a_key_and_the_list_that_it_leaves_are_drawn_at_once(self) -> None:
        app = deck(catalog=FakeCatalog(MANY))
        async with app.run_test(size=WIDE) as pilot:
            await opened(pilot, rows=100)
            await pilot.press("slash")
            field = app.main_screen.query_one(ModelFilter)
            field.value = "07"  # 007, and 070 to 079
            assert rows_of(pilot).row_count == 11

    async def test_nothing_is_laid_out_anew_for_it(self) -> None:
        app = deck(catalog=FakeCatalog(MANY))
        async with app.run_test(size=WIDE) as pilot:
            await opened(pilot, rows=100)
            await pilot.press("slash")
            laid_out: list[object] = []
            app.main_screen.screen_layout_refresh_signal.subscribe(app, laid_out.append)
            for keys, rows in (("0", 100), ("07", 11), ("071", 1), ("07", 11), ("", 100)):
                app.main_screen.query_one(ModelFilter).value = keys
                await wait_until(pilot, lambda rows=rows: rows_of(pilot).row_count == rows)  # type: ignore[misc]  # mypy infers no type for it
                await pilot.pause()
            assert not laid_out


class TestPlace:
    async def test_the_default_order_has_no_other_way_round(self) -> None:
        app = deck(catalog=FakeCatalog(MANY))
        async with app.run_test(size=NARROW) as pilot:
            await opened(pilot, rows=100)
            before = lines(pilot)
            await pilot.press("S")
            await pilot.pause()
            assert lines(pilot) == before
            assert not remembered().memory.reverse

    async def test_the_footer_forgets_the_filter_with_it(self) -> None:
        app = deck(catalog=FakeCatalog(MANY))
        async with app.run_test(size=WIDE) as pilot:
            await opened(pilot, rows=100)
            await pilot.press("slash", "7", "down")
            await wait_until(pilot, lambda: "esc Show all" in screen_text(app))
            await pilot.press("escape")
            await wait_until(pilot, lambda: "esc Show all" not in screen_text(app))
            assert rows_of(pilot).row_count == 100

    async def test_rows_that_come_and_go_move_neither_the_highlight_nor_the_view(self) -> None:
        app = deck(catalog=FakeCatalog(MANY))
        async with app.run_test(size=NARROW) as pilot:
            await opened(pilot, rows=100)
            await pilot.press("pagedown", "pagedown", "j")
            name, line, before = name_of_highlight(pilot), line_of_highlight(pilot), lines(pilot)
            rows_of(pilot).put([model(f"aaa-{number}") for number in range(50)])
            await pilot.pause()
            assert (name_of_highlight(pilot), line_of_highlight(pilot)) == (name, line)
            assert lines(pilot) == before
            rows_of(pilot).drop([f"/scripted/aaa-{number}" for number in range(20)])
            rows_of(pilot).put([model("model-000", size_bytes=5)])
            await pilot.pause()
            assert (name_of_highlight(pilot), line_of_highlight(pilot)) == (name, line)
            assert lines(pilot) == before

    async def test_a_highlighted_model_that_goes_leaves_the_highlight_to_its_neighbour(self) -> None:
        app = deck(catalog=FakeCatalog(MANY))
        async with app.run_test(size=NARROW) as pilot:
            await opened(pilot, rows=100)
            await pilot.press(*["j"] * 30)
            line = line_of_highlight(pilot)
            rows_of(pilot).drop([MANY[30].id])
            assert (name_of_highlight(pilot), line_of_highlight(pilot)) == ("model-031", line)
            await pilot.press("G")
            rows_of(pilot).drop([MANY[99].id])
            assert name_of_highlight(pilot) == "model-098"

    async def test_a_list_that_nobody_touched_begins_at_its_top_however_it_fills(self) -> None:
        app = deck(catalog=FakeCatalog([model("zzz")]))
        async with app.run_test(size=NARROW) as pilot:
            await opened(pilot, rows=1)
            rows_of(pilot).put(MANY)
            await pilot.pause()
            assert "model-000" in screen_text(app)
            assert rows_of(pilot).cursor == 0

    async def test_the_filter_stays_while_models_come(self) -> None:
        app = deck(catalog=FakeCatalog(MANY))
        async with app.run_test(size=NARROW) as pilot:
            await opened(pilot, rows=100)
            await pilot.press("slash", *"model-05")
            await wait_until(pilot, lambda: rows_of(pilot).row_count == 10)
            rows_of(pilot).put([model("other"), model("model-05x")])
            await wait_until(pilot, lambda: "Models 11 of 102" in screen_text(app))


class TestSorting:
    async def test_a_key_sorts_by_the_next_column_another_turns_it_round_and_the_next_run_knows(self) -> None:
        app = deck()
        async with app.run_test(size=(200, 40)) as pilot:
            await opened(pilot)
            await pilot.press("j")
            name = name_of_highlight(pilot)
            for title in ("▴Name", "▾Params", "▴Type", "▴Fit", "▾Size"):
                await pilot.press("s")
                await wait_until(pilot, lambda title=title: title in screen_text(app))  # type: ignore[misc]  # a bound default
                assert name_of_highlight(pilot) == name
            assert "Models 4 by size" in screen_text(app)
            shown = [row.model.name for row in rows_of(pilot).shelf.visible()]
            assert shown[0] == "Llama-3.3-70B"
            await pilot.press("S")
            await wait_until(pilot, lambda: "▴Size" in screen_text(app))
            assert rows_of(pilot).shelf.visible()[0].model.name == "SmolLM2-135M"
            await wait_until(pilot, lambda: remembered().memory.reverse)
        again = deck()
        async with again.run_test(size=(200, 40)) as pilot:
            await opened(pilot)
            await wait_until(pilot, lambda: "▴Size" in screen_text(again))
            assert rows_of(pilot).shelf.visible()[0].model.name == "SmolLM2-135M"

    async def test_a_favourite_is_marked_comes_first_and_is_one_in_the_next_run(self) -> None:
        app = deck()
        async with app.run_test(size=NARROW) as pilot:
            await opened(pilot)
            await pilot.press("j", "j", "f")
            await wait_until(pilot, lambda: "★  SmolLM2-135M" in screen_text(app))
            assert name_of_highlight(pilot) == "SmolLM2-135M"
            assert rows_of(pilot).cursor == 0
            await wait_until(pilot, lambda: remembered().memory.favourites == (MODELS[2].id,))
            await pilot.press("slash", *"fav")
            await wait_until(pilot, lambda: "Models 1 of 4" in screen_text(app))
        again = deck(settings=Settings(ascii=True, spare_engine=False))
        async with again.run_test(size=NARROW) as pilot:
            await opened(pilot)
            assert rows_of(pilot).shelf.visible()[0].model.name == "SmolLM2-135M"
            await wait_until(pilot, lambda: "+  SmolLM2-135M" in screen_text(again))
            await pilot.press("f")
            await wait_until(pilot, lambda: remembered().memory.favourites == ())

    async def test_a_model_that_was_loaded_comes_first_in_the_next_run_and_moves_no_row_in_this_one(self) -> None:
        app = deck()
        async with app.run_test(size=NARROW) as pilot:
            await opened(pilot)
            await pilot.press("j", "enter")
            await until_status(pilot, ModelStatus.LOADED)
            await wait_until(pilot, lambda: remembered().memory.recents[0] == MODELS[1].id)
            assert rows_of(pilot).shelf.visible()[0].model == MODELS[0]
        again = deck()
        async with again.run_test(size=NARROW) as pilot:
            await opened(pilot)
            assert rows_of(pilot).shelf.visible()[0].model == MODELS[1]

    async def test_f20_an_order_that_cannot_be_kept_is_told_and_holds(self) -> None:
        app = deck()
        async with app.run_test(size=WIDE, notifications=True) as pilot:
            await opened(pilot)
            file = Paths.from_environment().remembered_list
            file.unlink()
            file.mkdir()  # nothing can be written over it
            await pilot.press("s")
            await wait_until(pilot, lambda: "The order of the list is not remembered" in screen_text(app))
            assert "▴Name" in screen_text(app)


class TestMarks:
    async def test_an_adapter_stands_under_its_base(self) -> None:
        lora = model("my-lora", format=ModelFormat.ADAPTER, base_model="Qwen3-8B", parameters=None)
        app = deck(catalog=FakeCatalog([*MODELS, lora]))
        async with app.run_test(size=NARROW) as pilot:
            await opened(pilot, rows=5)
            text = screen_text(app)
            assert "└ my-lora" in text
            names = [row.model.name for row in rows_of(pilot).shelf.visible()]
            assert names.index("my-lora") == names.index("Qwen3-8B") + 1

    @pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "120x40"])
    async def test_what_fits_is_marked_in_every_width(self, size: tuple[int, int]) -> None:
        fits = (Verdict.FITS, Verdict.OFFLOADS, Verdict.DOES_NOT_FIT, Verdict.FITS)
        verdicts = {found.id: verdict for found, verdict in zip(MODELS, fits, strict=True)}
        app = deck()
        async with app.run_test(size=size) as pilot:
            await opened(pilot)
            rows_of(pilot).judge_with(lambda found: verdicts[found.id])
            await wait_until(pilot, lambda: signs(rows_of(pilot)) == ["✓", "~", "✗", " "])  # the last is broken
            assert "✗" in screen_text(app)
            await pilot.press("slash", *"offloads")
            await wait_until(pilot, lambda: "Models 1 of 4" in screen_text(app))

    async def test_only_rows_that_are_seen_are_judged_until_the_filter_asks_for_all(self) -> None:
        judged: list[str] = []

        def judge(found: ModelInfo) -> Verdict:
            judged.append(found.name)
            return Verdict.FITS

        app = deck(catalog=FakeCatalog(MANY))
        async with app.run_test(size=NARROW) as pilot:
            await opened(pilot, rows=100)
            rows_of(pilot).judge_with(judge)
            await wait_until(pilot, lambda: "✓" in screen_text(app))
            await pilot.pause(0.1)
            assert len(judged) <= 24
            await pilot.press("G")
            await wait_until(pilot, lambda: "model-099" in judged)
            assert "model-050" not in judged
            rows_of(pilot).outdate_verdicts()
            await wait_until(pilot, lambda: judged.count("model-099") == 2)
            await pilot.press("slash", *"fits")
            await wait_until(pilot, lambda: "Models 100 " in screen_text(app) and "model-050" in judged)


def signs(shown: ShelfList) -> list[str]:
    """The signs of the Fit column, from the first row on."""
    cell = fit_cell(shown.scrollable_content_region.width)
    return [shown.render_line(y + 1).text[cell] for y in range(shown.row_count)]


async def test_f22_a_damaged_list_of_favourites_is_said_and_kept_aside_at_the_first_change() -> None:
    path = Paths.from_environment().remembered_list
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"favourites": ["a"')
    app = deck()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        await wait_until(pilot, lambda: "is damaged" in screen_text(app))
        assert any("is damaged, so favourites" in line for line in app.services.log.lines)
        await pilot.press("f")
        await wait_until(pilot, lambda: len(remembered().memory.favourites) == 1)
        assert [kept.read_text() for kept in path.parent.glob(f"{path.name}.corrupt-*")] == ['{"favourites": ["a"']
