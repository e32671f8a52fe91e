"""What the engine's process takes by itself. Measured on x86-64 Linux with torch 2.13 and transformers 5.23."""

from __future__ import annotations

from modeldeck.backend.models import Quantization

MIB = 2**20
IMPORTED_BYTES = 341 * MIB
"""Resident after the imports, before any load: the baseline of the measured peaks."""
FIRST_USE_BYTES = 12 * MIB
"""Resident once a model has replied: code of the kernels, the tokenizer, the classes of the model."""
BITSANDBYTES_BYTES = 64 * MIB
"""Resident once bitsandbytes is imported and has quantized its first weights: its modules, code and tables."""
GPU_CONTEXT_BYTES = 500 * MIB
"""CUDA's context with the kernels of PyTorch; public measurements say 0.3 to 0.6 GiB, by GPU and driver."""
GPU_BUFFERS_BYTES = 96 * MIB
"""Workspaces of the matrix library, and what PyTorch's allocator rounds up."""


def engine_ram_bytes(quantization: Quantization) -> int:
    """RAM of an engine that computes on the CPU, without the model."""
    more = BITSANDBYTES_BYTES if quantization is not Quantization.NONE else 0
    return IMPORTED_BYTES + FIRST_USE_BYTES + more
