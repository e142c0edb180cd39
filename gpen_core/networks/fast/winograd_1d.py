"""3x3 convolution by Winograd's minimal filtering in one dimension, down the columns: F(8, 3).

Ten row convolutions (1x3) make eight rows of output where the direct form needs twenty-four: five
products for twelve. The two-dimensional algorithm in `winograd_2d.py` needs a quarter, but its
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


@functools.cache
def _transforms(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A' (8, 10), G (10, 3), B' (10, 10), and ten shares of a bias: A' maps them to eight ones."""
    inverse, kernel, data = matrices(TILE, 3)
    shares = torch.linalg.pinv(inverse).sum(dim=1)
    parts = [part.to(device, dtype) for part in (inverse, kernel, data, shares)]
    return parts[0], parts[1], parts[2], parts[3]


@dataclass(frozen=True)
class Winograd1dConvolution:
    """3x3 convolution of one sample, without padding of its own.

    Attributes:
        weight: (K, C, 3, 3), modulated.
        bias: (K,).
        row_filters: ten of (K, C, 1, 3), channels last.
        row_biases: ten of (K,).
    """

    weight: Tensor
    bias: Tensor
    row_filters: tuple[Tensor, ...]
    row_biases: tuple[Tensor, ...]

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor) -> Winograd1dConvolution:
        """Transforms a (K, C, 3, 3) weight; the bias (K,) goes with it."""
        _, kernel, _, shares = _transforms(weight.dtype, weight.device)
        rows = torch.tensordot(kernel, weight, dims=([1], [2]))  # (10, K, C, 3)
        filters = [row.unsqueeze(2).contiguous(memory_format=torch.channels_last) for row in rows]
        return cls(weight, bias, tuple(filters), tuple(shares[:, None] * bias))

    def rows(self, padded: Tensor, workspace: Workspace) -> Tensor:
        """(1, C, H + 2, W + 2) -> (1, K, H, W), which lives in the workspace as `transformed`.

        `padded` is channels last, its rows contiguous in memory; H is a multiple of 8.
        """
        _, c, height, width = padded.shape
        height, k = height - 2, len(self.bias)
        inverse, _, data, _ = _transforms(padded.dtype, padded.device)
        rows = padded[0].permute(1, 2, 0).flatten(1)
        tiles = height // TILE
        transformed = workspace.take("transformed", (PATCH, tiles, rows.shape[1]), padded)
        transform_rows(rows, data, TILE, transformed)
        points = self._points(transformed.view(PATCH, tiles, width, c))
        products = torch.cat(
            points, out=workspace.take("products", (PATCH, tiles, (width - 2) * k), padded)
        )
        out = workspace.take("transformed", (height, (width - 2) * k), padded)
        torch.bmm(
            inverse.expand(tiles, TILE, PATCH),
            products.permute(1, 0, 2),
            out=out.view(tiles, TILE, -1),
        )
        return out.view(1, height, width - 2, k).permute(0, 3, 1, 2)

    def rows_reference(self, padded: Tensor, workspace: Workspace) -> Tensor:
        """What `rows` gives, by the direct convolution."""
        return F.conv2d(padded, self.weight, self.bias)

    def _points(self, transformed: Tensor) -> list[Tensor]:
        """(10, tiles, W + 2, C) -> ten of (1, tiles, W K): each point's rows by its filter."""
        return [
            F.conv2d(rows[None].permute(0, 3, 1, 2), filters, bias).permute(0, 2, 3, 1).flatten(2)
            for rows, filters, bias in zip(
                transformed, self.row_filters, self.row_biases, strict=True
            )
        ]
