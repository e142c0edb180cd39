"""Keep a restored face in the light of its picture: low-frequency color match."""

from __future__ import annotations

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor
from torch.nn import functional

# The match looks at a crop 64 px wide through a blur of 4 px: a sixteenth of the face, so that
# lips and eyes keep the network's colors and only the light on them moves.
_GRID = 64
_SIGMA = 4.0


def match_color(restored: Tensor, crops: Tensor, masks: Tensor, amount: float) -> Tensor:
    """Give restored faces the low frequencies of what they were restored from.

    Adds `amount * blur(crop - restored)`. The blur is normalized by the mask, so that hair and
    background beside the face do not bleed into it.

    Args:
        restored: (N, 3, T, T) RGB -1..1.
        crops: (N, 3, S, S) RGB -1..1, the aligned input.
        masks: (N, 1, M, M) 0..1, where the face is.
        amount: 0 (none) to 1 (full match).

    Returns:
        (N, 3, T, T) RGB -1..1.
    """
    if amount == 0 or len(restored) == 0:
        return restored
    weight = _small(masks) + 1e-3
    difference = (_small(crops) - _small(restored)) * weight
    radius = 2 * int(3 * _SIGMA) + 1
    low = gaussian_blur2d(torch.cat([difference, weight], 1), radius, (_SIGMA, _SIGMA), "replicate")
    low = low[:, :3] / low[:, 3:]
    size = restored.shape[-1]
    low = functional.interpolate(low, (size, size), mode="bicubic")
    return (restored + amount * low.to(restored.dtype)).clamp(-1, 1)


def _small(images: Tensor) -> Tensor:
    return functional.interpolate(
        images.float(), (_GRID, _GRID), mode="bilinear", antialias=images.shape[-1] > _GRID
    )
