"""What is in front of a face: a U-Net that also sees what the face mesh sees.

Ronneberger et al., *U-Net*, 2015 (arXiv 1505.04597). A network that has learned where every point
of a face is knows what a face looks like; its layers stay as they are, and what each of its levels
has found is added to ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .face_mesh import SIDE as MESH_SIDE
from .face_mesh import FaceMesh

SIDE = 128
"""Side in pixels of the faces it looks at."""
# The trunk's last layer of each level and its channels, at 96 to 6 px.
_LAST = (2, 5, 8, 11, 14)
_THEIRS = (16, 32, 64, 128, 128)
WIDTHS = (32, 64, 96, 96)


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
        # The two deepest of the trunk's levels join ours.
        theirs = (*_THEIRS[: len(widths) - 1], sum(_THEIRS[len(widths) - 1 :]))
        self.taken = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(width), nn.Conv2d(width, ours, 1))
            for width, ours in zip(theirs, widths, strict=True)
        )
        self.first = nn.Conv2d(12, widths[0], 3, padding=1)
        self.smaller = nn.ModuleList(
            nn.Conv2d(ours, deeper, 3, 2, 1, bias=False)
            for ours, deeper in itertools.pairwise(widths)
        )
        self.down = nn.ModuleList(Block(width) for width in widths)
        self.narrow = nn.ModuleList(
            nn.Conv2d(deeper, ours, 1) for ours, deeper in itertools.pairwise(widths)
        )
        depths = (2, 2, *(1,) * (len(widths) - 3))
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
            faces: (N, 3, S, S) RGB -1..1 in the GPEN template; looked at in 128 px.

        Returns:
            (N, 1, S, S), above 0 where something is in front.
        """
        size = faces.shape[-1]
        small = faces if size == SIDE else _resized(faces, SIDE)
        taken = self._taken(small)
        features = self.first(F.pixel_unshuffle(small, 2)) + taken[0]
        levels = [self.down[0](F.relu(features))]
        for level, smaller in enumerate(self.smaller, 1):
            levels.append(self.down[level](F.relu(smaller(levels[-1]) + taken[level])))
        features = levels[-1]
        for level in reversed(range(len(self.up))):
            wider = F.interpolate(self.narrow[level](features), scale_factor=2.0, mode="bilinear")
            features = self.up[level](F.relu(wider + levels[level]))
        logits = F.pixel_shuffle(self.last(features), 2)
        return logits if size == SIDE else _resized(logits, size)

    def _taken(self, small: Tensor) -> list[Tensor]:
        """What the trunk has found, at the sizes and widths of our levels."""
        own, sides = len(self.taken), [SIDE // 2 // 2**level for level in range(len(self.taken))]
        found = list(self._levels(_resized(small, MESH_SIDE)))
        deep = [_resized(one, sides[-1]) for one in found[own - 1 :]]
        at_size = [_resized(one, side) for one, side in zip(found, sides[:-1], strict=False)]
        at_size.append(torch.cat(deep, 1))
        return [take(one) for take, one in zip(self.taken, at_size, strict=True)]

    def _levels(self, faces: Tensor) -> Iterator[Tensor]:
        features = (faces + 1) / 2
        with torch.no_grad():
            for number, layer in enumerate(self.trunk):
                features = layer(features)
                if number in _LAST:
                    yield features


class Block(nn.Module):
    """Two convolutions, added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(features + self.second(self.first(features)))


def _resized(pictures: Tensor, side: int) -> Tensor:
    return F.interpolate(pictures, (side, side), mode="bilinear")
