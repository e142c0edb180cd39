"""468 points of a face: the network of Kartynnik et al., *Real-time Facial Surface Geometry*, 2019
(arXiv 1907.06724)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 192
"""Side in pixels of the faces it looks at."""
POINTS = 468
_WIDTHS = (16, 32, 64, 128, 128)
_NARROW = 32


class FaceMesh(nn.Module):
    """Upright faces to points of their surface, and how sure it is of a face.

    Example:
        >>> import torch
        >>> points, score = FaceMesh()(torch.zeros(2, 3, 192, 192))
        >>> points.shape, score.shape
        (torch.Size([2, 468, 3]), torch.Size([2]))
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_Ending(3, _WIDTHS[0], kernel=3, stride=2)]
        width = _WIDTHS[0]
        for level, out in enumerate(_WIDTHS):
            if level:
                layers.append(_Block(width, out, stride=2))
            layers += [_Block(out, out), _Block(out, out)]
            width = out
        self.trunk = nn.Sequential(*layers)
        self.points = nn.Sequential(
            _Block(width, width, stride=2),
            _Block(width, width),
            _Block(width, width),
            *_head(width, 3 * POINTS),
        )
        self.score = nn.Sequential(_Block(width, width, stride=2), *_head(width, 1))

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Points and scores.

        Args:
            faces: (N, 3, 192, 192) RGB 0..1; a face fills two thirds of the side.

        Returns:
            (N, 468, 3): x and y in pixels of the input, centers at integers, and the depth in the
            same unit; (N,) logits, above 0 where there is a face.
        """
        features = self.trunk(faces)
        return self.points(features).view(-1, POINTS, 3), self.score(features).flatten()


def _head(width: int, out: int) -> tuple[nn.Module, ...]:
    return (
        _Ending(width, _NARROW, kernel=1),
        _Block(_NARROW, _NARROW),
        nn.Conv2d(_NARROW, out, 3),
    )


class _Ending(nn.Module):
    """A convolution and its slope below 0."""

    def __init__(self, width: int, out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.mixing = nn.Conv2d(width, out, kernel, stride)
        self.slope = nn.PReLU(out)
        self.kernel, self.stride = kernel, stride

    def forward(self, features: Tensor) -> Tensor:
        return self.slope(self.mixing(_padded(features, self.kernel, self.stride)))


class _Block(nn.Module):
    """3 x 3 of each channel, 1 x 1 between them, added to the input (its largest of four)."""

    def __init__(self, width: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(width, width, 3, stride, groups=width)
        self.mixing = nn.Conv2d(width, out, 1)
        self.slope = nn.PReLU(out)
        self.stride, self.wider = stride, out - width

    def forward(self, features: Tensor) -> Tensor:
        changed = self.mixing(self.spatial(_padded(features, 3, self.stride)))
        if self.stride > 1:
            features = F.max_pool2d(features, self.stride)
        if self.wider:
            features = F.pad(features, (0, 0, 0, 0, 0, self.wider))
        return self.slope(features + changed)


def _padded(features: Tensor, kernel: int, stride: int) -> Tensor:
    """With zeros as TensorFlow has them: at an even side and a stride of 2, only at the end."""
    if kernel == 1:
        return features
    before = kernel // 2 if stride == 1 else 0
    return F.pad(features, (before, kernel // 2, before, kernel // 2))
