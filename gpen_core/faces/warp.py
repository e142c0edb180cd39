"""Resample a picture through a similarity: bicubic, antialiased, only where it is looked at.

What this adds to PyTorch's sampling: it cuts out the part of the source that the target sees, and
where the target has fewer pixels than that part, it shrinks the part with an antialiasing filter
first, so that the sampling itself only turns and shifts. Cost and memory follow the target, never
the size of the whole picture.

Coordinates have pixel centers at integers (OpenCV), which is PyTorch's `align_corners=True`.
"""

from __future__ import annotations

import logging
import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Border = Literal["reflect", "replicate"]

log = logging.getLogger(__name__)

# The filter leaves this many times the target's pixels a side for the sampling to choose from.
# Measured: with 1, the two filters in a row cost sharpness (a face warped there and back is 1.6
# times as far from its picture); with 1.5, a shrunk zone plate is 1.4 times as far from the ideal.
_OVERSAMPLING = 1.25


def square(matrices: Tensor) -> Tensor:
    """(..., 2, 3) affine matrices as (..., 3, 3) float64 on the CPU.

    Example:
        >>> square(torch.zeros(2, 3))[2].tolist()
        [0.0, 0.0, 1.0]
    """
    matrices = matrices.detach().to("cpu", torch.float64)
    last = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(*matrices.shape[:-2], 1, 3)
    return torch.cat([matrices, last], dim=-2)


def resize_matrix(scale_x: float, scale_y: float) -> Tensor:
    """What resizing a picture does to its coordinates: (3, 3) float64.

    Pixel areas scale, so with centers at integers `x' = (x + 0.5) * scale - 0.5`.
    """
    shift_x, shift_y = (scale_x - 1) / 2, (scale_y - 1) / 2
    rows = [[scale_x, 0.0, shift_x], [0.0, scale_y, shift_y], [0.0, 0.0, 1.0]]
    return torch.tensor(rows, dtype=torch.float64)


def shift_matrix(x: float, y: float) -> Tensor:
    """A shift by whole or broken pixels: (3, 3) float64.

    Example:
        >>> shift_matrix(10, 20)[:2, 2].tolist()
        [10.0, 20.0]
    """
    return torch.tensor([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]], dtype=torch.float64)


def warp(
    image: Tensor, matrix: Tensor, size: tuple[int, int], border: Border = "reflect"
) -> Tensor:
    """One picture seen through an affine map.

    Args:
        image: (C, H, W) float, any range. Computed in float32.
        matrix: (2, 3) or (3, 3), image pixels to target pixels; close to a similarity.
        size: (height, width) of the target.
        border: what lies outside the picture: its mirror image or its edge pixels.

    Returns:
        (C, *size) float32 on the image's device. Bicubic sampling can overshoot the image's range.
    """
    if image.device.type == "mps":
        log.debug("Apple's GPU lacks bicubic sampling; this warp runs on the CPU.")
        return warp(image.cpu(), matrix, size, border).to(image.device)
    matrix = square(matrix) if matrix.shape[-2] == 2 else matrix
    scale = math.sqrt(abs(float(torch.linalg.det(matrix[:2, :2]))))
    region = _needed_region(image, matrix, size, scale, border)
    patch = _cut(image, region, border)[None].float()
    matrix = matrix @ shift_matrix(region[0], region[1])
    filtered = scale * _OVERSAMPLING
    if filtered < 1:
        height, width = patch.shape[-2:]
        smaller = (max(2, round(height * filtered)), max(2, round(width * filtered)))
        patch = functional.interpolate(patch, smaller, mode="bicubic", antialias=True)
        matrix = matrix @ torch.linalg.inv(resize_matrix(smaller[1] / width, smaller[0] / height))
    return _sample(patch, matrix, size)[0]


