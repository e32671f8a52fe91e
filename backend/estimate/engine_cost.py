"""What the engine's process takes by itself.

The RAM of an engine on the CPU was measured on x86-64 Linux with torch 2.13 and transformers 5.23; what one on a GPU
takes, on an H100 and an H200 with driver 580, torch 2.11 for CUDA 13 and transformers 5.23. Smaller GPUs take less.
"""

from __future__ import annotations

from modeldeck.backend.models import Quantization

MIB = 2**20
IMPORTED_BYTES = 341 * MIB
"""Resident after the imports, before any load: the baseline of the measured peaks."""
FIRST_USE_BYTES = 12 * MIB
"""Resident once a model has replied: code of the kernels, the tokenizer, the classes of the model."""
BITSANDBYTES_BYTES = 64 * MIB
"""Resident once bitsandbytes is imported and has quantized its first weights: its modules, code and tables."""
GPU_CONTEXT_BYTES = 686 * MIB
"""CUDA's context (610 MiB), cuBLAS (66) and the kernels that a reply loads; older GPUs have been seen to take half."""
GPU_INT8_BYTES = 64 * MIB
"""What multiplying in 8 bits loads beside that."""
GPU_BUFFERS_BYTES = 48 * MIB
"""Workspaces of the matrix library (32 MiB on Hopper), and what PyTorch's allocator rounds up."""
RAM_BESIDE_GPU_BYTES = 1500 * MIB
"""Resident in an engine that has replied on a GPU: PyTorch for CUDA (530 MiB), the driver, the libraries' kernels."""
BITSANDBYTES_BESIDE_GPU_BYTES = 230 * MIB
"""Resident once bitsandbytes works on a GPU."""


def engine_ram_bytes(quantization: Quantization) -> int:
    """RAM of an engine that computes on the CPU, without the model."""
    more = BITSANDBYTES_BYTES if quantization is not Quantization.NONE else 0
    return IMPORTED_BYTES + FIRST_USE_BYTES + more


def ram_beside_gpu_bytes(quantization: Quantization) -> int:
    """RAM of an engine that computes on a GPU."""
    more = BITSANDBYTES_BESIDE_GPU_BYTES if quantization is not Quantization.NONE else 0
    return RAM_BESIDE_GPU_BYTES + more


def gpu_bytes(quantization: Quantization) -> int:
    """What an engine takes of a GPU, without the model."""
    more = GPU_INT8_BYTES if quantization is Quantization.INT8 else 0
    return GPU_CONTEXT_BYTES + GPU_BUFFERS_BYTES + more
