"""Tiles of a picture too large to be searched at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tile:
    """A part of a picture that overlaps its neighbors, and the core that it answers for.

    The cores of all tiles are the picture, without overlap: what lies around a point belongs to
    one tile, which sees at least half of the overlap beyond it.

    Attributes:
        box: `x0, y0, x1, y1` of the part, whole pixels, the end not included.
        core: the same of its core; the outer edges of the picture are at infinity.
    """

    box: tuple[int, int, int, int]
    core: tuple[float, float, float, float]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        x0, y0, x1, y1 = self.box
        return y1 - y0, x1 - x0

    def apply(self, image: Tensor) -> Tensor:
        """(C, H, W) -> a view of the part."""
        x0, y0, x1, y1 = self.box
        return image[:, y0:y1, x0:x1]

    def points_back(self, points: Tensor) -> Tensor:
        """(..., 2) x, y of the part, in the picture."""
        return points + points.new_tensor(self.box[:2])

    def owns(self, points: Tensor) -> Tensor:
        """(N, 2) points of the picture -> (N,) bool: which lie in the core."""
        x0, y0, x1, y1 = self.core
        x, y = points.unbind(-1)
        return (x >= x0) & (x < x1) & (y >= y0) & (y < y1)


def tiles(size: tuple[int, int], side: int, overlap: int) -> list[Tile]:
    """The tiles of a picture of (height, width): as few as cover it, of about the same size.

    Args:
        size: of the picture.
        side: largest side of a tile, pixels.
        overlap: least overlap of neighbors, pixels, below `side`.

    Example:
        >>> [tile.box for tile in tiles((100, 180), 100, 20)]
        [(0, 0, 100, 100), (80, 0, 180, 100)]
    """
    height, width = size
    return [
        Tile((left[0], top[0], left[1], top[1]), (left[2], top[2], left[3], top[3]))
        for top in _spans(height, side, overlap)
        for left in _spans(width, side, overlap)
    ]


def _spans(length: int, side: int, overlap: int) -> list[tuple[int, int, float, float]]:
    """(start, stop, core start, core stop) along one axis."""
    count = 1 if length <= side else math.ceil((length - overlap) / (side - overlap))
    extent = min(side, length)
    steps = torch.linspace(0, length - extent, count).round().int().tolist()
    inner = [(after + before + extent) / 2 for before, after in pairwise(steps)]
    cores = [-math.inf, *inner, math.inf]
    return [
        (start, start + extent, *core) for start, core in zip(steps, pairwise(cores), strict=True)
    ]
