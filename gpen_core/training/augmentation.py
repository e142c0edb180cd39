"""Adaptive augmentation of what discriminators see, so that few faces are not learned by heart.

Karras et al., *Training Generative Adversarial Networks with Limited Data*, 2020 (arXiv
2006.06676): real and restored faces are mirrored, moved and recolored before they are judged, each
change with the probability `p`; `p` rises while the discriminators are sure of most real faces,
that is while the mean of sign(D(real)) is above a target, and falls below it. What is restored is
never augmented itself: the changes are differentiable, and leave enough faces alone not to leak
into it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..images.monochrome import luma

ROTATION = math.radians(10)
SCALE = 0.12
SHIFT = 0.06
BRIGHTNESS = 0.2
CONTRAST = 0.3
SATURATION = 0.5
_HIGHEST = 0.8
"""Above it the changes begin to show in what is restored (section 2.2 of the paper)."""
_CHANGES = 8  # mirror, turn, scale, two shifts, brightness, contrast, saturation
DRAWS = 2 * _CHANGES
"""Random numbers that one picture takes."""


class Augmentation(nn.Module):
    """Changes pictures with the probability `p`, which follows the discriminators' certainty.

    Args:
        target: mean of sign(D(real)) that is aimed at, 0 to 1.
        pictures: real pictures judged until `p` has gone from 0 to 1 at the fastest.
    """

    def __init__(self, target: float, pictures: int) -> None:
        super().__init__()
        self.target, self.pictures = target, pictures
        self.register_buffer("p", torch.zeros(()))
        self.register_buffer("signs", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(()))
        self.p: Tensor
        self.signs: Tensor
        self.seen: Tensor

    def forward(self, pictures: Tensor, draws: Tensor) -> Tensor:
        """Pictures (N, C, H, W), RGB -1..1, changed by the draws (N, DRAWS), see `change`."""
        if self.p <= 0:
            return pictures
        return change(pictures, draws.to(pictures.device), self.p)

    @torch.no_grad()
    def watch(self, logits: Tensor) -> None:
        """Take note of a discriminator's logits of real pictures, (N, ...)."""
        self.signs += logits.float().sign().mean() * len(logits)
        self.seen += len(logits)

    @torch.no_grad()
    def adapt(self, certainty: float, pictures: int) -> None:
        """Move `p` by what `pictures` real ones, judged with `certainty`, are worth.

        Args:
            certainty: mean of sign(D(real)) since the last time, over all processes.
            pictures: how many there were.
        """
        step = math.copysign(pictures / self.pictures, certainty - self.target)
        self.p.add_(step).clamp_(0, _HIGHEST)
        self.signs.zero_()
        self.seen.zero_()

    @property
    def certainty(self) -> Tensor:
        """Mean of sign(D(real)) of what was watched since the last time."""
        return self.signs / self.seen.clamp(min=1)


def change(pictures: Tensor, draws: Tensor, p: Tensor | float) -> Tensor:
    """Mirror, move and recolor pictures, each with the probability `p`; differentiable.

    Args:
        pictures: (N, C, H, W), RGB -1..1; where C is 6 or more, each three channels are a picture.
        draws: (N, 16), 0..1: eight chances, then eight strengths, in the order mirror, turn, scale,
            shift across and down, brightness, contrast, saturation.
        p: probability, 0 to 1; half of it for the mirror, which has no strength.
    """
    chances, strengths = draws.split(_CHANGES, dim=1)
    values = torch.where(chances < p, 2 * strengths - 1, 0)
    moved = _move(pictures, chances[:, 0] < p / 2, values[:, 1:5])
    return _recolor(moved, values[:, 5:])


def _move(pictures: Tensor, mirrored: Tensor, values: Tensor) -> Tensor:
    """Mirror, turn, scale and shift around the middle; edges are replicated."""
    turn, scale = ROTATION * values[:, 0], torch.exp(SCALE * values[:, 1])
    shift = 2 * SHIFT * values[:, 2:4]
    flip = torch.where(mirrored, -1.0, 1.0)
    cos, sin = turn.cos() * scale, turn.sin() * scale
    rows = torch.stack((flip * cos, -sin, shift[:, 0], flip * sin, cos, shift[:, 1]), dim=1)
    grid = F.affine_grid(rows.view(-1, 2, 3), list(pictures.shape), align_corners=False)
    moved = F.grid_sample(
        pictures, grid.to(pictures.dtype), padding_mode="border", align_corners=False
    )
    untouched = (values[:, :4] == 0).all(dim=1) & ~mirrored
    return torch.where(untouched[:, None, None, None], pictures, moved)


def _recolor(pictures: Tensor, values: Tensor) -> Tensor:
    """Brightness, contrast, saturation."""
    count, channels, height, width = pictures.shape
    colors = pictures.view(count, channels // 3, 3, height, width)
    brightness, contrast, saturation = (
        part[:, None, None, None, None] for part in values.to(pictures.dtype).unbind(dim=1)
    )
    gray = luma(colors.flatten(0, 1)).view(count, channels // 3, 1, height, width)
    colors = gray + (colors - gray) * torch.exp(SATURATION * saturation)
    colors = colors * torch.exp(CONTRAST * contrast) + BRIGHTNESS * brightness
    return colors.reshape(pictures.shape)
