"""What is in front of a face: a small U-Net of depthwise convolutions.

Ronneberger et al., *U-Net*, 2015 (arXiv 1505.04597), with the blocks of Howard et al.,
*MobileNets*, 2017 (arXiv 1704.04861).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (16, 32, 64, 128, 192)
"""Channels at a half, a quarter and so on of the side."""
DEPTHS = (2, 3, 4, 3)
"""Blocks on the way down to each level below the first."""


class OcclusionNet(nn.Module):
    """Aligned faces to how likely something is in front of each pixel.

    Args:
        widths: channels of each level, from a half of the side down.
        depths: blocks of each level below the first.

    Example:
        >>> OcclusionNet()(torch.zeros(2, 3, 128, 128)).shape
        torch.Size([2, 1, 128, 128])
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, depths: Sequence[int] = DEPTHS) -> None:
        super().__init__()
        self.first = _convolution(3, widths[0], stride=2)
        self.down = nn.ModuleList()
        width = widths[0]
        for out, depth in zip(widths[1:], depths, strict=True):
            blocks = [Block(width, out, stride=2)] + [Block(out, out) for _ in range(depth - 1)]
            self.down.append(nn.Sequential(*blocks))
            width = out
        self.whole = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.narrow, self.up = nn.ModuleList(), nn.ModuleList()
        for out in reversed(widths[:-1]):
            self.narrow.append(nn.Conv2d(width, out, 1))
            self.up.append(Block(out, out))
            width = out
        self.last = nn.Conv2d(width, 4, 3, padding=1)

    def forward(self, faces: Tensor) -> Tensor:
        """Logits.

        Args:
            faces: (N, 3, S, S) RGB -1..1 in the GPEN template, S a multiple of 32.

        Returns:
            (N, 1, S, S), above 0 where something is in front.
        """
        levels = [self.first(faces)]
        for level in self.down:
            levels.append(level(levels[-1]))
        features = levels.pop()
        features = features + self.whole(features.mean((2, 3)))[..., None, None]
        for narrow, level in zip(self.narrow, self.up, strict=True):
            wider = F.interpolate(narrow(features), scale_factor=2.0, mode="bilinear")
            features = level(wider + levels.pop())
        return F.pixel_shuffle(self.last(features), 2)


class Block(nn.Module):
    """3 x 3 of each channel, 1 x 1 between them; added to its input where the shapes are one."""

    def __init__(self, width: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.spatial = _convolution(width, width, stride=stride, groups=width)
        self.mixing = nn.Sequential(
            nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        )
        self.added = width == out and stride == 1

    def forward(self, features: Tensor) -> Tensor:
        changed = self.mixing(self.spatial(features))
        return F.relu(features + changed if self.added else changed)


def _convolution(width: int, out: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, out, 3, stride, 1, groups=groups, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(),
    )
