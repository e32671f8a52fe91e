"""Which kind each layer is, as transformers 5.23 derives it (``configuration_*.py``, ``cache_utils.py``).

The words are the library's: ``full_attention``, ``sliding_attention``, ``chunked_attention``, ``linear_attention``
(every layer of constant state but short convolutions, which are ``conv``), ``hybrid`` (attention and constant state in
one), ``indexed_attention``, and ``dummy`` for a layer that caches nothing.
"""

from __future__ import annotations

from collections import Counter

from modeldeck.backend.catalog.config_part import ConfigPart
from modeldeck.backend.catalog.layer_rules import DUMMY, FULL, INDEXED, LINEAR, RULES, Kinds, by_window

_RENAMED = {
    "mamba": LINEAR,
    "attention": FULL,
    "deepseek_sparse_attention": INDEXED,
    "qwen_sparse_attention": INDEXED,
    "moe": DUMMY,
    "mlp": DUMMY,
}
"""Older words in files, and those of layers without attention."""

_NOT_FROM_FILE = frozenset({"mamba", "mamba2", "falcon_mamba", "jamba", "bamba", "falcon_h1", "recurrent_gemma"})
"""Types whose class derives the kinds again and does not look at the file's ``layer_types``."""
_LAST_IS_FULL = frozenset({"gemma4_text", "gemma4_unified_text", "diffusion_gemma_text", "beam", "neomme"})
_DSA_INSTEAD_OF_FULL = frozenset({"qwen4_exp_text", "glm5_next_text"})


def layer_kinds(part: ConfigPart, layers: int | None) -> Kinds:
    """The kind of every layer; empty where the number of layers is not known or absurd."""
    told = part.words("layer_types") or part.words("layers_block_type")
    rule = RULES.get(part.model_type)
    if told is not None and (rule is None or part.model_type not in _NOT_FROM_FILE):
        kinds = told if layers is None else told[:layers]
    elif layers is None:
        return []
    else:
        kinds = (rule or by_window)(part, layers)
    kinds = [_RENAMED.get(kind, kind) for kind in kinds]
    if part.model_type in _DSA_INSTEAD_OF_FULL:
        kinds = [INDEXED if kind == FULL else kind for kind in kinds]
    if kinds and part.model_type in _LAST_IS_FULL:
        kinds[-1] = FULL
    return _without_shared(kinds, part.number("num_kv_shared_layers") or 0)


def counted(kinds: Kinds) -> dict[str, int]:
    """How many of each kind; empty where all are full attention."""
    counts = dict(Counter(kinds))
    return {} if set(counts) <= {FULL} else counts


def _without_shared(kinds: Kinds, shared: int) -> Kinds:
    """Layers that use the keys and values of earlier ones cache nothing."""
    return kinds if not 0 < shared < len(kinds) else kinds[: len(kinds) - shared] + [DUMMY] * shared
