"""The keys of config.json that the catalog reads, for ``known_configs.json`` to hold the defaults of."""

from __future__ import annotations

EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
"""Routed experts in a layer."""
ACTIVE_EXPERTS = (
    "num_experts_per_tok", "num_experts_per_token", "top_k_experts", "moe_topk", "moe_k", "moe_top_k",
)  # fmt: skip
"""Routed experts that each token goes through."""

KEYS = frozenset({
    "num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads",
    "head_dim", "vocab_size", "tie_word_embeddings", "max_position_embeddings", "is_encoder_decoder",
    "multi_query", "new_decoder_architecture", "num_kv_heads", "kv_channels", "attention_head_dim", "d_kv",
    "kv_lora_rank", "q_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "sliding_window",
    "use_sliding_window", "max_window_layers", "attention_chunk_size", "sliding_window_pattern",
    "_sliding_window_pattern", "global_attn_every_n_layers", "full_attention_interval", "layer_group_size",
    "local_attention", "attn_layer_period", "attn_layer_offset", "num_kv_shared_layers", "no_rope_layer_interval",
    "first_k_dense_replace", "prefix_dense_sliding_window_pattern", "expert_layer_period", "expert_layer_offset",
    "decoder_sparse_step", "moe_layer_freq", "interleave_moe_layer_step", "num_dense_layers",
    "moe_layer_start_index", "moe_layer_interval", "moe_intermediate_size", "expert_ffn_hidden_size",
    "intermediate_size_mlp", "enable_moe_block", "ffn_dim", "state_size", "conv_kernel", "expand", "num_heads",
    "n_groups", "ssm_state_size", "use_bidirectional_attention", "mamba_d_state", "mamba_d_conv", "mamba_expand",
    "mamba_d_ssm", "mamba_n_heads", "mamba_d_head", "mamba_n_groups", "mamba_ngroups", "mamba_headdim",
    "n_mamba_heads", "mamba_num_heads", "mamba_head_dim", "linear_num_value_heads", "linear_num_key_heads",
    "linear_key_head_dim", "linear_value_head_dim", "linear_conv_kernel_dim", "linear_head_dim",
    "linear_num_heads", "short_conv_kernel_size", "conv_L_cache", "lru_width", "conv1d_width", "block_types",
    "attention_window_size", "attention_k_eq_v",
}).union(EXPERTS, ACTIVE_EXPERTS)  # fmt: skip
