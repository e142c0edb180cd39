"""3x3 convolution by Winograd's minimal filtering in two dimensions, F(4x4, 3x3).

36 products where 144 were (Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*,
2016). Each 4x4 tile of the output comes from a 6x6 patch of the input:
`Y = A' [(G g G') * (B' d B)] A`. The transforms are matrix products, first down the columns and
then along the rows, and the elementwise product in the middle is one batched product over channels:
plain PyTorch runs all of it at the speed of matrix products. But 36 values are read and written for
every 16 pixels, which pays with many channels only. Rounding is about five times that of the direct
convolution, 1e-6 relative in float32; half precision would lose too much.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .minimal_filter import matrices, transform_rows
from .modulation import Modulation
from .workspace import Workspace

TILE = 4
PATCH = TILE + 2


@functools.cache
def _transforms(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """A' (4, 6) and B' (6, 6)."""
    inverse, _, data = matrices(TILE, 3)
    return inverse.to(device, dtype), data.to(device, dtype)


def transform_weight(weight: Tensor) -> Tensor:
    """(K, C, 3, 3) -> (36, C, K): four times the memory, made once."""
    _, kernel, _ = matrices(TILE, 3)
    square = torch.kron(kernel, kernel).to(weight)
    k, c = weight.shape[:2]
    return (square @ weight.permute(2, 3, 1, 0).reshape(9, c * k)).view(PATCH * PATCH, c, k)


@dataclass(frozen=True)
class Winograd2dConvolution:
    """3x3 convolution of a batch with a style around it, without padding of its own.

    Attributes:
        weight: (K, C, 3, 3), the network's own.
        transformed: (36, C, K), of `transform_weight`.
        modulation: of the N samples.
        chunk_bytes: of patches at once, see `Tuning.winograd_2d_chunk_bytes`.
    """

    weight: Tensor
    transformed: Tensor
    modulation: Modulation
    chunk_bytes: int

    def rows(self, padded: Tensor, workspace: Workspace) -> Tensor:
        """(N, C, H + 2, W + 2) -> (N, K, H, W), which lives in the workspace as `rows`."""
        n, _, height, width = padded.shape
        shape = (n, height - 2, width - 2, len(self.weight))
        out = workspace.take("rows", shape, padded).permute(0, 3, 1, 2)
        self.convolve(padded, out, workspace)
        return out

    def convolve(self, padded: Tensor, out: Tensor, workspace: Workspace) -> None:
        """`out = conv3x3(padded * style) * gain + bias`.

        Args:
            padded: (N, C, H + 2, W + 2), channels last in memory; H and W multiples of 4.
            out: (N, K, H, W), written: channels last, or some of a larger tensor's channels.
            workspace: keeps the intermediate results of a chunk as `transformed` and `products`.
        """
        padded, out = padded.permute(0, 2, 3, 1), out.permute(0, 2, 3, 1)
        n, height, width, _ = out.shape
        rows, columns = height // TILE, width // TILE
        row_bytes = PATCH * PATCH * n * columns * padded.shape[3] * padded.element_size()
        chunk = min(rows, max(1, self.chunk_bytes // row_bytes))
        for first in range(0, rows, chunk):
            count = min(chunk, rows - first)
            tiles = self._tiles(padded, first, count, workspace)
            target = out[:, first * TILE : (first + count) * TILE]
            target = target.unflatten(1, (count, TILE)).unflatten(3, (columns, TILE))
            gain = self.modulation.gain.view(n, 1, 1, 1, 1, -1)
            torch.addcmul(self.modulation.bias, tiles, gain, out=target)

    def convolve_reference(self, padded: Tensor, out: Tensor, workspace: Workspace) -> None:
        """What `convolve` writes, by the direct convolution."""
        y = F.conv2d(padded * self.modulation.style[:, :, None, None], self.weight)
        gain, bias = self.modulation.gain[:, :, None, None], self.modulation.bias[:, None, None]
        out.copy_(y * gain + bias)

    def _tiles(self, padded: Tensor, first: int, count: int, workspace: Workspace) -> Tensor:
        """`count` rows of tiles without gain and bias, (N, count, 4, columns, 4, K)."""
        n, _, width, c = padded.shape
        columns, k = width // TILE, self.transformed.shape[2]
        size = n * count * columns
        inverse, data = _transforms(padded.dtype, padded.device)
        # Each step reads one of two buffers and writes the other.
        patches = self._patches(padded, first, count, workspace).view(PATCH, PATCH, -1)
        transformed = workspace.take("transformed", (PATCH, PATCH, size * c), padded)
        torch.bmm(data.expand(PATCH, PATCH, PATCH), patches, out=transformed)
        products = workspace.take("products", (PATCH * PATCH, size, k), padded)
        torch.bmm(transformed.view(PATCH * PATCH, size, c), self.transformed, out=products)
        half = workspace.take("transformed", (PATCH, TILE, size * k), padded)
        torch.bmm(inverse.expand(PATCH, TILE, PATCH), products.view(PATCH, PATCH, -1), out=half)
        tiles = workspace.take("products", (TILE, TILE * size * k), padded)
        torch.mm(inverse, half.view(PATCH, -1), out=tiles)
        return tiles.view(TILE, TILE, n, count, columns, k).permute(2, 3, 0, 4, 1, 5)

    def _patches(self, padded: Tensor, first: int, count: int, workspace: Workspace) -> Tensor:
        """Of `count` rows of tiles, modulated, transformed down the columns.

        (6, 6, N, count, columns, C), in the workspace as `products`.
        """
        n, _, width, c = padded.shape
        columns = width // TILE
        _, data = _transforms(padded.dtype, padded.device)
        transformed = workspace.take("transformed", (PATCH, n, count, width * c), padded)
        for sample in range(n):
            rows = padded[sample, first * TILE :].flatten(1)
            transform_rows(rows, data, TILE, transformed[:, sample])
        overlapping = transformed.as_strided(
            (PATCH, PATCH, n, count, columns, c),
            (n * count * width * c, c, count * width * c, width * c, TILE * c, 1),
        )
        patches = workspace.take("products", tuple(overlapping.shape), padded)
        return torch.mul(overlapping, self.modulation.style.view(n, 1, 1, c), out=patches)
