"""Whether an error means that memory ran out, whoever raised it."""

from __future__ import annotations

import errno

from ..errors import GPENError

# PyTorch for every device, its allocator and oneDNN on a CPU, C++, Pillow's decoders, OpenCV, zlib.
_TEXTS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "insufficient memory",
    "failed to allocate",
    "could not create a memory",
    "could not create a primitive",
    "std::bad_alloc",
    "error -4 while",
)
# PyTorch's class by its name: what reports errors must not have to import PyTorch.
_CLASS = "OutOfMemoryError"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch, Python or a library of theirs ran out of memory, on any device.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    True
    >>> is_out_of_memory(RuntimeError("shape mismatch"))
    False
    """
    if isinstance(error, MemoryError) or _CLASS in (each.__name__ for each in type(error).__mro__):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    if isinstance(error, GPENError | ValueError):
        return False  # its text is ours, or quotes what a file says
    text = str(error).lower()
    return any(part in text for part in _TEXTS)
