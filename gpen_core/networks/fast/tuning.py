"""`Tuning`: the numbers that decide which path is taken and how much memory it may use.

They change time and memory, never the picture. The defaults are measured (docs/performance.md) on
x86 CPUs with 32 MB of last-level cache.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..gpen import GPENConfig
from .workspace import KEPT_BYTES

# From this size of picture on, 100 MB of derived weights are little beside the activations.
LARGE = 1024


@dataclass(frozen=True)
class Tuning:
    """What is traded for what; the CPU's unless a line says otherwise.

    Attributes:
        strip_side: from this side in strips of rows: less memory traffic, more calls.
        strip_bytes: of a strip's widest buffer: cache misses above, calls and halos below.
        winograd_strips: times `strip_bytes` where a strip's convolution is by Winograd's algorithm:
            weights read less often, more memory.
        band_rows: the fewest rows a lane takes: waiting for one another, rows computed twice.
        winograd_2d_side: from this side, with enough channels, two-dimensional Winograd: a quarter
            of the products for four times the memory of the weights.
        winograd_2d_channels: from so many input channels; with fewer the transforms cost more.
        winograd_2d_chunk_bytes: of patches at once: weights read less often, more memory.
        winograd_1d_channels: from so many input channels a strip uses one-dimensional Winograd:
            five twelfths of the products, transforms of every row.
        stored_weight_bytes: up to this size a transposed convolution's weight is kept as PyTorch
            uses it: memory, against reordering it in each pass.
        kept_bytes: largest buffer that stays from pass to pass: idle memory, against page faults.
            One face of 2048 px needs 270 MB.
        cuda_graphs: recordings a network keeps on CUDA: launching kernels, against the memory of
            all activations for each. 0: no graphs, as they have not been measured.

    Example:
        >>> Tuning.of(GPENConfig.create(512)).winograd_strips
        1
        >>> Tuning.of(GPENConfig.create(1024)).winograd_strips
        2
    """

    strip_side: int = 128
    strip_bytes: int = 8 << 20
    winograd_strips: int = 1
    band_rows: int = 32
    winograd_2d_side: int = 64
    winograd_2d_channels: int = 512
    winograd_2d_chunk_bytes: int = 9 << 20
    winograd_1d_channels: int = 64
    stored_weight_bytes: int = 10 << 20
    kept_bytes: int = KEPT_BYTES
    cuda_graphs: int = 0

    @classmethod
    def of(cls, config: GPENConfig) -> Tuning:
        """The defaults for a network of this size."""
        if config.out_size >= LARGE:
            return cls(winograd_strips=2, winograd_2d_side=32, stored_weight_bytes=1 << 30)
        return cls()
