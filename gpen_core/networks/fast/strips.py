"""How a picture is cut into rows: strips that stay in the cache, bands that lanes share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..layers import NEGATIVE_SLOPE

# Strips and bands start at multiples of it: whole tiles of either Winograd form.
STEP = 8


def strip_height(row_bytes: int, side: int, strip_bytes: float) -> int:
    """Rows per strip, 8 times a power of two, that fill up to `strip_bytes`.

    Example:
        >>> strip_height(row_bytes=1 << 17, side=512, strip_bytes=8 << 20)
        64
    """
    height = STEP
    while 2 * height <= side and 2 * height * row_bytes <= strip_bytes:
        height *= 2
    return height


def bands(side: int, lanes: int, fewest: int) -> list[tuple[int, int]]:
    """First and last rows of the bands in which `lanes` share a picture.

    One band if they had fewer than `fewest` rows each; all but the first compute up to nine rows
    that the one above computes too.

    Example:
        >>> bands(256, lanes=3, fewest=32)
        [(0, 88), (88, 176), (176, 256)]
    """
    if side < lanes * fewest:
        return [(0, side)]
    rows = STEP * math.ceil(side / lanes / STEP)
    return [(top, min(top + rows, side)) for top in range(0, side, rows)]


def activate(x: Tensor, out: Tensor) -> None:
    """`out = leaky_relu(x)`; the gain is in the weights and biases already."""
    torch.ops.aten.leaky_relu.out(x, NEGATIVE_SLOPE, out=out)
