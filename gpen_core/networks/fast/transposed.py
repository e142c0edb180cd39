"""The upsampling convolution of one sample, row by row from top to bottom.

With rows x[i] of height H, zero outside, and the kernel's rows w[0], w[1], w[2], the transposed one
is `y[2i] = w[0] x[i] + w[2] x[i - 1]` and `y[2i + 1] = w[1] x[i]`, 2H + 1 rows; row r of the result
is the blur of y[r - 1] to y[r + 2]. `Direct` takes each row of x once. `Columns` keeps what it made
for the next strip and makes four even rows from five row convolutions where eight were, by
Winograd's F(4, 2) down the columns: 9 for 12 in all (see `columns.py`).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .minimal_filter import matrices, transform_rows
from .workspace import Workspace

# Even rows of y, and the row convolutions they need.
TILE = 4
POINTS = TILE + 1
# Rows of y that one tile of x becomes.
STEP = 2 * TILE
# Rows of the result that x[i] and what is above it give to, from row 2i on.
OVERLAP = 4


class Upsampled(Protocol):
    """Rows of the blurred y, asked for from top to bottom."""

    def rows(self, first: int, last: int) -> Tensor:
        """(1, K, last - first, 2W): rows `first` to `last - 1`, the latter odd."""


@dataclass(frozen=True)
class Blur:
    """`kernel` (K, 1, 4, 4) and `bias` (K,), after the transposed convolution."""

    kernel: Tensor
    bias: Tensor

    def __call__(self, y: Tensor, margin: int) -> Tensor:
        """(1, K, h, 2W + 1), `margin` rows of zeros about it -> (1, K, h + 2 margin - 3, 2W)."""
        padding = (margin, 1)
        return F.conv2d(y, self.kernel, self.bias, padding=padding, groups=len(self.kernel))


class Direct:
    """Overlap and add: what the rows of x so far give to rows below is kept and added there.

    Args:
        x: (1, C, H + 2, W), a row of zeros above and below.
        weight: (C, K, 3, 3), modulated.
        blur: of y.
        top: the first row asked for is the one before this even one; or zero.
    """

    def __init__(self, x: Tensor, weight: Tensor, blur: Blur, top: int) -> None:
        self.x, self.weight, self.blur = x, weight, blur
        self.next = max(top // 2 - 2, 0)  # the row of x that comes next
        self.carry: Tensor | None = None

    def rows(self, first: int, last: int) -> Tensor:
        begin, end = self.next, last // 2 + 1
        y = F.conv_transpose2d(self.x[:, :, begin + 1 : end + 1], self.weight, stride=2)
        z = self.blur(y, margin=3)  # rows 2 begin - 2 to 2 end + 1, the last four still lacking
        if self.carry is not None:
            z[:, :, :OVERLAP] += self.carry
        self.next, self.carry = end, z[:, :, -OVERLAP:] - self.blur.bias.view(-1, 1, 1)
        above = 2 * begin - 2
        return z[:, :, first - above : last - above]


def transform_weight(weight: Tensor) -> Tensor:
    """(C, K, 3, 3) -> (6, C, 1, 3, K): five points of the even rows, and the odd rows' own."""
    _, kernel, _ = matrices(TILE, 2)
    rows = weight.permute(2, 0, 3, 1)  # (3, C, 3, K)
    even = torch.tensordot(kernel.to(weight), rows[[2, 0]], dims=1)
    return torch.cat((even, rows[1:2])).unsqueeze(2).contiguous()


