from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from modeldeck.backend.estimate.figures import Verdict
from modeldeck.backend.models import ModelInfo
from modeldeck.tui.list_place import Place, chosen_place, first_place, kept_place
from modeldeck.tui.shelf import ModelShelf
from modeldeck.tui.shelf_order import Order, SortColumn
from modeldeck.tui.shelf_row import ShelfRow
from modeldeck.tui.verdicts import Verdicts
from tests.unit.tui.shelves import adapter, info, names, row

MODELS = (
    info("beta", parameters=7, size_bytes=300, dtype="float16", context_length=10),
    info("Alpha", parameters=9, size_bytes=100, quantization="awq"),
    info("gamma", size_bytes=200, dtype="bfloat16", context_length=30),
)


def shelf_of(*models: ModelInfo, **fields: object) -> ModelShelf:
    shelf = ModelShelf(**fields)  # type: ignore[arg-type]  # its own parameters
    shelf.put(models)
    return shelf


class TestOrder:
    def test_favourites_come_first_then_what_was_loaded_last_then_names(self) -> None:
        shelf = shelf_of(*MODELS, info("delta"), favourites=["gamma"], recents=["delta", "beta"])
        assert names(shelf) == ["gamma", "delta", "beta", "Alpha"]
        shelf.sort(Order(reverse=True))
        assert names(shelf) == ["gamma", "delta", "beta", "Alpha"]
        shelf.put([info("omega")])
        assert names(shelf)[3:] == ["omega", "Alpha"]

    @pytest.mark.parametrize(
        ("column", "expected", "turned"),
        [
            (SortColumn.NAME, "Alpha beta gamma", "gamma beta Alpha"),
            (SortColumn.PARAMETERS, "Alpha beta gamma", "beta Alpha gamma"),
            (SortColumn.SIZE, "beta gamma Alpha", "Alpha gamma beta"),
            (SortColumn.CONTEXT, "gamma beta Alpha", "beta gamma Alpha"),
            (SortColumn.TYPE, "Alpha gamma beta", "beta gamma Alpha"),
        ],
    )
    def test_every_column_both_ways_and_the_unknown_last(self, column: SortColumn, expected: str, turned: str) -> None:
        shelf = shelf_of(*MODELS)
        shelf.sort(Order(column))
        assert names(shelf) == expected.split()
        shelf.sort(Order(column).reversed())
        assert names(shelf) == turned.split()

    def test_the_best_fit_comes_first_and_a_new_verdict_moves_no_row_that_has_its_place(self) -> None:
        shelf = shelf_of(*MODELS, order=Order(SortColumn.FIT))
        rows = {each.id: each for each in shelf.rows()}
        rows["gamma"].verdict, rows["beta"].verdict = Verdict.FITS, Verdict.DOES_NOT_FIT
        shelf.judged([rows["gamma"], rows["beta"]])
        assert names(shelf) == ["gamma", "beta", "Alpha"]
        rows["beta"].verdict = Verdict.FITS
        shelf.judged([rows["beta"]])
        assert names(shelf) == ["gamma", "beta", "Alpha"]
        shelf.sort(shelf.order)
        assert names(shelf) == ["beta", "gamma", "Alpha"]

    def test_the_key_goes_round_all_columns(self) -> None:
        order, seen = Order(), []
        for _ in SortColumn:
            seen.append(order.column)
            order = order.next()
        assert seen == list(SortColumn)
        assert order == Order()
        assert SortColumn.named("no such column") is SortColumn.DEFAULT

    def test_a_favourite_goes_to_its_place_and_back(self) -> None:
        shelf = shelf_of(*MODELS)
        assert shelf.toggle_favourite("gamma")
        assert names(shelf) == ["gamma", "Alpha", "beta"]
        assert not shelf.toggle_favourite("gamma")
        assert names(shelf) == ["Alpha", "beta", "gamma"]


