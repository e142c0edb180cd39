"""Pictures in one tone: gray stays gray and sepia stays sepia, whatever a network makes of them.

One rule for every way into the core: a picture is in one tone where its color is a function of its
brightness. That function, its tone, is taken from the whole picture before faces are cut out of it,
travels with them, and gives the restored faces their color back.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, the luma of JPEG
_BINS = 32
# Judged on block means, which takes out grain and JPEG's color noise.
_LEAST_BLOCK, _LOOKED_AT, _SMALL = 4, 512, 64
# Distances from the tone in 8-bit levels, and the share of the picture that has to stay below.
# Toned prints and scans: 90 % within 0.4 to 3 levels, 99 % within 5; the palest color photographs
# in a set of 3,500 begin at 4.6 and 10.6.
_MOST = ((0.90, 3.5 / 255), (0.99, 8.0 / 255))
# A tone this close to gray is a scanner's or JPEG's rounding.
_GRAY = 2.0 / 255
_LEAST_CHROMA = 1e-6


@dataclass(frozen=True)
class Tone:
    """The color of a picture in one tone, by brightness.

    Attributes:
        curve: (2, 32) red and blue less luma, at luma 1/64, 3/64, ...; None for gray.

    Example:
        >>> picture = Tone().apply(torch.rand(1, 3, 8, 8))
        >>> torch.equal(picture[:, 0], picture[:, 2])
        True
    """

    curve: Tensor | None = None

    @property
    def is_gray(self) -> bool:
        """Whether it has no color at all."""
        return self.curve is None

    def apply(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) 0..1 -> the same brightness in this tone.

        Gray gives three channels that are equal bit for bit.
        """
        light = luma(images)
        if self.curve is None:
            return light.expand_as(images)
        curve = self.curve.to(images)
        red, blue = (_interpolated(row, light) for row in curve)
        green = -(_LUMA[0] * red + _LUMA[2] * blue) / _LUMA[1]
        return (light + torch.cat([red, green, blue], dim=1)).clamp_(0, 1)


def luma(images: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, 1, H, W), BT.601.

    Example:
        >>> luma(torch.ones(2, 3, 48, 64)).shape
        torch.Size([2, 1, 48, 64])
    """
    red, green, blue = images.unbind(1)
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue)[:, None]


def with_light(images: Tensor, light: Tensor) -> Tensor:
    """The colors of some pictures under another brightness.

    Args:
        images: (N, 3, H, W) RGB 0..1, whose chroma (RGB less luma) is taken.
        light: (N, 1, H, W) BT.601 luma 0..1 of the result.

    Returns:
        (N, 3, H, W) 0..1 of exactly that luma but for rounding. Where a color does not fit into
        0..1 beside it, it is made paler, never lighter or darker.

    Example:
        >>> red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
        >>> bright = with_light(red, torch.full((1, 1, 1, 1), 0.9))
        >>> round(float(luma(bright)), 5), bright.flatten().tolist()[0] <= 1
        (0.9, True)
    """
    chroma = images - luma(images)
    room = torch.where(chroma > 0, 1 - light, light) / chroma.abs().clamp(min=_LEAST_CHROMA)
    return (light + chroma * room.amin(dim=1, keepdim=True).clamp(0, 1)).clamp_(0, 1)


def tone_of(image: Tensor) -> Tone | None:
    """The tone of a picture, None where it has colors.

    Args:
        image: (3, H, W), RGB 0..1.

    Example:
        >>> gray = torch.rand(1, 32, 32).expand(3, -1, -1)
        >>> tone_of(gray).is_gray
        True
        >>> tone_of(torch.rand(3, 32, 32)) is None
        True
    """
    if torch.equal(image[0], image[1]) and torch.equal(image[1], image[2]):
        return Tone()
    blocks = _blocks(image)
    light = luma(blocks[None])[0, 0]
    chroma = torch.stack([blocks[0] - light, blocks[2] - light]).flatten(1)
    light = light.flatten()
    curve = _curve(light, chroma)
    expected = torch.stack([_interpolated(row, light) for row in curve])
    distance = (chroma - expected).abs().amax(dim=0)
    if any(float(distance.quantile(share)) > most for share, most in _MOST):
        return None
    is_gray = float(chroma.abs().amax(dim=0).quantile(_MOST[-1][0])) <= _GRAY
    return Tone() if is_gray else Tone(curve.cpu())


def tones_of(images: Tensor) -> tuple[Tone | None, ...]:
    """The tones of (B, 3, H, W) pictures, each for itself.

    Example:
        >>> gray = torch.rand(1, 1, 32, 32).expand(1, 3, -1, -1)
        >>> tones = tones_of(torch.cat([gray, torch.rand(1, 3, 32, 32)]))
        >>> tones[0].is_gray, tones[1] is None
        (True, True)
    """
    return tuple(tone_of(image) for image in images)


def _blocks(image: Tensor) -> Tensor:
    """(3, h, w) float32 means of blocks, nearly square; small pictures are left as they are."""
    image = image.float()
    height, width = (int(side) for side in image.shape[-2:])
    if min(height, width) <= _SMALL and max(height, width) <= _LOOKED_AT:
        return image
    block = max(_LEAST_BLOCK, -(-max(height, width) // _LOOKED_AT))
    return functional.avg_pool2d(image[None], (min(block, height), min(block, width)))[0]


def _curve(light: Tensor, chroma: Tensor) -> Tensor:
    """(2, bins) mean chroma by luma; empty bins take their nearest neighbors'."""
    at = (light * _BINS).long().clamp(0, _BINS - 1)
    count = torch.zeros(_BINS, device=light.device).index_add_(0, at, torch.ones_like(light))
    total = torch.zeros(2, _BINS, device=light.device).index_add_(1, at, chroma)
    filled = torch.nonzero(count > 0).flatten()
    places = torch.arange(_BINS, device=light.device)
    nearest = filled[(places[:, None] - filled[None]).abs().argmin(dim=1)]
    return (total / count.clamp(min=1))[:, nearest]


def _interpolated(row: Tensor, light: Tensor) -> Tensor:
    """A curve's values (bins,) at lumas of any shape, linear between the bins' middles."""
    place = (light * _BINS - 0.5).clamp(0, _BINS - 1)
    below = place.long().clamp(max=_BINS - 2)
    part = place - below
    return row[below] * (1 - part) + row[below + 1] * part
