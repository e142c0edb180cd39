"""The memory of a process of our own: a command, a worker. A host's allocator is the host's.

Giving back what is free is no setting, and films do it everywhere.
"""

from __future__ import annotations

import ctypes
import os
import sys

# mallopt(3): glibc takes no larger M_MMAP_THRESHOLD than half of a thread's heap.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK = 32 << 20
_NEVER = 2**31 - 1
_PICTURES = 25
_KERNELS, _KERNELS_KEPT = "ONEDNN_PRIMITIVE_CACHE_CAPACITY", 128


def prepare_memory() -> None:
    """What a process of ours does before PyTorch is imported.

    Example:
        >>> import subprocess, sys
        >>> code = "from gpen_core.memory.process import prepare_memory; prepare_memory()"
        >>> subprocess.run([sys.executable, "-c", code], check=True).returncode
        0
    """
    keep_freed_memory()
    bound_kernels()


def return_freed_memory(done: int = 0) -> None:
    """Give what is kept back to the system every 25 pictures, or holes of all sizes add up.

    Args:
        done: pictures so far; without it, now.

    Example:
        >>> return_freed_memory(25)
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None and done % _PICTURES == 0:
        trim(0)


def bound_kernels() -> None:
    """Have oneDNN keep the kernels of fewer shapes, unless the environment says of how many.

    Each picture of another size brings forty new shapes and half a megabyte of kernels for
    them; the 1,024 that oneDNN keeps by itself came to hundreds of MB over a folder. With 128 a
    pass of the network and a search take as long as before.
    """
    os.environ.setdefault(_KERNELS, str(_KERNELS_KEPT))


def keep_freed_memory() -> bool:
    """Have glibc keep what is freed, in blocks of up to 32 MB, instead of returning it at once.

    Memory fresh from the system costs a page fault for every 4 KB. The rows that the lanes of a
    512-px pass make and free are 18,000 to 28,000 of them, a twentieth of its time; kept, none.

    Returns:
        Whether it does now: not with other C libraries, and not where the environment says
        otherwise (`MALLOC_...`, `GLIBC_TUNABLES`).
    """
    chosen = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if not sys.platform.startswith("linux") or chosen:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # The first switches off that glibc raises the other by itself, so only both will do.
    return bool(mallopt(_TRIM_THRESHOLD, _NEVER)) and bool(mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK))
