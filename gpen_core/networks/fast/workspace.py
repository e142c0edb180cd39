"""Large buffers kept from one pass to the next.

Memory fresh from the system costs a page fault for every 4 KB, at 1024 px a tenth of the time of a
pass. What was written once is reused as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

KEPT_BYTES = 300 << 20


class Workspace:
    """Named buffers, each grown to the largest size asked for; for one thread at a time.

    What a name gives is valid until the name is asked for again or the pass ends, so nothing that
    leaves the network may live here. Whoever uses it later reads somebody else's values, which
    look like a picture; with `poison` they read NaN.

    Args:
        kept_bytes: largest buffer that is kept, see `Tuning.kept_bytes`.
        poison: for tests. A name gives new memory each time, filled with NaN, and what it gave
            before is filled with NaN.

    Example:
        >>> like, workspace = torch.zeros(()), Workspace(poison=True)
        >>> early = workspace.take("rows", (2,), like).fill_(1)
        >>> late = workspace.take("rows", (2,), like).fill_(2)
        >>> early, late
        (tensor([nan, nan]), tensor([2., 2.]))
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES, poison: bool = False) -> None:
        self.kept_bytes, self.poison = kept_bytes, poison
        self._flat: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """A contiguous tensor of `shape`, of unset values, with the type and device of `like`.

        Kept up to `kept_bytes`, on a CPU: elsewhere PyTorch's own allocator keeps memory.
        """
        if self.poison:
            return self._take_poisoned(name, shape, like)
        size = math.prod(shape)
        if like.device.type != "cpu" or size * like.element_size() > self.kept_bytes:
            return like.new_empty(shape)
        flat = self._flat.get(name)
        if flat is None or flat.dtype != like.dtype or len(flat) < size:
            self._flat.pop(name, None)  # first give back, then take
            # One made in inference mode could not be written to outside of it.
            with torch.inference_mode(mode=False):
                flat = torch.empty(size, dtype=like.dtype)
            self._flat[name] = flat
        return flat[:size].view(shape)

    def _take_poisoned(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        if name in self._flat:
            self._flat[name].fill_(math.nan)
        with torch.inference_mode(mode=False):
            self._flat[name] = torch.full(
                (math.prod(shape),), math.nan, dtype=like.dtype, device=like.device
            )
        return self._flat[name].view(shape)

    def end_pass(self) -> None:
        """Nothing taken so far is used any more."""
        if self.poison:
            for flat in self._flat.values():
                flat.fill_(math.nan)

    def nhwc(self, name: str, shape: Sequence[int], like: Tensor) -> Tensor:
        """A tensor of `shape` (N, C, H, W), channels last, unset."""
        n, channels, height, width = shape
        return self.take(name, (n, height, width, channels), like).permute(0, 3, 1, 2)

    def square(
        self, name: str, shape: tuple[int, int, int], like: Tensor, margin: int = 0
    ) -> Tensor:
        """Pictures of `shape` (N, C, side): (N, C, side + 2 margin, side), channels last.

        The rows of the margins are zero, the others unset.
        """
        n, channels, side = shape
        padded = self.nhwc(name, (n, channels, side + 2 * margin, side), like)
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
