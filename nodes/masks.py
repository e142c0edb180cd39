"""Masks of users, as they mean them."""

from __future__ import annotations

from torch import Tensor

# Load Image's mask of a picture without alpha that nobody has painted on: black, of this size.
_UNPAINTED = (64, 64)


def painted(mask: Tensor | None, image: Tensor) -> Tensor | None:
    """(B, h, w) of a MASK of any size; None for what Load Image gives where nobody painted."""
    if mask is None:
        return None
    mask = mask.reshape(-1, *mask.shape[-2:])
    size = tuple(mask.shape[-2:])
    unpainted = size == _UNPAINTED and size != tuple(image.shape[1:3]) and not bool(mask.any())
    return None if unpainted else mask
