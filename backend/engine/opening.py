"""What CUDA does once in a process, done while the tokenizer is read.

Each engine is a new process, so it makes a context, opens cuBLAS and fetches every kernel when that is first launched.
Measured side by side on an H200: of 1.2 s for a load of 2 GB, 0.14 are saved by the context and cuBLAS, and 0.18 more
by the kernels of a decoder layer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import torch
from torch.nn import functional


def open_beside(gpus: Iterable[str]) -> None:
    """Begin to open these, each in a thread of its own that nobody waits for."""
    for gpu in gpus:
        threading.Thread(target=_open, args=(torch.device(gpu),), name=f"opening {gpu}", daemon=True).start()


def _open(device: torch.device) -> None:
    try:
        launch_usual_kernels(device)
    except Exception:  # noqa: BLE001  # the load meets it as well, and tells it
        return


@torch.no_grad()
def launch_usual_kernels(device: torch.device) -> None:
    """Have the device do a little of what nearly every decoder layer does. Raises what torch raises."""
    weights = torch.ones((64, 64), device=device, dtype=torch.bfloat16)  # what most checkpoints are
    hidden = functional.embedding(torch.zeros((1, 1), dtype=torch.long, device=device), weights)
    exact = hidden.float()
    hidden = (exact * (exact.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt()).to(torch.bfloat16)
    hidden = functional.silu(functional.linear(hidden, weights)) * hidden
    heads = hidden.view(1, 4, 1, 16)
    angles = torch.arange(16, device=device).float()
    heads = heads * angles.cos() + torch.cat((-heads[..., 8:], heads[..., :8]), dim=-1) * angles.sin()
    functional.scaled_dot_product_attention(heads, heads, heads)
    functional.linear(hidden, weights).argmax(-1)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
