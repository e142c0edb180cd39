"""3x3 convolution by Winograd's minimal filtering, F(4x4, 3x3): 36 products where 144 were.

Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*, 2016. Each 4x4 tile of the
output comes from a 6x6 patch of the input: `Y = A' [(G g G') * (B' d B)] A`. The transforms are
matrix products, first down the columns and then along the rows, and the elementwise product in the
middle is one batched product over channels: plain PyTorch runs all of it at the speed of matrix
products. But 36 values are read and written for every 16 pixels, which pays with many channels
only. Rounding is about five times that of the direct convolution, 1e-6 relative in float32; half
precision would lose too much.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from .minimal_filter import matrices, transform_rows
from .workspace import Workspace

TILE = 4
PATCH = TILE + 2
# Bytes of patches in one chunk: more than stay in the cache, because each reads all of the weights,
# up to 75 MB.
CHUNK_BYTES = 9 << 20


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


def convolve(padded: Tensor, weight: Tensor, style: Tensor, gain: Tensor, bias: Tensor,
             out: Tensor, workspace: Workspace) -> None:  # fmt: skip
    """`out = conv3x3(padded * style) * gain + bias`, without further padding.

    Args:
        padded: (N, H + 2, W + 2, C), channels last in memory; H and W multiples of 4.
        weight: (36, C, K) of `transform_weight`.
        style: (N, C), factors of the input channels.
        gain: (N, K), factors of the output channels.
        bias: (K,).
        out: (N, H, W, K) view that is written.
        workspace: keeps the intermediate results of a chunk.
    """
    n, height, width, k = out.shape
    c = padded.shape[3]
    rows, columns = height // TILE, width // TILE
    row_bytes = PATCH * PATCH * n * columns * c * padded.element_size()
    chunk = min(rows, max(1, CHUNK_BYTES // row_bytes))
    inverse, data = _transforms(padded.dtype, padded.device)
    gain, bias = gain.view(n, 1, 1, 1, 1, k), bias.view(1, 1, 1, 1, 1, k)
    for first in range(0, rows, chunk):
        count = min(chunk, rows - first)
        size = n * count * columns
        # Each step reads one of two buffers and writes the other.
        patches = _patches(padded, style, first, count, workspace).view(PATCH, PATCH, -1)
        transformed = workspace.take("transformed", (PATCH, PATCH, size * c), padded)
        torch.bmm(data.expand(PATCH, PATCH, PATCH), patches, out=transformed)
        products = workspace.take("products", (PATCH * PATCH, size, k), padded)
        torch.bmm(transformed.view(PATCH * PATCH, size, c), weight, out=products)
        half = workspace.take("transformed", (PATCH, TILE, size * k), padded)
        torch.bmm(inverse.expand(PATCH, TILE, PATCH), products.view(PATCH, PATCH, -1), out=half)
        tiles = workspace.take("products", (TILE, TILE * size * k), padded)
        torch.mm(inverse, half.view(PATCH, -1), out=tiles)
        target = out[:, first * TILE : (first + count) * TILE]
        target = target.unflatten(1, (count, TILE)).unflatten(3, (columns, TILE))
        tiles = tiles.view(TILE, TILE, n, count, columns, k).permute(2, 3, 0, 4, 1, 5)
        torch.addcmul(bias, tiles, gain, out=target)


def _patches(padded: Tensor, style: Tensor, first: int, count: int, workspace: Workspace) -> Tensor:
    """Of `count` rows of tiles, transformed down the columns: (6, 6, N, count, columns, C)."""
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
    return torch.mul(overlapping, style.view(n, 1, 1, c), out=patches)
