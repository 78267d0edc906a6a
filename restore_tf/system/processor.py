"""What the processor can do."""

from __future__ import annotations

import functools
from pathlib import Path

_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")  # the last is Arm's


@functools.cache
def has_bfloat16() -> bool:
    """Returns whether the processor has bfloat16 instructions; without them it is emulated."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:  # not Linux
        return False
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return any(name in flags.split() for name in _BFLOAT16)
