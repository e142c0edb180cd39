"""Boxes as tensors: area, overlap, suppression.

A box is `x0, y0, x1, y1`. Written out here because torchvision, which has the same, is often
missing or built for another PyTorch.
"""

from __future__ import annotations

import torch
from torch import Tensor


def box_areas(boxes: Tensor) -> Tensor:
    """(N, 4) -> (N,) areas; a box turned inside out has none."""
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0)
    return sides[:, 0] * sides[:, 1]


def short_sides(boxes: Tensor) -> Tensor:
    """(N, 4) -> (N,) lengths of the shorter side."""
    return (boxes[:, 2:] - boxes[:, :2]).amin(dim=1)


def square_boxes(boxes: Tensor) -> Tensor:
    """(N, 4) -> (N, 4) squares of the longer side around the same centers."""
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1, keepdim=True) / 2
    return torch.cat([centers - half, centers + half], dim=1)


def overlaps(boxes: Tensor, of_smaller: bool = False) -> Tensor:
    """(N, 4) -> (N, N): intersection over union, or over the smaller of the two areas.

    The second measure is 1 for a box inside another one, whatever their sizes.

    Example:
        >>> overlaps(torch.tensor([[0.0, 0, 10, 10], [0, 0, 5, 10]]))[0]
        tensor([1.0000, 0.5000])
    """
    corner0 = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    corner1 = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    width, height = (corner1 - corner0).clamp(min=0).unbind(-1)
    shared = width * height
    areas = box_areas(boxes)
    if of_smaller:
        whole = torch.minimum(areas[:, None], areas[None])
    else:
        whole = areas[:, None] + areas[None] - shared
    return shared / whole.clamp(min=1e-9)


def suppress(boxes: Tensor, scores: Tensor, limit: float, of_smaller: bool = False) -> Tensor:
    """Indices of the boxes that no better kept box overlaps by more than `limit`, best first.

    The greedy rule (non-maximum suppression) without a loop over boxes: "kept" is the fixed point
    of "no kept box of higher score overlaps me", reached after as many rounds as the longest chain
    of overlapping boxes, in practice a handful.

    Args:
        boxes: (N, 4).
        scores: (N,); equal scores keep their order.
        limit: 0..1, see `overlaps`.

    Returns:
        (M,) int64, M <= N.
    """
    order = scores.argsort(descending=True, stable=True)
    beaten_by = (overlaps(boxes[order], of_smaller) > limit).tril(-1)
    kept = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    while True:
        still = ~(beaten_by & kept).any(dim=1)
        if bool((still == kept).all()):
            return order[kept]
        kept = still
