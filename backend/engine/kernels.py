"""Kernels of the hub are code, and a model's configuration may name one; nobody else has asked for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from modeldeck.backend.text import clean_name

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def drop_kernels(config: PretrainedConfig, log: Callable[[str], None]) -> None:
    """Where a configuration wants attention computed by a repository of the hub, let transformers choose instead.

    The names of such repositories are the only ones with a slash (``hub_kernels.is_kernel``).
    """
    named = sorted({name for name in _attentions(config) if "/" in name})
    if named:
        config._attn_implementation = None  # its parts follow it
        log(f"The configuration asks for the kernel {clean_name(', '.join(named))}, which is code; it is not used.")


def _attentions(config: PretrainedConfig) -> Iterator[str]:
    yield str(getattr(config, "_attn_implementation", None))
    for name in config.sub_configs:
        part: PretrainedConfig | None = getattr(config, name, None)
        if part is not None:
            yield from _attentions(part)
