"""What is in front of a face: a U-Net whose way down is that of the face mesh.

Ronneberger et al., *U-Net*, 2015 (arXiv 1505.04597). A network that has learned where every point
of a face is knows what a face looks like; its layers stay as they are, and only the way up is
learned.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .face_mesh import SIDE, FaceMesh

# The trunk's last layer of each level, its channels, and ours on the way up, at 96 to 6 px.
_LAST = (2, 5, 8, 11, 14)
_THEIRS = (16, 32, 64, 128, 128)
WIDTHS = (16, 32, 64, 96, 128)


class OcclusionNet(nn.Module):
    """Aligned faces to how likely something is in front of each pixel.

    Args:
        widths: channels of each level, from a half of the side down.

    Example:
        >>> OcclusionNet()(torch.zeros(2, 3, 128, 128)).shape
        torch.Size([2, 1, 128, 128])
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.trunk = FaceMesh().trunk.requires_grad_(False)
        self.taken = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(theirs), nn.Conv2d(theirs, ours, 1))
            for theirs, ours in zip(_THEIRS, widths, strict=True)
        )
        self.deepest = nn.Sequential(*(Block(widths[-1]) for _ in range(2)))
        self.narrow = nn.ModuleList(
            nn.Conv2d(wide, ours, 1) for ours, wide in itertools.pairwise(widths)
        )
        # At 96 px, where it costs most, one block is all.
        depths = (1, *(2,) * (len(widths) - 2))
        self.up = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(depth)))
            for width, depth in zip(widths, depths, strict=False)
        )
        self.last = nn.Conv2d(widths[0], 4, 3, padding=1)

    def own_state(self) -> dict[str, Tensor]:
        """The state without the trunk's, which is the face mesh's."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith("trunk.")}

    def forward(self, faces: Tensor) -> Tensor:
        """Logits.

        Args:
            faces: (N, 3, S, S) RGB -1..1 in the GPEN template; looked at in 192 px.

        Returns:
            (N, 1, S, S), above 0 where something is in front.
        """
        size = faces.shape[-1]
        if size != SIDE:
            faces = F.interpolate(faces, (SIDE, SIDE), mode="bilinear", antialias=size > SIDE)
        levels = [take(level) for take, level in zip(self.taken, self._levels(faces), strict=True)]
        features = self.deepest(F.relu(levels[-1]))
        for level in reversed(range(len(levels) - 1)):
            wider = F.interpolate(self.narrow[level](features), scale_factor=2.0, mode="bilinear")
            features = self.up[level](F.relu(wider + levels[level]))
        logits = F.pixel_shuffle(self.last(features), 2)
        if size == SIDE:
            return logits
        return F.interpolate(logits, (size, size), mode="bilinear", antialias=size < SIDE)

    def _levels(self, faces: Tensor) -> Iterator[Tensor]:
        features = (faces + 1) / 2
        with torch.no_grad():
            for number, layer in enumerate(self.trunk):
                features = layer(features)
                if number in _LAST:
                    yield features


class Block(nn.Module):
    """3 x 3 of each channel, 1 x 1 between them, added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.mixing = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(features + self.mixing(self.spatial(features)))
