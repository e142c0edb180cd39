"""A pair as a task poses it: gray for a colorizer, with white holes for an inpainter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..images.monochrome import luma, with_light

LEARNED = ("restore", "colorize", "inpaint")
"""The tasks that can be learned from faces alone."""

# Of all holes, so many are a box; the others are strokes, as official inpainting has them.
_BOXES = 0.25
# Shares of the picture's side.
_BOX = (0.15, 0.5)
_WIDTH = (0.04, 0.16)
_LENGTH = (0.05, 0.3)
_STROKES, _BENDS = (1, 3), (3, 9)
_MOST_TURN = 2.0
# Keeps the seeds of holes apart from those of the damage.
_SEED = 15_485_863


def posed(
    task: str, degraded: Tensor, truth: Tensor, seeds: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """What a network is given, what it should make of it, and where the holes are.

    Args:
        task: one of `LEARNED`.
        degraded: (N, 3, S, S) RGB 0..1.
        truth: the same shape.
        seeds: one for each pair; the same seed and size give the same hole.

    Returns:
        degraded, truth (N, 3, S, S) and holes (N, 1, S, S). For "colorize" degraded is gray, and
        the truth has its brightness: light is not learned. For "inpaint" the holes are white in
        degraded, and outside of them the truth is as degraded: known pixels stay.

    Example:
        >>> faces = torch.rand(2, 3, 64, 64)
        >>> gray, colored, holes = posed("colorize", faces, faces, [1, 2])
        >>> torch.equal(gray[:, 0], gray[:, 2]), float(holes.sum())
        (True, 0.0)
        >>> holed, _, holes = posed("inpaint", faces, faces, [1, 2])
        >>> bool((holed[holes.expand(-1, 3, -1, -1) == 1] == 1).all())
        True
    """
    nothing = torch.zeros_like(degraded[:, :1])
    if task == "colorize":
        light = luma(degraded).clamp(0, 1)
        return light.repeat(1, 3, 1, 1), with_light(truth, light), nothing
    if task == "inpaint":
        side = degraded.shape[-1]
        holes = torch.cat([hole(side, seed) for seed in seeds]).to(degraded)
        return torch.where(holes > 0, 1.0, degraded), torch.lerp(degraded, truth, holes), holes
    return degraded, truth, nothing


def hole(side: int, seed: int) -> Tensor:
    """A hole (1, 1, side, side) of 0 and 1: one to three bent strokes, or a box."""
    generator = torch.Generator().manual_seed(_SEED + seed)

    def drawn(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    if drawn(0, 1) < _BOXES:
        return _box(side, [drawn(*_BOX), drawn(*_BOX), drawn(0, 1), drawn(0, 1)])
    missing = torch.zeros(side, side, dtype=torch.bool)
    for _ in range(round(drawn(*_STROKES))):
        width, turn = drawn(*_WIDTH), drawn(0, 2 * math.pi)
        x, y = drawn(0.1, 0.9), drawn(0.1, 0.9)
        for _ in range(round(drawn(*_BENDS))):
            turn += drawn(-_MOST_TURN, _MOST_TURN)
            length = drawn(*_LENGTH)
            # Strokes turn back at the edges of the picture.
            to_x = min(max(x + length * math.cos(turn), 0.0), 1.0)
            to_y = min(max(y + length * math.sin(turn), 0.0), 1.0)
            missing |= _line(side, (x, y, to_x, to_y), width)
            x, y = to_x, to_y
    return missing.float()[None, None]


def _box(side: int, draws: Sequence[float]) -> Tensor:
    width, height = (max(1, round(share * side)) for share in draws[:2])
    left, top = round(draws[2] * (side - width)), round(draws[3] * (side - height))
    missing = torch.zeros(1, 1, side, side)
    missing[..., top : top + height, left : left + width] = 1
    return missing


def _line(side: int, ends: tuple[float, float, float, float], width: float) -> Tensor:
    """(side, side) bool: pixels nearer than half the width to a line; all in shares of the side."""
    along = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(along, along, indexing="ij")
    x0, y0, x1, y1 = ends
    run, rise = x1 - x0, y1 - y0
    length = max(run * run + rise * rise, 1e-9)
    place = (((x - x0) * run + (y - y0) * rise) / length).clamp(0, 1)
    return torch.hypot(x - x0 - place * run, y - y0 - place * rise) <= width / 2
