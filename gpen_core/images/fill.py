"""Fill: a smooth stand-in for what is missing of a picture, from what lies around it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_LITTLE = 1e-6


def smoothly_filled(images: Tensor, missing: Tensor) -> Tensor:
    """Images whose holes hold colors from around them, without an edge; the rest as it was.

    By push and pull (Gortler et al., *The Lumigraph*, 1996): known pixels are averaged to smaller
    and smaller pictures until no hole is left, and these are enlarged again into the holes.

    Args:
        images: (B, 3, H, W) float.
        missing: (B or 1, 1, H, W) bool.

    Returns:
        Images like `images`; an image that is missing altogether is 0.

    Example:
        >>> images, missing = torch.full((1, 3, 9, 9), 0.5), torch.zeros(1, 1, 9, 9).bool()
        >>> missing[..., 3:6, 3:6] = True
        >>> filled = smoothly_filled(images.masked_fill(missing, 1.0), missing)
        >>> torch.allclose(filled, images)
        True
    """
    known = (~missing).to(images.dtype).expand(len(images), -1, -1, -1)
    levels = [(images * known, known)]
    while max(levels[-1][0].shape[-2:]) > 1 and float(levels[-1][1].min()) < 1:
        # Of both the mean, so that their quotient is the mean of what is known.
        colors, share = (F.avg_pool2d(part, 2, ceil_mode=True) for part in levels[-1])
        levels.append((colors, share))
    colors, share = levels.pop()
    filled = colors / share.clamp(min=_LITTLE)
    while levels:
        colors, share = levels.pop()
        size = (int(colors.shape[-2]), int(colors.shape[-1]))
        around = F.interpolate(filled, size, mode="bilinear")
        filled = torch.where(share > 0, colors / share.clamp(min=_LITTLE), around)
    return torch.where(missing, filled, images)
