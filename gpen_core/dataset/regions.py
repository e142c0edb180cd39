"""Eyes and mouth: where they lie in a crop, and how much more they count.

In the GPEN template they are always at the same place, small, and what a viewer looks at first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..faces.templates import template
from .placement import Placement

# Half axes, as shares of the crop's side.
_AXES = {"eyes": (0.105, 0.07), "mouth": (0.14, 0.085)}
NAMES = tuple(_AXES)


def region(name: str, size: int, placement: Placement) -> Tensor:
    """(1, 1, S, S), 1 in the middle of the eyes or the mouth, falling smoothly to 0 around them.

    Args:
        name: one of `NAMES`.
        size: side of the crop in pixels.
        placement: where the crop lies, relative to the template.
    """
    across, down = (half * size * placement.scale for half in _AXES[name])
    cos, sin = math.cos(placement.rotation), math.sin(placement.rotation)
    rows = torch.arange(size, dtype=torch.float32)
    y, x = torch.meshgrid(rows, rows, indexing="ij")
    total = torch.zeros(size, size)
    for center_x, center_y in _centers(name, size, placement):
        dx, dy = x - center_x, y - center_y
        along, beside = cos * dx + sin * dy, cos * dy - sin * dx
        distance = (along / across).square() + (beside / down).square()
        total = torch.maximum(total, torch.exp(-distance.square()))
    return total[None, None]


def box(name: str, size: int) -> tuple[int, int, int, int]:
    """The rectangle around a region of an unmoved crop: left, top, right, bottom in pixels.

    Args:
        name: one of `NAMES`; the eyes are in one rectangle.
        size: side of the crop in pixels.

    Example:
        >>> box("mouth", 256)
        (92, 162, 164, 205)
    """
    across, down = (half * size for half in _AXES[name])
    centers = _centers(name, size, Placement())
    xs, ys = ([center[axis] for center in centers] for axis in (0, 1))
    left, right = min(xs) - across, max(xs) + across
    top, bottom = min(ys) - down, max(ys) + down
    return round(left), round(top), round(right), round(bottom)


def focus(factors: Mapping[str, float], size: int, placement: Placement) -> Tensor:
    """(1, 1, S, S): 1, rising to each region's factor in its middle."""
    total = torch.ones(1, 1, size, size)
    for name, factor in factors.items():
        if factor != 1:
            total = torch.maximum(total, 1 + (factor - 1) * region(name, size, placement))
    return total


def _centers(name: str, size: int, placement: Placement) -> list[tuple[float, float]]:
    points = template("gpen", size)
    middle = points.mean(dim=0)
    wanted = points[:2] if name == "eyes" else points[3:].mean(dim=0, keepdim=True)
    cos, sin = math.cos(placement.rotation), math.sin(placement.rotation)
    turn = placement.scale * torch.tensor([[cos, -sin], [sin, cos]], dtype=points.dtype)
    shift = size * torch.tensor(placement.shift, dtype=points.dtype)
    moved = (wanted - middle) @ turn.T + middle + shift
    return [(float(x), float(y)) for x, y in moved]
