"""Eyes and mouth: where they lie in a crop, and how much more they count.

In the GPEN template they are always at the same place, small, and what a viewer looks at first.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ..faces.templates import template
from .placement import Placement

# Half axes, as shares of the crop's side.
_AXES = {"eyes": (0.105, 0.07), "mouth": (0.14, 0.085)}
NAMES = tuple(_AXES)
# Sides of the squares cut out for a discriminator, in sixteenths of the crop's.
_SQUARES = {"eyes": 4, "mouth": 5}


def region(name: str, size: int, places: Tensor) -> Tensor:
    """(N, 1, S, S), 1 in the middle of the eyes or the mouth, falling smoothly to 0 around them.

    Args:
        name: one of `NAMES`.
        size: side of the crops in pixels.
        places: (N, 4), `Placement.row` of each.
    """
    across, down = _AXES[name]
    steps = torch.arange(size, dtype=places.dtype, device=places.device)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    scale = (size * places[:, 1])[:, None, None]
    cos, sin = places[:, 0].cos()[:, None, None], places[:, 0].sin()[:, None, None]
    total = torch.zeros(len(places), size, size, dtype=places.dtype, device=places.device)
    for center in centers(name, size, places).unbind(dim=1):
        dx, dy = (v - center[:, axis, None, None] for axis, v in ((0, x), (1, y)))
        along, beside = cos * dx + sin * dy, cos * dy - sin * dx
        distance = (along / (across * scale)).square() + (beside / (down * scale)).square()
        total = torch.maximum(total, torch.exp(-distance.square()))
    return total[:, None]


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
    middles = centers(name, size, Placement().row().double())[0].tolist()
    xs, ys = ([middle[axis] for middle in middles] for axis in (0, 1))
    left, right = min(xs) - across, max(xs) + across
    top, bottom = min(ys) - down, max(ys) + down
    return round(left), round(top), round(right), round(bottom)


def focus(factors: Mapping[str, float], size: int, places: Tensor) -> Tensor:
    """(N, 1, S, S): 1, rising to each region's factor in its middle."""
    total = torch.ones(len(places), 1, size, size, dtype=places.dtype, device=places.device)
    for name, factor in factors.items():
        if factor != 1:
            total = torch.maximum(total, 1 + (factor - 1) * region(name, size, places))
    return total


def squares(name: str, images: Tensor, places: Tensor | None = None) -> Tensor:
    """A region cut out upright and at its own scale, for a discriminator; differentiable.

    Args:
        name: one of `NAMES`.
        images: (N, 3, S, S).
        places: (N, 4), `Placement.row` of each picture; unmoved unless given.

    Returns:
        Eyes: (N, 6, S / 4, S / 4), the image-left eye and the other one mirrored, so that whoever
        looks at a pixel sees both. Mouth: (N, 3, 5 S / 16, 5 S / 16).

    Example:
        >>> squares("eyes", torch.rand(2, 3, 256, 256)).shape
        torch.Size([2, 6, 64, 64])
    """
    size = images.shape[-1]
    side = _SQUARES[name] * size // 16
    if places is None:
        places = Placement().row().expand(len(images), -1)
    places = places.to(images.device, torch.float32)
    steps = torch.arange(side, device=images.device) - (side - 1) / 2
    down, across = torch.meshgrid(steps, steps, indexing="ij")
    offsets = torch.stack((across, down), dim=-1).view(1, -1, 2) @ _turns(places).mT
    cut = []
    for center in centers(name, size, places).unbind(dim=1):
        points = (center[:, None] + offsets).view(-1, side, side, 2)
        grid = (2 * points + 1) / size - 1
        cut.append(
            F.grid_sample(images, grid.to(images.dtype), padding_mode="border", align_corners=False)
        )
    if name == "eyes":
        cut[1] = cut[1].flip(-1)
    return torch.cat(cut, dim=1)


def centers(name: str, size: int, places: Tensor) -> Tensor:
    """(N, K, 2): where the K parts of a region lie in crops of `size` pixels, x and y.

    Args:
        name: "eyes" has two parts, "mouth" one.
        size: side of the crop in pixels.
        places: (N, 4), `Placement.row` of each crop.

    Example:
        >>> centers("mouth", 256, Placement().row()).round()
        tensor([[[128., 183.]]])
    """
    points = template("gpen", size).to(places)
    middle = points.mean(dim=0)
    wanted = points[:2] if name == "eyes" else points[3:].mean(dim=0, keepdim=True)
    moved = (wanted - middle)[None] @ _turns(places).mT
    return moved + middle + size * places[:, None, 2:]


def landmarks(size: int, places: Tensor) -> Tensor:
    """(N, 5, 2): eyes, nose and corners of the mouth in crops of `size` pixels, x and y.

    Args:
        size: side of the crop in pixels.
        places: (N, 4), `Placement.row` of each crop.

    Example:
        >>> landmarks(256, Placement().row()).shape
        torch.Size([1, 5, 2])
    """
    points = template("gpen", size).to(places)
    middle = points.mean(dim=0)
    moved = (points - middle)[None] @ _turns(places).mT
    return moved + middle + size * places[:, None, 2:]


def _turns(places: Tensor) -> Tensor:
    """(N, 2, 2): rotation times scale."""
    cos, sin = places[:, 0].cos(), places[:, 0].sin()
    rows = torch.stack((cos, -sin, sin, cos), dim=1).view(-1, 2, 2)
    return places[:, 1, None, None] * rows
