"""Making a training process fast on a CPU."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from palmar.runtime.pool import cores

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_memory() -> bool:
    """Tell glibc to reuse big blocks instead of giving them back to the system. True when it listened.

    Each activation is tens of megabytes; by default every one is mapped, zeroed page by page and unmapped again, at
    each step. Measured here: forward + backward of the vision stem 2.7 ms an image before, 0.7 ms after.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, 1 << 30)) and bool(mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))


def all_threads() -> int:
    """OMP_NUM_THREADS when set, else one a core: whoever acted before may have left torch at one."""
    return int(os.environ.get("OMP_NUM_THREADS") or cores())


def bf16_is_fast() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AMX or AVX512-BF16)."""
    info = Path("/proc/cpuinfo")
    return info.exists() and any(flag in info.read_text() for flag in ("amx_bf16", "avx512_bf16"))
