"""What stands in the place of a list without rows."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from modeldeck.backend.text import clean_name


class EmptyList(Static):
    """Says why nothing is listed, and what to do."""

    def __init__(self) -> None:
        super().__init__(id="empty", markup=False)

    def tell(self, known: int, *, searching: bool, looked_in: tuple[str, ...], odd: tuple[str, ...] = ()) -> None:
        """Say it of so many ``known`` models, all of them hidden; ``looked_in`` are the places without any.

        ``odd`` are words of the filter that mean no comparison, though they look like one.
        """
        if searching and not known:
            self.update(Content("Looking for models ..."))
        elif known:
            hint = f"\n\n{clean_name(odd[0])} is no comparison; write >7b, <9gb or ctx>32k." if odd else ""
            self.update(Content(f"None of the {known} models has all of these words. Escape shows them all.{hint}"))
        else:
            looked = ", ".join(clean_name(place) for place in looked_in) or "no folder"
            self.update(
                Content(
                    f"No models found. Looked in {looked}.\n\n"
                    "Put a model folder or a .gguf file there and press r, set model_folders in config.toml,"
                    " or press a and type a path or a Hub id."
                )
            )
