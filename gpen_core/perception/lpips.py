"""LPIPS: how different two pictures look, by a weighted distance of VGG features.

Zhang et al., *The Unreasonable Effectiveness of Deep Features as a Perceptual Metric*, 2018 (arXiv
1801.03924), in the shift-tolerant form of Ghildyal & Liu, 2022 (arXiv 2207.13686). Its figures are
not those of the original weights; compare them only among themselves.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from .vgg import VGG16, WIDTHS, read_weights, vgg_from

_EPS = 1e-8


class LPIPS(nn.Module):
    """(N, 3, H, W) twice, RGB -1..1 -> (N,) distances, 0 for equal pictures, about 1 at most.

    Example:
        >>> metric = LPIPS(VGG16())  # not trained; `load_lpips` gives the real one
        >>> metric(torch.zeros(2, 3, 64, 64), torch.ones(2, 3, 64, 64)).shape
        torch.Size([2])
    """

    def __init__(self, vgg: VGG16) -> None:
        super().__init__()
        self.vgg = vgg
        self.weights = nn.ParameterList([nn.Parameter(torch.zeros(width)) for width in WIDTHS])

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances between the pictures of `a` and those of `b`.

        Args:
            a: (N, 3, H, W), RGB -1..1, sides of 32 pixels or more.
            b: the same shape.
        """
        return self.distance(self.vgg(a), self.vgg(b))

    def distance(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """The same from both pictures' VGG features."""
        total = a[0].new_zeros(len(a[0]), dtype=torch.float32)
        for weight, one, other in zip(self.weights, a, b, strict=True):
            squares = (_unit(one) - _unit(other)).square().mean(dim=(2, 3))
            total = total + squares @ weight
        return total


def load_lpips(path: str | Path | None = None) -> LPIPS:
    """The metric with its weights, frozen; see `locate.find` for the file and the errors.

    Example:
        >>> load_lpips("no-such-file.pth")
        Traceback (most recent call last):
        gpen_core.errors.CheckpointError: no-such-file.pth is missing; it should be the VGG16 of ...
    """
    content = read_weights(path)
    metric = LPIPS(vgg_from(content))
    with torch.no_grad():
        for index, weight in enumerate(metric.weights):
            weight.copy_(content[f"lin{index}.model.1.weight"].flatten())
    return metric.eval().requires_grad_(False)


def _unit(features: Tensor) -> Tensor:
    """Each pixel's feature vector scaled to length 1, in float32."""
    features = features.float()
    # The root of an exact zero has no gradient, and ReLU leaves whole pixels at zero.
    return features * torch.rsqrt(features.square().sum(dim=1, keepdim=True) + _EPS)