def region_of(matrix: Tensor, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Bounding box `x0, y0, x1, y1` of a (height, width) rectangle's pixels mapped by (3, 3).

    Example:
        >>> region_of(shift_matrix(10, 20), (4, 6))
        (9.5, 19.5, 15.5, 23.5)
    """
    height, width = size
    corners = torch.tensor(
        [[x, y, 1.0] for x in (-0.5, width - 0.5) for y in (-0.5, height - 0.5)],
        dtype=torch.float64,
    )
    mapped = corners @ matrix[:2].T
    low, high = mapped.amin(0).tolist(), mapped.amax(0).tolist()
    return low[0], low[1], high[0], high[1]


def reach_at(scale: float) -> int:
    """How many pixels away a pixel is seen at most, when warped to so many times its size.

    Example:
        >>> reach_at(2.0), reach_at(0.5)
        (5, 9)
    """
    return math.ceil(4 / min(scale, 1.0)) + 1


def _needed_region(
    image: Tensor, matrix: Tensor, size: tuple[int, int], scale: float, border: Border
) -> tuple[int, int, int, int]:
    """Whole-pixel box of the image that the target sees, with the filters' reach around it."""
    height, width = image.shape[-2:]
    reach = reach_at(scale)
    x0, y0, x1, y1 = region_of(torch.linalg.inv(matrix), size)
    # Further out a replicated border brings nothing new, and a mirror image shows the same again.
    out_x, out_y = (reach, reach) if border == "replicate" else (width + reach, height + reach)
    left, right = _clamped(x0 - reach, x1 + reach, -out_x, width + out_x)
    top, bottom = _clamped(y0 - reach, y1 + reach, -out_y, height + out_y)
    return left, top, right, bottom


def _clamped(start: float, stop: float, low: int, high: int) -> tuple[int, int]:
    """A whole-number interval of two or more inside [low, high)."""
    first = min(max(math.floor(start), low), high - 2)
    return first, max(min(math.ceil(stop) + 1, high), first + 2)


def _cut(image: Tensor, region: tuple[int, int, int, int], border: Border) -> Tensor:
    """(C, h, w) part of a (C, H, W) image; a view where the region lies inside."""
    left, top, right, bottom = region
    height, width = image.shape[-2:]
    x0, x1 = min(max(left, 0), width - 1), max(min(right, width), 1)
    y0, y1 = min(max(top, 0), height - 1), max(min(bottom, height), 1)
    inside = image[:, y0:y1, x0:x1]
    outside = (x0 - left, right - x1, y0 - top, bottom - y1)
    if not any(outside):
        return inside
    beside = max(outside[:2]) < x1 - x0 and max(outside[2:]) < y1 - y0
    if min(outside) >= 0 and (beside or border == "replicate"):
        return functional.pad(inside[None].float(), outside, mode=border)[0]
    rows = _along(image, -2, top, bottom, border)
    return _along(rows, -1, left, right, border)


def _along(image: Tensor, axis: int, start: int, stop: int, border: Border) -> Tensor:
    """Pixels start..stop of one axis, however far they lie outside of the image."""
    length = image.shape[axis]
    index = torch.arange(start, stop, device=image.device)
    if border == "reflect" and length > 1:
        # Mirrored about the center of the edge pixel, as often as it takes.
        period = 2 * (length - 1)
        index = index.remainder(period)
        index = torch.minimum(index, period - index)
    return image.index_select(axis, index.clamp(0, length - 1))


def _sample(patch: Tensor, matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """(1, C, h, w) through a (3, 3) matrix to (1, C, *size)."""
    height, width = patch.shape[-2:]
    # To -1..1 between the centers of the patch's outermost pixels.
    halves = torch.tensor([[(width - 1) / 2], [(height - 1) / 2]], dtype=torch.float64)
    across, down, start = (torch.linalg.inv(matrix)[:2] / halves).unbind(1)
    x = torch.arange(size[1], dtype=torch.float64)[:, None] * across + start - 1
    y = torch.arange(size[0], dtype=torch.float64)[:, None] * down
    grid = x.to(patch.device, patch.dtype) + y.to(patch.device, patch.dtype)[:, None]
    return functional.grid_sample(patch, grid[None], "bicubic", "border", align_corners=True)
