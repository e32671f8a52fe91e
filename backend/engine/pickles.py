"""Pickled weights are read only where the user allowed it, and then as weights alone, whatever names them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from modeldeck.backend.errors import PicklesRefused

PICKLES_SENTENCE = (
    "The weights of this model are pickled, a form that can hold code, and reading them was not allowed; "
    "look for the same model as safetensors, or load it again with pickled weights allowed."
)


@contextmanager
def guarded_pickles(*, allowed: bool) -> Iterator[None]:
    """While it lasts ``torch.load`` reads weights and nothing else, or refuses with PicklesRefused.

    It is the only way by which transformers and peft read a pickle, be it named by a folder, an index, a configuration
    or an adapter; so it is closed here, and not at each of them.
    """
    read: Any = torch.load

    def guarded(*arguments: Any, **options: Any) -> Any:
        if not allowed:
            raise PicklesRefused(PICKLES_SENTENCE)
        return read(*arguments, **{**options, "weights_only": True})

    torch.load = guarded
    try:
        yield
    finally:
        torch.load = read
