"""The one thing about this machine's processor that changes the size of weights."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


@cache
def repacks_nf4(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether bitsandbytes packs 4-bit weights anew on this CPU, as it does with AVX512-BF16; read once."""
    try:
        with cpuinfo.open(encoding="ascii", errors="replace") as lines:
            flags = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return False
    return "avx512_bf16" in flags.split()
