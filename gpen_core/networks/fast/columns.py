"""3x3 convolution by Winograd's minimal filtering down the columns only, F(8, 3).

Ten row convolutions (1x3) make eight rows of output where the direct form needs twenty-four: five
products for twelve. The two-dimensional algorithm in `winograd.py` needs a quarter, but its
transforms read and write 36 values for every 16 pixels and win with many channels only. Here the
transforms take whole rows as they lie in memory, as products of a 10x10 and an 8x10 matrix with
them; nothing is gathered. That pays at high resolutions, where the channels are few.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .minimal_filter import matrices, transform_rows
from .workspace import Workspace

# Rows of output, and the row convolutions they need.
TILE = 8
PATCH = TILE + 2


@dataclass(frozen=True)
class Columns:
    """Transformed weights: ten of (K, C, 1, 3), channels last, and ten biases (K,)."""

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]


@functools.cache
def _transforms(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A' (8, 10), G (10, 3), B' (10, 10), and ten shares of a bias: A' maps them to eight ones."""
    inverse, kernel, data = matrices(TILE, 3)
    shares = torch.linalg.pinv(inverse).sum(dim=1)
    parts = [part.to(device, dtype) for part in (inverse, kernel, data, shares)]
    return parts[0], parts[1], parts[2], parts[3]


def transform_weight(weight: Tensor, bias: Tensor) -> Columns:
    """Of a (K, C, 3, 3) convolution with its bias (K,)."""
    _, kernel, _, shares = _transforms(weight.dtype, weight.device)
    rows = torch.tensordot(kernel, weight, dims=([1], [2]))  # (10, K, C, 3)
    weights = [row.unsqueeze(2).contiguous(memory_format=torch.channels_last) for row in rows]
    return Columns(tuple(weights), tuple(shares[:, None] * bias))


def convolve(padded: Tensor, weight: Columns, workspace: Workspace) -> Tensor:
    """The convolution without further padding: (1, C, H + 2, W + 2) -> (1, K, H, W).

    What it gives lives in the workspace.

    Args:
        padded: channels last, rows contiguous in memory; H a multiple of 8.
        weight: of `transform_weight`.
        workspace: keeps the intermediate results.
    """
    _, c, height, width = padded.shape
    height, k = height - 2, weight.biases[0].shape[0]
    inverse, _, data, _ = _transforms(padded.dtype, padded.device)
    rows = padded[0].permute(1, 2, 0).flatten(1)
    tiles = height // TILE
    transformed = workspace.take("transformed", (PATCH, tiles, rows.shape[1]), padded)
    transform_rows(rows, data, TILE, transformed)
    points = _points(transformed.view(PATCH, tiles, width, c), weight)
    products = torch.cat(
        points, out=workspace.take("products", (PATCH, tiles, (width - 2) * k), padded)
    )
    out = workspace.take("transformed", (height, (width - 2) * k), padded)
    torch.bmm(
        inverse.expand(tiles, TILE, PATCH), products.permute(1, 0, 2), out=out.view(tiles, TILE, -1)
    )
    return out.view(1, height, width - 2, k).permute(0, 3, 1, 2)


def _points(transformed: Tensor, weight: Columns) -> list[Tensor]:
    """(10, tiles, W + 2, C) -> ten of (1, tiles, W K): each point's rows through its filter."""
    return [
        F.conv2d(rows[None].permute(0, 3, 1, 2), filters, bias).permute(0, 2, 3, 1).flatten(2)
        for rows, filters, bias in zip(transformed, weight.weights, weight.biases, strict=True)
    ]
