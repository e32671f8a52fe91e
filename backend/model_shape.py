"""What a network is made of, as its files tell it: what the details show and what the estimate counts with.

Everything is read from config.json and the headers of the weights, without torch. A value that a file does not tell,
or tells absurdly, is None (or 0, or empty); nothing here is guessed.
"""

from __future__ import annotations

from msgspec import Struct


class ModelShape(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The sizes of the network's language part, under the names of transformers' configurations."""

    layers: int | None = None
    """``num_hidden_layers``."""
    hidden_size: int | None = None
    intermediate_size: int | None = None
    attention_heads: int | None = None
    kv_heads: int | None = None
    """``num_key_value_heads``, or as many as there are attention heads where the file has no such key."""
    head_dim: int | None = None
    """As told, else ``hidden_size / attention_heads``."""
    vocabulary: int | None = None
    """``vocab_size``."""
    tied_embeddings: bool = False
    """The output head is the embedding table (``tie_word_embeddings``, by the architecture's own default)."""
    layer_types: dict[str, int] = {}
    """How many layers of each kind, in transformers' words (``full_attention``, ``sliding_attention``,
    ``chunked_attention``, ``linear_attention`` for every constant state but ``conv``, ``hybrid`` for attention and
    state in one, ``dummy`` for a layer that caches nothing: MoE alone, or keys and values of another layer); empty
    where all of them are full attention or nothing is known."""
    key_value_elements: dict[str, int] = {}
    """What one token adds to a layer of a kind, in elements, for the kinds whose heads are other than ``kv_heads`` and
    ``head_dim`` say."""
    sliding_window: int | None = None
    """Tokens that a sliding or chunked layer looks back."""
    kv_lora_rank: int | None = None
    """MLA: the rank of the latent that is cached instead of keys and values."""
    q_lora_rank: int | None = None
    qk_rope_head_dim: int | None = None
    qk_nope_head_dim: int | None = None
    v_head_dim: int | None = None
    experts: int | None = None
    """Routed experts in a layer; None in a dense model."""
    active_experts: int | None = None
    """Routed experts that each token goes through (``num_experts_per_tok``)."""
    state_size: int | None = None
    """Of a state-space layer (``state_size``, ``mamba_d_state``)."""
    conv_kernel: int | None = None
    """Of a state-space or linear-attention layer (``conv_kernel``, ``mamba_d_conv``, ``linear_conv_kernel_dim``)."""
    state_elements: int | None = None
    """What one layer of constant state keeps for one sequence, in elements, whatever the context; None where there is
    no such layer or its kind is not known."""


class AdapterShape(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an adapter changes in its base model, from adapter_config.json."""

    kind: str = "LORA"
    """``peft_type``; untrusted text, cleaned."""
    rank: int | None = None
    """``r``."""
    alpha: float | None = None
    """``lora_alpha``: the change is multiplied with alpha / rank."""
    targets: tuple[str, ...] = ()
    """The modules that it changes (``q_proj``, ``all-linear``); untrusted text, cleaned."""


class WeightBlock(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Modules that lie behind one another and weigh the same: the embeddings, a run of equal layers, the head.

    A run of layers is what ``device_map="auto"`` deals out, one layer at a time. All figures are those of one module.
    """

    name: str
    """Of the first one: ``model.layers.0``."""
    count: int = 1
    linear_elements: int = 0
    """Elements of the weights that bitsandbytes replaces when it quantizes: ``nn.Linear``, without its skip list."""
    linear_rows: int = 0
    """The output features of those, summed: 8-bit keeps one scale for each."""
    other_elements: int = 0
    """Elements of all other floating-point weights: they are converted to the dtype that is asked for."""
    fixed_bytes: int = 0
    """Bytes of what keeps its form whatever is asked: packed quantized weights, integers, their scales."""
    packed_elements: int = 0
    """What the fixed bytes stand for, in elements: so many there are where the loader unpacks them."""
    fused_elements: int = 0
    """Of the other elements: those of experts, which lie one by one on disk and are merged while they are loaded."""
    largest_elements: int = 0
    """Elements of the largest linear weight: what a quantizer holds in full precision for a moment."""
    stored_bytes: int = 0
    """Bytes of all of it on disk."""
