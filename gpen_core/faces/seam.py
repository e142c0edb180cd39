"""Sharpness at the seam: toward its edge a face becomes as soft as what lies around it.

A restored face in a soft picture looks pasted in where its detail ends at once. Detail is what is
left of a picture without its low frequencies; a face that has more of it inside its edge than there
is outside is blurred there, as much as it takes, and less and less toward its middle.
"""

from __future__ import annotations

import math

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

from .grain import Surroundings

# Sigma of the blur that tells detail from what is smooth, pixels of a picture that is not enlarged.
_DETAIL = 1.5
# Blurs tried, in the same pixels.
_SIGMAS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
# How far the softness reaches in from the edge, and the look around it out, shares of the box.
_INWARD, _OUTWARD = 0.08, 0.08
_LEAST = 200
"""Pixels on either side without which nothing is measured."""


def with_sharpness(
    face: Tensor, mask: Tensor, around: Surroundings, amount: float
) -> Tensor | None:
    """A face whose sharpness fades toward its edge to that of what lies around it.

    Args:
        face: (3, h, w) 0..1.
        mask: (1, h, w) 0..1, how much of the face will be used.
        around: where it goes.
        amount: 0..1 of the way.

    Returns:
        (3, h, w) 0..1, the face itself where it is no sharper; None where too few pixels lie on
        either side to tell.

    Example:
        >>> face, mask = torch.rand(3, 64, 64), torch.zeros(1, 64, 64)
        >>> mask[:, 8:-8, 8:-8] = 1
        >>> around = Surroundings(torch.full((3, 96, 96), 0.5), (16, 16, 80, 80))
        >>> softer = with_sharpness(face, mask, around, 1.0)
        >>> bool(softer[:, 8:12, 8:-8].std() < 0.5 * face[:, 8:12, 8:-8].std())
        True
    """
    scale = max(around.scale, 1.0)
    x0, y0, x1, y1 = around.box
    side = max(x1 - x0, y1 - y0)
    wide = _blurred(mask, max(_INWARD * side, 1.0))
    inside = (mask > 0.5) & (wide < 0.9)
    outside = _ring(mask, around, side)
    if int(inside.sum()) < _LEAST or int(outside.sum()) < _LEAST:
        return None
    wanted = _detail(around.picture.to(face), scale)[outside[0]].mean()
    softer = face
    for sigma in (0.0, *_SIGMAS):
        softer = _blurred(face, sigma * scale) if sigma else face
        if _detail(softer, scale)[inside[0]].mean() <= wanted:
            break
    share = (2 * (1 - wide)).clamp(0, 1) * amount
    return torch.lerp(face, softer, share).clamp(0, 1)


def _ring(mask: Tensor, around: Surroundings, side: int) -> Tensor:
    """(1, H, W) bool: pixels of the surroundings near the mask, and not under it."""
    x0, y0, x1, y1 = around.box
    whole = mask.new_zeros(1, *around.picture.shape[-2:])
    whole[:, y0:y1, x0:x1] = mask
    near = _blurred((whole > 0).to(mask.dtype), max(_OUTWARD * side, 1.0))
    return (whole == 0) & (near > 0.05)


def _detail(picture: Tensor, scale: float) -> Tensor:
    """(H, W): how far each pixel is from its surroundings, the mean over the channels."""
    return (picture - _blurred(picture, _DETAIL * scale)).abs().mean(0)


def _blurred(picture: Tensor, sigma: float) -> Tensor:
    """(C, H, W) through a Gaussian; as wide as the picture has room for."""
    reach = min(math.ceil(3 * sigma), (min(picture.shape[-2:]) - 1) // 2, 127)
    if reach < 1:
        return picture
    size = 2 * reach + 1
    return gaussian_blur2d(picture[None].float(), size, (sigma, sigma), "reflect")[0]
