"""How each type of model arranges the kinds of its layers, as its class in transformers 5.23 does."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modeldeck.backend.catalog.config_part import MAX_LAYERS, ConfigPart

FULL, SLIDING, CHUNKED, LINEAR = "full_attention", "sliding_attention", "chunked_attention", "linear_attention"
CONV, HYBRID, INDEXED, DUMMY = "conv", "hybrid", "indexed_attention", "dummy"

Kinds = list[str]
Rule = Callable[[ConfigPart, int], Kinds]
"""Makes the kinds of so many layers."""


def by_window(part: ConfigPart, layers: int) -> Kinds:
    """What ``get_layer_types_and_kwargs`` makes of a configuration without layer types."""
    if window(part) is not None:
        return [SLIDING] * layers
    return [CHUNKED if part.count("attention_chunk_size") else FULL] * layers


def window(part: ConfigPart) -> int | None:
    """The tokens that a sliding layer looks back, or None where none does."""
    if part.raw("use_sliding_window") is False:
        return None
    if part.model_type.startswith("modernbert"):
        return (part.count("local_attention") or 0) // 2 or None
    told = part.count("sliding_window_size") if part.model_type == "mimo_v2_flash" else None
    width = part.count("sliding_window") if told is None else told + 1
    if width is not None and part.raw("use_bidirectional_attention") in (True, "all"):
        return width // 2 + 1
    return width


def _every(key: str, fallback: int, rest: str = SLIDING, nth: str = FULL) -> Rule:
    """The last of every ``key`` layers is another kind than the rest."""

    def rule(part: ConfigPart, layers: int) -> Kinds:
        step = part.count(key) or fallback
        return [rest if (layer + 1) % step else nth for layer in range(layers)]

    return rule


def _first_of_every(key: str, fallback: int) -> Rule:
    """The first of every ``key`` layers has full attention, the rest slide."""

    def rule(part: ConfigPart, layers: int) -> Kinds:
        step = part.count(key) or fallback
        return [SLIDING if layer % step else FULL for layer in range(layers)]

    return rule


def _all(kind: str) -> Rule:
    return lambda _part, layers: [kind] * layers


def _from_max_window_layers(part: ConfigPart, layers: int) -> Kinds:
    first = part.number("max_window_layers")
    if window(part) is None or first is None:
        return [FULL] * layers
    return [SLIDING if layer >= first else FULL for layer in range(layers)]


def _qwen2_moe(part: ConfigPart, layers: int) -> Kinds:
    last = part.number("max_window_layers") or 0
    slides = part.flag("use_sliding_window")
    return [SLIDING if slides and (layer + 1) % 2 and layer < last else FULL for layer in range(layers)]


def _exaone(part: ConfigPart, layers: int) -> Kinds:
    if part.model_type == "exaone_moe" and window(part) is None:
        return [FULL] * layers
    step = part.count("sliding_window_pattern") or 4
    return [SLIDING if (layer + 1) % step else FULL for layer in range(layers)]


def _cohere2_moe(part: ConfigPart, layers: int) -> Kinds:
    prefix = min(part.number("first_k_dense_replace") or 0, layers)
    first = part.count("prefix_dense_sliding_window_pattern") or 1
    step = part.count("sliding_window_pattern") or 4
    kinds = [SLIDING if (layer + 1) % first else FULL for layer in range(prefix)]
    return kinds + [SLIDING if (layer + 1) % step else FULL for layer in range(layers - prefix)]


def _without_rope(part: ConfigPart, layers: int) -> list[bool]:
    """Of each layer whether it has rotary positions (``no_rope_layers`` says 1 for those that have)."""
    told = part.integers("no_rope_layers")
    if told:
        return [bool(value) for value in told[:layers]]
    step = part.count("no_rope_layer_interval") or 4
    return [bool((layer + 1) % step) for layer in range(layers)]


def _llama4(part: ConfigPart, layers: int) -> Kinds:
    return [CHUNKED if rope else FULL for rope in _without_rope(part, layers)]


def _smollm3(part: ConfigPart, layers: int) -> Kinds:
    slides = part.flag("use_sliding_window") and window(part) is not None
    return [SLIDING if slides and not rope else FULL for rope in _without_rope(part, layers)]


def _jamba(part: ConfigPart, layers: int) -> Kinds:
    period, offset = part.count("attn_layer_period") or 8, part.number("attn_layer_offset") or 0
    return [FULL if layer % period == offset else LINEAR for layer in range(layers)]


def _zamba(part: ConfigPart, layers: int) -> Kinds:
    period, offset = part.count("attn_layer_period") or 6, part.number("attn_layer_offset") or 0
    rest = [HYBRID if layer % period == offset else LINEAR for layer in range(max(0, layers - 3))]
    return [LINEAR, LINEAR, HYBRID, *rest][:layers]


def _zamba2(_part: ConfigPart, layers: int) -> Kinds:
    runs = [LINEAR, *([LINEAR] * 5 + [HYBRID]) * 7]
    return [*runs, *[LINEAR] * 4, HYBRID, *[LINEAR] * 3, HYBRID, *[LINEAR] * 2][:layers]


def _bamba(part: ConfigPart, layers: int) -> Kinds:
    attention = part.integers("attn_layer_indices") or []
    return [FULL if layer in attention else LINEAR for layer in range(layers)]


def _lfm2(part: ConfigPart, layers: int) -> Kinds:
    attention = part.integers("full_attn_idxs")
    return [FULL if attention is None or layer in attention else CONV for layer in range(layers)]


def _lfm3(_part: ConfigPart, layers: int) -> Kinds:
    return [FULL if layer % 4 == 2 else SLIDING if layer % 4 == 0 and layer else CONV for layer in range(layers)]


def _recurrent_gemma(part: ConfigPart, layers: int) -> Kinds:
    blocks = part.words("block_types") or ["recurrent", "recurrent", "attention"]
    return [LINEAR if block == "recurrent" else SLIDING for block in (blocks * 100)[:layers]]


def _nemotron_h(part: ConfigPart, layers: int) -> Kinds:
    letters = {"M": LINEAR, "E": DUMMY, "*": FULL, "-": DUMMY}
    pattern = part.raw("hybrid_override_pattern")
    if not isinstance(pattern, str) or len(pattern) > MAX_LAYERS or not set(pattern) <= set(letters):
        return [LINEAR, DUMMY, FULL, DUMMY]
    return [letters[letter] for letter in pattern]


def _kimi_linear(part: ConfigPart, layers: int) -> Kinds:
    attention = part.part("linear_attn_config").integers("full_attn_layers")
    if attention is not None:  # counted from 1
        return [FULL if layer + 1 in attention else LINEAR for layer in range(layers)]
    return [FULL if layer and layer % 4 == 0 else LINEAR for layer in range(layers)]


def _olmo_hybrid(_part: ConfigPart, layers: int) -> Kinds:
    kinds = [FULL if layer % 4 == 3 else LINEAR for layer in range(layers)]
    return kinds if FULL in kinds else [*kinds[:-1], FULL]


def _mimo(_part: ConfigPart, layers: int) -> Kinds:
    return [FULL if layer == 0 or not (layer + 1) % 6 else SLIDING for layer in range(layers)]


def _flint(_part: ConfigPart, layers: int) -> Kinds:
    return [FULL if i < 2 or i % 4 == 1 or i == layers - 1 else SLIDING for i in range(layers)]


def _fourth_from_the_end(_part: ConfigPart, layers: int) -> Kinds:
    return [SLIDING if (layers - 1 - layer) % 4 else FULL for layer in range(layers)]


def _deepseek_v4(_part: ConfigPart, layers: int) -> Kinds:
    heavy, sparse = "heavily_compressed_attention", "compressed_sparse_attention"
    return [heavy] * min(layers, 2) + [sparse if layer % 2 else heavy for layer in range(max(0, layers - 2))]


def _inkling(part: ConfigPart, layers: int) -> Kinds:
    local = part.integers("local_layer_ids")
    return [
        f"{HYBRID}_sliding" if (layer in local if local is not None else (layer + 1) % 6) else HYBRID
        for layer in range(layers)
    ]


def _minimax_m3(part: ConfigPart, layers: int) -> Kinds:
    sparse = part.part("sparse_attention_config").integers("sparse_attention_freq")
    if sparse is None:
        return [FULL] * layers
    return ["minimax_m3_sparse" if flag else FULL for flag in sparse[:layers]]


def _dots3_note(part: ConfigPart, layers: int) -> Kinds:
    full = FULL if part.raw("use_dsa") is False else INDEXED
    slides = part.raw("use_sliding_window") is not False
    return [SLIDING if slides and i >= 2 and i % 4 != 1 else full for i in range(layers)]


def _unlimited_ocr(part: ConfigPart, layers: int) -> Kinds:
    return ["reference_sliding_attention" if window(part) is not None else FULL] * layers


_INTERVAL = _every("full_attention_interval", 4, rest=LINEAR)

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("mamba", "mamba2", "falcon_mamba", "granitemoehybrid"), _all(LINEAR)),
    **dict.fromkeys(("axk2", "deepseek_v32", "glm_moe_dsa", "hy_v4", "mistral_large4_text"), _all(INDEXED)),
    **dict.fromkeys(("falcon_h1", "zaya"), _all(HYBRID)),
    **dict.fromkeys(("cohere_compass_text", "laguna", "mellum", "step3p5"), _all(FULL)),
    **dict.fromkeys(("muse_glimmer_text", "muse_spark_text"), _fourth_from_the_end),
    **dict.fromkeys(("gemma2", "gpt_oss", "vaultgemma", "t5gemma", "t5gemma_module"), _every("", 2)),
    **dict.fromkeys(("gemma3_text", "t5gemma2_text", "t5gemma2_decoder"), _every("sliding_window_pattern", 6)),
    **dict.fromkeys(("gemma4_text", "gemma4_unified_text", "diffusion_gemma_text", "beam", "neomme"), _every("", 6)),
    **dict.fromkeys(("gemma3n_text", "kolibri1"), _every("", 5)),
    **dict.fromkeys(("exaone4", "exaone_moe"), _exaone),
    **dict.fromkeys(("cwm", "granite_swa", "granitemoe_swa"), _first_of_every("", 4)),
    **dict.fromkeys(("modernbert-decoder", "modernbert"), _first_of_every("global_attn_every_n_layers", 3)),
    **dict.fromkeys(("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "qwen4_exp_text"), _INTERVAL),
    **dict.fromkeys(("qwen2", "qwen3", "dots1", "deepseek_ocr2_text"), _from_max_window_layers),
    **dict.fromkeys(("qwen2_vl_text", "qwen2_5_vl_text", "qwen2_5_omni_text"), _from_max_window_layers),
    **dict.fromkeys(("lfm2", "lfm2_moe"), _lfm2),
    **dict.fromkeys(("inkling_text", "inkling2_text"), _inkling),
    "afmoe": _every("global_attn_every_n_layers", 4),
    "bailing_hybrid": _every("layer_group_size", 8, rest=LINEAR),
    "bamba": _bamba,
    "cohere2": _every("sliding_window_pattern", 4),
    "cohere2_moe": _cohere2_moe,
    "deepseek_v4": _deepseek_v4,
    "dots3_note_text": _dots3_note,
    "flint": _flint,
    "glm5_next_text": _every("", 4, rest=LINEAR, nth=INDEXED),
    "jamba": _jamba,
    "kimi_linear": _kimi_linear,
    "lfm3": _lfm3,
    "llama4_text": _llama4,
    "mimo_v2_flash": _mimo,
    "minimax": _every("", 2, rest=FULL, nth=LINEAR),
    "minimax_m3_vl_text": _minimax_m3,
    "nemotron_h": _nemotron_h,
    "olmo3": _every("", 4),
    "olmo_hybrid": _olmo_hybrid,
    "qwen2_moe": _qwen2_moe,
    "recurrent_gemma": _recurrent_gemma,
    "smollm3": _smollm3,
    "ultrabert": _every("", 3),
    "unlimited_ocr_text": _unlimited_ocr,
    "zamba": _zamba,
    "zamba2": _zamba2,
}