class TestAdapters:
    @pytest.mark.parametrize("base", ["org/Base", "BASE", "/m/org/Base", "other/base", "org/Base@abc"])
    def test_one_stands_under_its_base_whatever_the_order(self, base: str) -> None:
        listed = info("org/Base", id="org/Base@abc", parameters=5)
        shelf = shelf_of(info("zeta", parameters=1), adapter("aaa", base), listed, info("b", parameters=9))
        assert names(shelf) == ["b", "org/Base", "aaa", "zeta"]
        assert [each.indented for each in shelf.visible()] == [False, False, True, False]
        shelf.sort(Order(SortColumn.PARAMETERS))
        assert names(shelf) == ["b", "org/Base", "aaa", "zeta"]

    def test_one_whose_base_is_hidden_or_missing_stands_for_itself(self) -> None:
        shelf = shelf_of(adapter("lora", "base"), info("base"), adapter("orphan", "nobody"))
        assert names(shelf) == ["base", "lora", "orphan"]
        shelf.filter("adapter")
        assert names(shelf) == ["lora", "orphan"]
        assert not any(each.indented for each in shelf.visible())
        shelf.filter("")
        shelf.remove(["base"])
        assert names(shelf) == ["lora", "orphan"]


class TestRows:
    def test_what_changes_keeps_its_place_and_what_goes_is_gone(self) -> None:
        shelf = shelf_of(*MODELS)
        shelf.put([structs.replace(MODELS[0], size_bytes=5)])
        assert names(shelf) == ["Alpha", "beta", "gamma"]
        found = shelf.get("beta")
        assert found is not None
        assert found.size_bytes == 5
        shelf.remove(["beta", "nobody"])
        assert names(shelf) == ["Alpha", "gamma"]
        assert len(shelf) == 2
        assert shelf.get("beta") is None

    def test_a_model_that_is_told_twice_at_once_is_one_row_and_the_later_counts(self) -> None:
        shelf = shelf_of(MODELS[0], structs.replace(MODELS[0], size_bytes=5))
        assert [each.model.size_bytes for each in shelf.rows()] == [5]
        assert len(shelf) == 1

    def test_a_list_that_was_handed_out_stays_as_it_is(self) -> None:
        shelf = shelf_of(*MODELS)
        handed_out = [shelf.visible(), shelf.rows()]
        shelf.sort(Order(SortColumn.NAME).reversed())
        shelf.toggle_favourite("beta")
        assert [[each.id for each in rows] for rows in handed_out] == [["Alpha", "beta", "gamma"]] * 2

    def test_what_is_loaded_is_known_whichever_comes_first(self) -> None:
        shelf = shelf_of(MODELS[0])
        shelf.filter("loaded")
        shelf.set_loaded(["gamma", "beta"])
        shelf.put(MODELS)
        assert sorted(names(shelf)) == ["beta", "gamma"]
        shelf.set_loaded(["gamma"])
        assert names(shelf) == ["gamma"]
        shelf.set_loaded([])
        assert names(shelf) == []

    def test_ten_thousand_rows_take_in_fifty_and_a_key_without_being_felt(self) -> None:
        """Generous limits for a busy machine; the figures are those of ``benchmarks/filter.py``."""
        shelf = shelf_of(*(info(f"org{n % 97}/model-{n}", parameters=n) for n in range(10_000)))
        assert _best(lambda: shelf.put([info(f"new-{n}-{perf_counter()}") for n in range(50)])) < 0.05

        def key() -> None:
            shelf.filter("model-1 org")
            shelf.visible()

        assert _best(key) < 0.05

    @given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 3), st.booleans()), max_size=20))
    def test_the_order_never_depends_on_how_the_rows_came(self, steps: list[tuple[str, int, bool]]) -> None:
        shelf, known = ModelShelf(order=Order(SortColumn.SIZE)), dict[str, ModelInfo]()
        for name, size, gone in steps:
            if gone:
                shelf.remove([name])
                known.pop(name, None)
            else:
                known[name] = info(name, size_bytes=size)
                shelf.put([known[name]])
        fresh = shelf_of(*known.values(), order=Order(SortColumn.SIZE))
        assert names(shelf) == names(fresh)


