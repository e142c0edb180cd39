"""Turns of a picture, and where points and boxes of the turned one lie in the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_QUARTER = 90
_BESIDE = 0.5  # gray: no detector sees a face in it, nor a strong edge


@dataclass(frozen=True)
class Turn:
    """A picture turned counter-clockwise about its center.

    Attributes:
        angle: degrees; multiples of 90 move whole pixels.
        size: (height, width) of the picture before it is turned.

    Example:
        >>> turn = Turn(90, (10, 20))
        >>> turn.apply(torch.zeros(3, 10, 20)).shape
        torch.Size([3, 20, 10])
        >>> turn.points_back(torch.tensor([0.0, 0.0])).tolist()
        [19.0, 0.0]
        >>> Turn(45, (10, 20)).turned_size
        (22, 22)
    """

    angle: int
    size: tuple[int, int]

    @property
    def turned_size(self) -> tuple[int, int]:
        """(height, width) that hold the whole turned picture."""
        height, width = self.size
        cos, sin = (abs(value) for value in self._cos_sin)
        return math.ceil(height * cos + width * sin), math.ceil(width * cos + height * sin)

    @property
    def _cos_sin(self) -> tuple[float, float]:
        radians = math.radians(self.angle)
        # The cosine of a right angle is 6e-17 in floating point.
        return round(math.cos(radians), 15), round(math.sin(radians), 15)

    def apply(self, image: Tensor) -> Tensor:
        """(C, H, W) -> the turned picture, bilinear, on gray where it does not fill its canvas."""
        if self.angle % _QUARTER == 0:
            return torch.rot90(image, self.angle // _QUARTER, (-2, -1))
        (height, width), (tall, wide) = self.size, self.turned_size
        cos, sin = self._cos_sin
        # From the turned picture's -1..1 to the picture's, both from edge to edge.
        rows = [
            [cos * wide / width, -sin * tall / width, 0.0],
            [sin * wide / height, cos * tall / height, 0.0],
        ]
        grid = functional.affine_grid(
            torch.tensor([rows], dtype=image.dtype, device=image.device),
            [1, len(image), tall, wide],
            align_corners=False,
        )
        turned = functional.grid_sample((image - _BESIDE)[None], grid, align_corners=False)
        return turned[0] + _BESIDE

    def points_back(self, points: Tensor) -> Tensor:
        """(..., 2) x, y of the turned picture, pixel centers at integers, in the picture itself."""
        (height, width), (tall, wide) = self.size, self.turned_size
        cos, sin = self._cos_sin
        x, y = points[..., 0] - (wide - 1) / 2, points[..., 1] - (tall - 1) / 2
        back_x = cos * x - sin * y + (width - 1) / 2
        back_y = sin * x + cos * y + (height - 1) / 2
        return torch.stack([back_x, back_y], dim=-1)

    def boxes_back(self, boxes: Tensor) -> Tensor:
        """(N, 4) boxes of the turned picture in the picture itself.

        A box that comes to lie aslant becomes an upright one of about its size around the same
        center, not the larger one that holds its corners: a face has one size in every turn.
        """
        centers = self.points_back((boxes[:, :2] + boxes[:, 2:]) / 2)
        width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(-1)
        cos, sin = (abs(value) for value in self._cos_sin)
        sides = torch.stack([width * cos + height * sin, height * cos + width * sin], dim=-1)
        half = sides / (cos + sin) / 2
        return torch.cat([centers - half, centers + half], dim=1)
