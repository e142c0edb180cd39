"""3x3 convolution by Winograd's minimal filtering, F(4x4, 3x3): 36 products where 144 were.

Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*, 2016. Each 4x4 tile of the
output comes from a 6x6 patch of the input: `Y = A' [(G g G') * (B' d B)] A`. Both transforms are
written as matrix products with Kronecker squares, so that plain PyTorch runs them at the speed of
a matrix multiplication, and the elementwise product in the middle becomes one batched product over
channels. The transforms cost about 1300/K + 600/C multiplications per product saved: worth it for
many channels only. Rounding is about five times that of the direct convolution, 1e-6 relative in
float32; half precision would lose too much.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from .minimal_filter import matrices
from .workspace import Workspace

TILE = 4
PATCH = TILE + 2
# The gathered patches of one chunk should stay within the last cache level, in bytes.
CHUNK_BYTES = 5 << 20


@functools.cache
def _squares(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The Kronecker squares (16, 36) of A' and (36, 36) of B'."""
    inverse, _, data = matrices(TILE, 3)
    squares = (torch.kron(m, m).to(device, dtype).contiguous() for m in (inverse, data))
    return next(squares), next(squares)


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
    inverse, data = _squares(padded.dtype, padded.device)
    style = style.view(n, 1, 1, c)
    gain, bias = gain.view(n, 1, 1, 1, 1, k), bias.view(1, 1, 1, 1, 1, k)
    for first in range(0, rows, chunk):
        count = min(chunk, rows - first)
        size = n * count * columns
        patches, transformed, products, tiles = (
            workspace.take(name, (points, size, width), padded)
            for name, points, width in (
                ("patches", 36, c),
                ("transformed", 36, c),
                ("products", 36, k),
                ("tiles", 16, k),
            )
        )
        torch.mul(
            _patches(padded, first, count, columns), style,
            out=patches.view(PATCH, PATCH, n, count, columns, c),
        )  # fmt: skip
        torch.mm(data, patches.view(36, -1), out=transformed.view(36, -1))
        torch.bmm(transformed, weight, out=products)
        torch.mm(inverse, products.view(36, -1), out=tiles.view(16, -1))
        target = out[:, first * TILE : (first + count) * TILE]
        target = target.unflatten(1, (count, TILE)).unflatten(3, (columns, TILE))
        tiles = tiles.view(TILE, TILE, n, count, columns, k).permute(2, 3, 0, 4, 1, 5)
        torch.addcmul(bias, tiles, gain, out=target)


def _patches(padded: Tensor, first: int, rows: int, columns: int) -> Tensor:
    """The overlapping 6x6 patches of `rows` rows of tiles: a view (6, 6, N, rows, columns, C)."""
    n, _, _, c = padded.shape
    sample, row, column, _ = padded.stride()
    return padded.as_strided(
        (PATCH, PATCH, n, rows, columns, c),
        (row, column, sample, TILE * row, TILE * column, 1),
        padded.storage_offset() + first * TILE * row,
    )