@functools.cache
def _transforms(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """B' (5, 5), and (8, 9): five points and four odd rows -> eight rows in order."""
    inverse, _, data = matrices(TILE, 2)
    joined = torch.zeros(STEP, POINTS + TILE, dtype=torch.float64)
    joined[::2, :POINTS] = inverse
    joined[1::2, POINTS:] = torch.eye(TILE, dtype=torch.float64)
    return data.to(device, dtype), joined.to(device, dtype)


class Columns:
    """No row twice, and fewer products.

    Args:
        x: (1, C, H + 2, W), a row of zeros above and below; rows contiguous, H a multiple of 4.
        weight: (6, C, 1, 3, K) of `transform_weight`, modulated.
        blur: of y.
        top: as in `Direct`.
        height: rows that are asked for at once, at most.
        workspace: keeps the rows and the intermediate results.
    """

    def __init__(
        self,
        x: Tensor,
        weight: Tensor,
        blur: Blur,
        top: int,
        height: int,
        workspace: Workspace,
    ) -> None:
        self.filters = [part.permute(0, 3, 1, 2) for part in weight]
        self.blur = blur
        self.low = x[0].permute(1, 2, 0)  # (H + 2, W, C)
        self.width = 2 * x.shape[3] + 1
        self.k = weight.shape[-1]
        self.workspace = workspace
        shape = (height + 4 * STEP, self.width * self.k)
        self.made = workspace.take("transposed", shape, x)
        self.made[0] = 0
        # Which rows of y `made` starts with and ends before: y[-1], or none yet.
        self.first, self.last = (top - STEP, top - STEP) if top else (-1, 0)

    def rows(self, first: int, last: int) -> Tensor:
        return self.blur(self._transposed(first - 1, last + 2), margin=0)

    def _transposed(self, first: int, last: int) -> Tensor:
        """(1, K, last - first, 2W + 1): rows of y."""
        past = max(min(first, self.last) - self.first, 0)
        kept = self.made[past : self.last - self.first]
        self.made[: len(kept)] = kept.clone()
        self.first += past
        bottom = 2 * (len(self.low) - 2)
        tiles = (min(last, bottom) - self.last + STEP - 1) // STEP
        if tiles > 0:
            self._make(tiles)
        if last > bottom:
            self._end()
        rows = self.made[first - self.first : last - self.first]
        return rows.view(1, last - first, self.width, self.k).permute(0, 3, 1, 2)

    def _make(self, tiles: int) -> None:
        """The next rows: eight from each of `tiles` groups of four rows of x."""
        _, width, c = self.low.shape
        begin = self.last // 2
        data, inverse = _transforms(self.low.dtype, self.low.device)
        points = self.workspace.take("transformed", (POINTS, tiles, width * c), self.low)
        transform_rows(self.low[begin:].flatten(1), data, TILE, points)
        parts = [
            self._row_convolution(rows.view(tiles, width, c), filters)[None]
            for rows, filters in zip(points, self.filters, strict=False)
        ]
        own = self.low[begin + 1 : begin + 1 + TILE * tiles]
        odd = self._row_convolution(own, self.filters[POINTS])
        parts.append(odd.view(tiles, TILE, -1).transpose(0, 1))
        shape = (POINTS + TILE, tiles, self.width * self.k)
        products = torch.cat(parts, out=self.workspace.take("products", shape, self.low))
        target = self.made[self.last - self.first :][: STEP * tiles]
        torch.bmm(
            inverse.expand(tiles, STEP, POINTS + TILE), products.transpose(0, 1),
            out=target.view(tiles, STEP, -1),
        )  # fmt: skip
        self.last += STEP * tiles

    def _end(self) -> None:
        """y[2H] = w[2] x[H - 1], and the row of zeros below it."""
        _, kernel, _ = matrices(TILE, 2)
        end = self.made[self.last - self.first :]
        end[0] = self._row_convolution(self.low[-2:-1], self.filters[0])[0] / kernel[0, 0].item()
        end[1] = 0

    def _row_convolution(self, rows: Tensor, filters: Tensor) -> Tensor:
        """(R, W, C) -> (R, (2W + 1) K)."""
        y = F.conv_transpose2d(rows[None].permute(0, 3, 1, 2), filters, stride=(1, 2))
        return y[0].permute(1, 2, 0).flatten(1)
