"""3x3 convolution by Winograd's minimal filtering down the columns only, F(4, 3).

Six row convolutions (1x3) make four rows of output where the direct form needs twelve: half the
products. The two-dimensional algorithm in `winograd.py` needs a quarter, but its transforms read
and write 36 values for every 16 pixels and win with many channels only. Here the transforms take
whole rows as they lie in memory, as products of a 6x6 and a 4x6 matrix with them; nothing is
gathered. That pays at high resolutions, where the channels are few (Lavin and Gray, 2016, give the
algorithm; `winograd.matrices` its matrices).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .winograd import PATCH, TILE, matrices
from .workspace import Workspace

# Bytes of input that are transformed at a time; what is made of them should stay in the cache.
CHUNK_BYTES = 8 << 20


@dataclass(frozen=True)
class Columns:
    """Transformed weights: six of (K, C, 1, 3), channels last, and six biases (K,)."""

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]


@functools.cache
def _transforms(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A' (4, 6), G (6, 3), B' (6, 6), and the six shares of a bias: A' maps them to four ones."""
    inverse, kernel, data = matrices()
    shares = torch.linalg.pinv(inverse).sum(dim=1)
    parts = [part.to(device, dtype) for part in (inverse, kernel, data, shares)]
    return parts[0], parts[1], parts[2], parts[3]


def transform_weight(weight: Tensor, bias: Tensor) -> Columns:
    """Of a (K, C, 3, 3) convolution with its bias (K,)."""
    _, kernel, _, shares = _transforms(weight.dtype, weight.device)
    rows = torch.tensordot(kernel, weight, dims=([1], [2]))  # (6, K, C, 3)
    weights = [row.unsqueeze(2).contiguous(memory_format=torch.channels_last) for row in rows]
    return Columns(tuple(weights), tuple(shares[:, None] * bias))


def convolve(padded: Tensor, weight: Columns, workspace: Workspace) -> Tensor:
    """The convolution without further padding: (1, C, H + 2, W + 2) -> (1, K, H, W).

    What it gives lives in the workspace.

    Args:
        padded: channels last, rows contiguous in memory; H a multiple of 4.
        weight: of `transform_weight`.
        workspace: keeps the intermediate results of a chunk.
    """
    _, c, height, width = padded.shape
    height, k = height - 2, weight.biases[0].shape[0]
    inverse, _, data, _ = _transforms(padded.dtype, padded.device)
    rows = padded[0].permute(1, 2, 0).flatten(1)
    out = workspace.take("rows", (height, (width - 2) * k), padded)
    length = rows.shape[1]
    tile_bytes = TILE * length * rows.element_size()
    tiles = height // TILE
    chunk = min(tiles, max(1, CHUNK_BYTES // tile_bytes))
    transformed = workspace.take("transformed", (PATCH, chunk, length), padded)
    for first in range(0, tiles, chunk):
        count = min(chunk, tiles - first)
        # All tiles at once: several small products share the threads better than one after another.
        patches = rows.as_strided(
            (count, PATCH, length), (TILE * length, length, 1),
            rows.storage_offset() + first * TILE * length,
        )  # fmt: skip
        target = transformed[:, :count].permute(1, 0, 2)
        torch.bmm(data.expand(count, PATCH, PATCH), patches, out=target)
        points = _points(transformed.view(PATCH, chunk, width, c)[:, :count], weight)
        shape = (PATCH, count, (width - 2) * k)
        products = torch.cat(points, out=workspace.take("products", shape, padded))
        torch.bmm(
            inverse.expand(count, TILE, PATCH), products.permute(1, 0, 2),
            out=out[TILE * first : TILE * (first + count)].view(count, TILE, -1),
        )  # fmt: skip
    return out.view(1, height, width - 2, k).permute(0, 3, 1, 2)


def _points(transformed: Tensor, weight: Columns) -> list[Tensor]:
    """(6, tiles, W + 2, C) -> six of (1, tiles, W K): every point's rows through its own filter."""
    return [
        F.conv2d(rows[None].permute(0, 3, 1, 2), filters, bias).permute(0, 2, 3, 1).flatten(2)
        for rows, filters, bias in zip(transformed, weight.weights, weight.biases, strict=True)
    ]
