"""Whether a load would fit, in the dialog that asks for it; always for what the dialog shows and what is free now."""

from __future__ import annotations

from collections.abc import Callable

from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from modeldeck.backend.estimate.planning import Room
from modeldeck.backend.models import LoadRequest, ModelInfo
from modeldeck.tui.fit_words import fit_lines, plan_lines, waited_for
from modeldeck.tui.fitting import Fitting


class FitView(Static):
    """Some lines about one load; they follow the memory while they are shown."""

    def __init__(self, fitting: Fitting, model: ModelInfo, name_of: Callable[[str], str]) -> None:
        super().__init__("Reading the memory of this machine ...", markup=False, id="fit")
        self._fitting = fitting
        self._model = model
        self._name_of = name_of
        self.room = Room()
        """What is said to make room for this load."""
        self.wait_for: dict[str, int] = {}
        """Bytes by device that would have to be free for it; empty where it fits, or would never."""
        self._load: tuple[LoadRequest, int] | None = None
        self._shown: Content | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    class Judged(Message):
        """There is another verdict, or another plan."""

    class Resized(Message):
        """It takes more lines, or fewer."""

    def on_resize(self) -> None:
        """Whoever lays it out shares the room anew."""
        self.post_message(self.Resized())

    def on_mount(self) -> None:
        """Follow the memory."""
        self._unsubscribe = self._fitting.follow(self.refresh_fit)

    def on_unmount(self) -> None:
        """Stop following."""
        self._unsubscribe()

    def show_load(self, request: LoadRequest, context_tokens: int) -> None:
        """Judge this load from now on."""
        self._load = (request, context_tokens)
        self.refresh_fit()

    def say_wrong(self, sentence: str) -> None:
        """Nothing can be judged, and why."""
        self._load, self.wait_for = None, {}
        self._show(Content.styled(f"! {sentence}", "$text-error"))

    def refresh_fit(self) -> None:
        """Judge it anew; drawn only where a figure as it is shown has changed."""
        if self._load is None:
            return
        if (fit := self._fitting.fit(self._model, *self._load)) is None:
            self.room, self.wait_for = self._fitting.room(self._model, *self._load), {}
            unknown = "Whether it fits is not known: the memory of this machine does not answer yet."
            self._show(Content("\n".join([unknown, *plan_lines(self.room, self._model.id, self._name_of)])))
        else:
            self.room = fit.room
            self.wait_for = waited_for(fit.estimate)
            self._show(Content("\n").join(fit_lines(fit, self._load[0], self._name_of)))

    def _show(self, said: Content) -> None:
        self.post_message(self.Judged())
        if said != self._shown:
            self._shown = said
            self.update(said)
