"""Faded pictures: prints and scans that use a part of the range between black and white only."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from .monochrome import luma

log = logging.getLogger(__name__)

# A picture whose luma has more than this between its 1st and 99th percentile is not faded.
_FADED, _PERCENTILES = 0.5, (0.01, 0.99)
# Large pictures are looked at through means of blocks, about this many a side.
_LOOKED_AT = 1280
# What is beyond the percentiles, the light in an eye, keeps this share of the range on either side.
_ROOM = 0.1


@dataclass(frozen=True)
class Fade:
    """The range that a faded picture uses.

    Attributes:
        low, high: luma of its 1st and 99th percentile, 0..1.

    Example:
        >>> import torch
        >>> Fade(0.25, 0.5).stretched(torch.tensor([0.2, 0.375, 0.5])).tolist()
        [0.0, 0.5, 1.0]
    """

    low: float
    high: float

    def stretched(self, image: Tensor) -> Tensor:
        """A picture of any shape, 0..1, with the contrast of a fresh one, for a search."""
        return ((image - self.low) / (self.high - self.low)).clamp(0, 1)

    def fresh(self, images: Tensor) -> Tensor:
        """With more contrast, and nothing lost but what `faded` could not give back: 0..1.

        Example:
            >>> import torch
            >>> fade, light = Fade(0.4, 0.6), torch.tensor([0.38, 0.5, 0.61])
            >>> torch.allclose(fade.faded(fade.fresh(light)), light)
            True
        """
        low, span = self._roomy
        return ((images - low) / span).clamp(0, 1)

    def faded(self, images: Tensor) -> Tensor:
        """The inverse of `fresh`."""
        low, span = self._roomy
        return images * span + low

    @property
    def _roomy(self) -> tuple[float, float]:
        room = _ROOM * (self.high - self.low)
        low, high = max(self.low - room, 0.0), min(self.high + room, 1.0)
        return low, high - low


def fade_of(image: Tensor) -> Fade | None:
    """The range of a faded picture (3, H, W), about 0..1; None where there is contrast enough.

    A picture of one brightness has none to stretch.

    Example:
        >>> import torch
        >>> picture = torch.linspace(0, 1, 256).expand(3, 16, 256)
        >>> fade_of(picture) is None, round(fade_of(0.3 * picture + 0.5).low, 2)
        (True, 0.5)
    """
    block = max(1, max(image.shape[-2:]) // _LOOKED_AT)
    if block > 1:
        size = (min(block, int(image.shape[-2])), min(block, int(image.shape[-1])))
        image = functional.avg_pool2d(image[None].float(), size)[0]
    light = luma(image[None].float().clamp(0, 1)).flatten()
    ranks = [max(1, round(share * len(light))) for share in _PERCENTILES]
    low, high = (float(light.kthvalue(rank).values) for rank in ranks)
    if high - low >= _FADED or high <= low:
        return None
    log.debug("Faded picture: luma from %.2f to %.2f.", low, high)
    return Fade(low, high)


def fades_of(images: Tensor) -> tuple[Fade | None, ...]:
    """The ranges of (B, 3, H, W) pictures, each for itself.

    Example:
        >>> import torch
        >>> fades_of(torch.rand(2, 3, 16, 16))
        (None, None)
    """
    return tuple(fade_of(image) for image in images)
