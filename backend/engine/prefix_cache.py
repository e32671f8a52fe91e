"""The cache of a conversation between its turns, so that the next one reads only what is new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import DynamicCache
from transformers.cache_utils import DynamicIndexedLayer, DynamicLayer, DynamicSlidingWindowLayer

_CUTTABLE = (DynamicLayer, DynamicSlidingWindowLayer)
"""Exactly these: what is derived from them keeps more than keys and values, and cuts only those."""
_BOTH_WAYS = frozenset({"paligemma"})
"""Types whose prompts are read in both directions, whatever their configuration says of it."""


class PrefixCache:
    """Keys and values of the tokens that the model has read, as far as the last conversation goes.

    A cache whose layers cannot be cut back to a place (sliding windows that are full, linear attention) serves a
    conversation that goes on exactly where it ended, and no other.
    """

    def __init__(self, config: Any) -> None:
        """``config`` is that of the model; one that reads a prompt in both directions goes on from none."""
        self._usable = reads_forward(config)
        self._masked_width = _masked_width(config)
        self._cache: Any = None
        self._ids: list[int] = []
        self._images: tuple[str, ...] = ()

    def take(self, ids: Sequence[int], images: tuple[str, ...] = ()) -> tuple[Any, int]:
        """The cache for a prompt and how many of its tokens are in it, always fewer than all; None and 0 without.

        Without, too, where reading the whole prompt is quicker. It is not kept any longer: what becomes of it is for
        ``keep`` to say.
        """
        cache, kept, of_images = self._cache, self._ids, self._images
        self.drop()
        if cache is None or of_images != images:
            return None, 0
        common = min(_common(kept, ids), len(ids) - 1)
        if common < 1 or not self._pays(common, len(ids)) or not _cut(cache, len(kept) - common):
            return None, 0
        return cache, common

    def _pays(self, kept: int, tokens: int) -> bool:
        """Whether the rest of a prompt is read sooner than all of it.

        With a mask, half of what attention computes is thrown away. For each layer a kept token saves some widths
        squared, and the mask costs a width for every pair of a new token and one before it. The eighth is measured
        (benchmarks/NOTES.md).
        """
        return self._masked_width is None or 8 * kept * self._masked_width >= (tokens - kept) * tokens

    def keep(self, cache: Any, ids: Sequence[int], images: tuple[str, ...] = (), *, cut_short: bool = False) -> None:
        """Keep the cache of a reply that has ended; ``ids`` are prompt and reply, of which it may lack the last ones.

        ``cut_short`` says that the model was left in the middle of its layers, some of which have read more then.
        """
        self.drop()
        if not self._usable or type(cache) is not DynamicCache:
            return  # one of a fixed size, quantized, offloaded, or of the model's own
        layers: list[Any] = cache.layers
        if any(isinstance(layer, DynamicIndexedLayer) for layer in layers):
            return  # token by token it says something else than at once, in 5.23
        lengths = [layer.get_seq_length() for layer in layers if _counts(layer)]
        if not lengths or min(lengths) < 1:
            return
        if max(lengths) > len(ids) or (cut_short and not _all_cuttable(layers)):
            return
        least = min(lengths)
        for layer in layers:
            if _counts(layer) and not _cut_layer(layer, layer.get_seq_length() - least):
                return
        self._cache, self._ids, self._images = cache, list(ids[:least]), images

    def drop(self) -> None:
        """Give its memory back."""
        self._cache, self._ids, self._images = None, [], ()


def reads_forward(config: Any) -> bool:
    """Whether no token of a prompt is read in the light of later ones, so that a part of it can be kept."""
    text = config.get_text_config(decoder=True)
    both = any(getattr(part, "use_bidirectional_attention", None) is True for part in (config, text))
    return not both and config.model_type not in _BOTH_WAYS


def _masked_width(config: Any) -> int | None:
    """The hidden size, where tokens after kept ones are read with a mask, and those of a whole prompt without."""
    if getattr(config, "_attn_implementation", None) != "sdpa":
        return None
    width = getattr(config.get_text_config(decoder=True), "hidden_size", None)
    return width if isinstance(width, int) else None


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _counts(layer: Any) -> bool:
    """Whether the layer holds keys and values of its own; some models share those of a layer below."""
    return isinstance(layer, DynamicLayer) and bool(layer.is_initialized)


def _cut(cache: Any, tokens: int) -> bool:
    """Take the last tokens out of every layer; False where that cannot be done, and then the cache is of no use."""
    if tokens and not _all_cuttable(cache.layers):
        return False
    return all(_cut_layer(layer, tokens) for layer in cache.layers if _counts(layer))


def _all_cuttable(layers: Sequence[Any]) -> bool:
    return all(type(layer) in _CUTTABLE for layer in layers)


def _cut_layer(layer: Any, tokens: int) -> bool:
    if tokens == 0:
        return True
    if type(layer) not in _CUTTABLE:
        return False
    if isinstance(layer, DynamicSlidingWindowLayer) and layer.get_seq_length() >= layer.sliding_window:
        return False
    try:
        layer.crop(-tokens)
    except (RuntimeError, ValueError):
        return False
    return True
