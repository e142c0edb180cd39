"""Large scratch tensors on the CPU, on huge pages where the system offers them.

A forward pass at 2048 px writes a gigabyte of activations into fresh memory. In pages of 4 KB the
system spends a tenth of the whole time on handing them out; in pages of 2 MB next to none.
"""

from __future__ import annotations

import math
import mmap

import torch
from torch import Tensor

# Smaller buffers come from the allocator's own store and cost no pages.
LARGE_BYTES = 8 << 20
# Linux only; elsewhere PyTorch's allocator serves.
_HUGE_PAGES: int | None = getattr(mmap, "MADV_HUGEPAGE", None)


def empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Like `torch.empty(shape)` with the type and device of `like`; contiguous, unset."""
    size = math.prod(shape) * like.element_size()
    if like.device.type != "cpu" or size < LARGE_BYTES or _HUGE_PAGES is None:
        return like.new_empty(shape)
    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(_HUGE_PAGES)
    except OSError:  # a kernel without huge pages; running out of memory raises again here
        return like.new_empty(shape)
    # The tensor holds the memory and lets go of it with its last view.
    return torch.frombuffer(memory, dtype=like.dtype).view(shape)
