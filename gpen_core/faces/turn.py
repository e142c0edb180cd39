"""Quarter turns of a picture, and where points and boxes of the turned one lie in the picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Turn:
    """A picture turned counter-clockwise.

    Attributes:
        angle: 0, 90, 180 or 270 degrees.
        size: (height, width) of the picture before it is turned.

    Example:
        >>> turn = Turn(90, (10, 20))
        >>> turn.apply(torch.zeros(3, 10, 20)).shape
        torch.Size([3, 20, 10])
        >>> turn.points_back(torch.tensor([0.0, 0.0])).tolist()
        [19.0, 0.0]
    """

    angle: int
    size: tuple[int, int]

    def apply(self, image: Tensor) -> Tensor:
        """(..., H, W) -> the turned picture."""
        return torch.rot90(image, self.angle // 90, (-2, -1))

    def points_back(self, points: Tensor) -> Tensor:
        """(..., 2) x, y of the turned picture, pixel centers at integers, in the picture itself."""
        height, width = self.size
        x, y = points.unbind(-1)
        turned = {
            0: (x, y),
            90: (width - 1 - y, x),
            180: (width - 1 - x, height - 1 - y),
            270: (y, height - 1 - x),
        }[self.angle]
        return torch.stack(turned, dim=-1)

    def boxes_back(self, boxes: Tensor) -> Tensor:
        """(N, 4) boxes of the turned picture in the picture itself."""
        corners = self.points_back(boxes.reshape(-1, 2, 2))
        return torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1)
