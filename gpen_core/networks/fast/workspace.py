"""Large buffers kept from one pass to the next.

Memory fresh from the system costs a page fault for every 4 KB, at 1024 px a tenth of the time of a
pass. What was written once is reused as it is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Bytes of the largest buffer that is kept. Larger ones are those of batches: idle memory would cost
# more than page faults do. One face of 2048 px needs 270 MB.
KEPT_BYTES = 300 << 20


class Workspace:
    """Named buffers, each grown to the largest size asked for; for one thread at a time.

    What a name gives is valid until the name is asked for again, so nothing that leaves the network
    may live here.
    """

    def __init__(self) -> None:
        self._flat: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """A contiguous tensor of `shape`, of unset values, with the type and device of `like`.

        Kept up to `KEPT_BYTES`, on a CPU: elsewhere PyTorch's own allocator keeps memory.
        """
        size = math.prod(shape)
        bytes_asked = size * like.element_size()
        if like.device.type != "cpu" or bytes_asked > KEPT_BYTES:
            return like.new_empty(shape)
        flat = self._flat.get(name)
        if flat is None or flat.dtype != like.dtype or len(flat) < size:
            self._flat.pop(name, None)  # first give back, then take
            # One made in inference mode could not be written to outside of it.
            with torch.inference_mode(mode=False):
                flat = torch.empty(size, dtype=like.dtype)
            self._flat[name] = flat
        return flat[:size].view(shape)

    def nhwc(
        self, name: str, n: int, channels: int, height: int, width: int, like: Tensor
    ) -> Tensor:
        """(N, C, H, W), channels last, unset."""
        return self.take(name, (n, height, width, channels), like).permute(0, 3, 1, 2)

    def rows(
        self, name: str, n: int, channels: int, side: int, margin: int, like: Tensor
    ) -> Tensor:
        """(N, C, side + 2 margin, side), channels last, zero in the margins, unset elsewhere."""
        padded = self.nhwc(name, n, channels, side + 2 * margin, side, like)
        if margin:
            padded[:, :, :margin] = 0
            padded[:, :, -margin:] = 0
        return padded

    def other(self, x: Tensor) -> str:
        """The name of the one of two buffers that `x` does not live in: `even` or `odd`."""
        even = self._flat.get("even")
        lives = even is not None and x.untyped_storage().data_ptr() == even.data_ptr()
        return "odd" if lives else "even"

    @property
    def nbytes(self) -> int:
        """Held."""
        return sum(flat.numel() * flat.element_size() for flat in self._flat.values())


def keep_small_blocks() -> None:
    """Have glibc keep what smaller temporaries give back, too; for after a pass.

    A block of nearly 32 MB that is freed raises, up to that size, what counts as large and returns
    to the system at once (mallopt(3), M_MMAP_THRESHOLD). It is never written to, so it costs
    nothing; other C libraries do not care. Before the first pass it would cost 150 MB: constants
    made in between would then stand among temporaries that are given back.
    """
    torch.empty((32 << 20) - (64 << 10), dtype=torch.uint8)
