"""The models that are known, in the user's order and through the user's filter; knows nothing of a screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter

from modeldeck.backend.models import ModelFormat, ModelInfo
from modeldeck.tui.filter_words import FilterWords, parse
from modeldeck.tui.shelf_order import Order, SortColumn
from modeldeck.tui.shelf_row import NO_RECENT, ShelfRow

_BY_KEY = attrgetter("key")


class ModelShelf:
    """Rows by id, kept in order.

    Keys of the order are worked out once for a row and order; a filter looks at text that is kept ready.
    """

    def __init__(self, favourites: Iterable[str] = (), recents: Sequence[str] = (), order: Order | None = None) -> None:
        self._rows: dict[str, ShelfRow] = {}
        self._ordered: list[ShelfRow] = []
        self._adapters = 0
        self._favourites = set(favourites)
        self._recents = {model_id: rank for rank, model_id in enumerate(recents)}
        self._loaded: frozenset[str] = frozenset()
        self.order = order or Order()
        self.words = FilterWords()
        """What the filter asks for."""

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def ids(self) -> set[str]:
        """Of all models that are known."""
        return set(self._rows)

    def get(self, model_id: str) -> ModelInfo | None:
        """A model by its id."""
        row = self._rows.get(model_id)
        return row.model if row is not None else None

    def put(self, models: Iterable[ModelInfo]) -> None:
        """Take in models that are new or have changed; of two with one id the later counts."""
        before = self._rows
        newest = {model.id: model for model in models}
        fresh = [model for model in newest.values() if model.id not in before or before[model.id].model != model]
        replaced = any(model.id in before for model in fresh)
        rows = [self._row(model) for model in fresh]
        before.update((row.id, row) for row in rows)
        if replaced:
            self._ordered = list(before.values())
        else:
            self._ordered = [*self._ordered, *rows]
        if rows:
            self._arrange()

    def remove(self, ids: Iterable[str]) -> None:
        """Forget models; ids that are not known do no harm."""
        gone = {model_id for model_id in ids if self._rows.pop(model_id, None) is not None}
        if gone:
            self._ordered = [row for row in self._ordered if row.id not in gone]
            self._arrange()

    def sort(self, order: Order, recents: Sequence[str] | None = None) -> None:
        """Put all rows into another order; with ``recents`` also what was loaded meanwhile counts from now on."""
        self.order = order
        if recents is not None:
            self._recents = {model_id: rank for rank, model_id in enumerate(recents)}
        for row in self._ordered:
            row.recent = self._recents.get(row.id, NO_RECENT)
            row.key = order.key(row)
        self._arrange()

    def judged(self, rows: Iterable[ShelfRow]) -> None:
        """The verdicts of these rows are new.

        A row that stands where an older verdict put it stays there until the list is sorted anew.
        """
        if self.order.column is SortColumn.FIT:
            for row in rows:
                if row.key[0]:  # it had none
                    row.key = self.order.key(row)
            self._arrange()

    def toggle_favourite(self, model_id: str) -> bool:
        """Mark a model, or take the mark away; its row goes to its place in the order. Returns what it is now."""
        self._favourites ^= {model_id}
        favourite = model_id in self._favourites
        if (row := self._rows.get(model_id)) is not None:
            row.favourite = favourite
            row.key = self.order.key(row)
            self._arrange()
        return favourite

    def set_loaded(self, ids: Iterable[str]) -> None:
        """Say which models engines hold, for who asks for ``loaded``."""
        before, self._loaded = self._loaded, frozenset(ids)
        for model_id in before | self._loaded:
            if (row := self._rows.get(model_id)) is not None:
                row.loaded = model_id in self._loaded

    def filter(self, text: str) -> None:
        """Show only models that have what the text asks for."""
        self.words = parse(text)

    def rows(self) -> list[ShelfRow]:
        """All of them, in their order."""
        return self._ordered

    def adapters_of(self, model_id: str) -> list[ModelInfo]:
        """The adapters that say that they belong to this model and can be put on it."""
        bases = _names_of_bases(self._ordered)
        return [row.model for row in self._ordered if not row.model.problems and _base_of(row, bases) == model_id]

    def base_of(self, adapter_id: str) -> ModelInfo | None:
        """The model that an adapter belongs to, where that is known."""
        row = self._rows.get(adapter_id)
        base = _base_of(row, _names_of_bases(self._ordered)) if row is not None else None
        return self.get(base) if base is not None else None

    def visible(self) -> list[ShelfRow]:
        """What the list shows."""
        shown = self.words.keep(self._ordered)
        return _under_their_bases(shown) if self._adapters else shown

    def _row(self, model: ModelInfo) -> ShelfRow:
        row = ShelfRow(
            model,
            favourite=model.id in self._favourites,
            recent=self._recents.get(model.id, NO_RECENT),
            loaded=model.id in self._loaded,
        )
        row.key = self.order.key(row)
        return row

    def _arrange(self) -> None:
        """Rows that are in order already cost one comparison each; a list that was handed out stays as it is."""
        self._ordered = sorted(self._ordered, key=_BY_KEY, reverse=self.order.sorts_backwards)
        self._adapters = sum(row.model.format is ModelFormat.ADAPTER for row in self._ordered)


def _under_their_bases(rows: Sequence[ShelfRow]) -> list[ShelfRow]:
    """Adapters follow the model that they belong to, where that is among the rows."""
    bases = _names_of_bases(rows)
    under: dict[str, list[ShelfRow]] = {}
    tops: list[ShelfRow] = []
    for row in rows:
        base = _base_of(row, bases)
        row.indented = base is not None
        if base is None:
            tops.append(row)
        else:
            under.setdefault(base, []).append(row)
    return [each for row in tops for each in (row, *under.get(row.id, ()))]


def _names_of_bases(rows: Iterable[ShelfRow]) -> dict[str, str]:
    """Everything that an adapter may call a model, to the model's id; a full name counts before a last part."""
    models = [row.model for row in rows if row.model.format is not ModelFormat.ADAPTER]
    names: dict[str, str] = {}
    for model in models:
        for name in (model.id, model.id.partition("@")[0], model.path, model.name):
            names.setdefault(name.casefold(), model.id)
    for model in models:
        names.setdefault(_last_part(model.name), model.id)
    return names


def _base_of(row: ShelfRow, bases: dict[str, str]) -> str | None:
    base = row.model.base_model
    if row.model.format is not ModelFormat.ADAPTER or not base:
        return None
    return bases.get(base.casefold()) or bases.get(_last_part(base))


def _last_part(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].casefold()