def _best(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(5):
        start = perf_counter()
        work()
        seconds.append(perf_counter() - start)
    return min(seconds)


def rows_of(letters: str) -> list[ShelfRow]:
    return [row(letter) for letter in letters]


class TestPlace:
    @pytest.mark.parametrize(
        ("before", "after", "place", "expected"),
        [
            ("bcdef", "abcdef", Place(2, 1), Place(3, 2)),  # added above: same line of the screen
            ("bcdef", "bcdefg", Place(2, 1), Place(2, 1)),  # added below
            ("abcdef", "abcef", Place(3, 2), Place(3, 2)),  # removed itself: the next one
            ("abcdef", "abcde", Place(5, 3), Place(4, 2)),  # removed itself, the last: the one before
            ("abcdef", "cdef", Place(3, 1), Place(1, 0)),  # not enough rows above
            ("abcdef", "abc", Place(4, 3), Place(2, 0)),
            ("abc", "", Place(1, 0), Place()),
            ("", "abc", Place(), Place()),
            ("abc", "xyz", Place(1, 0), Place(0, 0)),
        ],
    )
    def test_the_highlight_and_the_view_stay(self, before: str, after: str, place: Place, expected: Place) -> None:
        assert kept_place(rows_of(before), rows_of(after), place, 3) == expected

    def test_a_list_that_nobody_has_touched_stays_at_its_top(self) -> None:
        assert first_place(rows_of("b"), rows_of("ab"), Place(), 3) == Place(1, 0)
        assert first_place(rows_of("e"), rows_of("abcde"), Place(), 3) == Place(0, 0)

    def test_words_that_hide_the_highlighted_row_show_the_first_one(self) -> None:
        assert chosen_place(rows_of("abcdef"), rows_of("bf"), Place(3, 2), 3) == Place()
        assert chosen_place(rows_of("abcdef"), rows_of("bdf"), Place(3, 2), 3) == Place(1, 0)

    @given(
        st.lists(st.integers(0, 40), unique=True, max_size=30),
        st.lists(st.integers(0, 40), unique=True, max_size=30),
        st.integers(0, 29),
        st.integers(0, 29),
        st.integers(1, 12),
    )
    def test_the_highlight_is_always_a_row_and_in_view(
        self, before: list[int], after: list[int], cursor: int, above: int, height: int
    ) -> None:
        cursor = min(cursor, max(0, len(before) - 1))
        place = Place(cursor, max(0, cursor - min(above, height - 1)))
        now = kept_place([row(str(n)) for n in before], [row(str(n)) for n in after], place, height)
        if not after:
            assert now == Place()
            return
        assert 0 <= now.cursor < len(after)
        assert now.top <= now.cursor < now.top + height
        if before and before[cursor] in after:
            assert after[now.cursor] == before[cursor]


class TestVerdicts:
    def test_each_is_worked_out_once_for_a_reading(self) -> None:
        asked: list[str] = []

        def judge(model: ModelInfo) -> Verdict:
            asked.append(model.name)
            return Verdict.FITS if len(asked) <= 2 else Verdict.TIGHT

        verdicts, rows = Verdicts(judge), rows_of("ab")
        assert verdicts.work(rows, 1.0).changed == rows
        assert verdicts.work(rows, 1.0).changed == []
        assert asked == ["a", "b"]
        verdicts.outdate()
        assert {each.verdict for each in rows} == {Verdict.FITS}  # the old ones stay until then
        assert verdicts.work(rows, 1.0).changed == rows
        assert {each.verdict for each in rows} == {Verdict.TIGHT}

    def test_it_stops_when_its_time_is_over_and_goes_on_where_it_was(self) -> None:
        verdicts, rows = Verdicts(lambda model: Verdict.FITS), rows_of("abc")
        turns = []
        while not (turn := verdicts.work(rows, 0.0)).finished:
            turns.append(len(turn.changed))
        assert turns == [1, 1]
        assert all(each.verdict is Verdict.FITS for each in rows)
