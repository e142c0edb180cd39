"""NIQE: how far a picture's local statistics are from those of undamaged photographs.

Mittal, Soundararajan & Bovik, *Making a "Completely Blind" Image Quality Analyzer*, 2013 (IEEE
Signal Processing Letters 20(3)). No truth is needed; lower is more natural. It was made for whole
photographs of many patches: a face of 256 px has four, so single figures scatter, and what is
smooth by nature (skin, a plain wall) counts as damage. Compare means over the same faces only.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..images.monochrome import luma
from ..perception.locate import Backbone, find

PRISTINE = Backbone(
    "the NIQE model of undamaged photographs",
    "iqa-torch==1.2.1",
    "iqa/niqe/niqe_pris_params.npz",
    "2a7c182a68c9e7f1b2e2e5ec723279d6f65d912b6fcaf37eb2bf03d7367c4296",
)
PATCH = 96
_RADIUS, _SIGMA = 3, 7 / 6
_SHAPES = (0.2, 10.0, 0.001)  # of the generalized Gaussians: lowest, highest, step
_NEIGHBORS = ((0, 1), (1, 0), (1, 1), (1, -1))  # right, below, both diagonals


class NIQE(nn.Module):
    """(N, 3, H, W), RGB -1..1, sides of 96 pixels or more -> (N,), about 2 to 20.

    Args:
        mean: (36,) of the features of undamaged photographs.
        covariance: (36, 36).
    """

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.double())
        self.register_buffer("covariance", covariance.double())
        self.mean: Tensor
        self.covariance: Tensor

    def forward(self, pictures: Tensor) -> Tensor:
        """One figure a picture; what does not fill whole patches is cut off at right and below.

        Raises:
            InputError: a side has fewer than 96 pixels.
        """
        if min(pictures.shape[-2:]) < PATCH:
            raise InputError(
                f"NIQE needs pictures of {PATCH} px or more, not {pictures.shape[-1]}."
            )
        return torch.stack([self._distance(features(one)) for one in _luma(pictures)]).float()

    def _distance(self, found: Tensor) -> Tensor:
        """Of a picture's patches (P, 36) from the undamaged ones: equation 10 of the paper."""
        found = found[found.isfinite().all(dim=1)]
        if len(found) == 0:
            raise InputError("NIQE cannot judge a picture without any texture.")
        offset = found.mean(dim=0) - self.mean.to(found.device)
        spread = torch.cov(found.T) if len(found) > 1 else torch.zeros_like(self.covariance)
        middle = (self.covariance.to(found.device) + spread.to(found.device)) / 2
        return (offset @ torch.linalg.pinv(middle, hermitian=True) @ offset).sqrt()


def load_niqe(path: str | Path | None = None) -> NIQE:
    """The metric with its model; see `perception.locate.find` for the file and the errors."""
    with np.load(find(PRISTINE, path), allow_pickle=False) as content:
        mean, covariance = content["mu_pris_param"], content["cov_pris_param"]
    return NIQE(torch.from_numpy(mean).flatten(), torch.from_numpy(covariance)).eval()


def features(light: Tensor) -> Tensor:
    """The 36 features of every patch (P, 36) of a gray picture (H, W) 0..255, at two scales."""
    height, width = (side // PATCH * PATCH for side in light.shape)
    fine = light[:height, :width]
    half = F.interpolate(
        fine[None, None],
        (height // 2, width // 2),
        mode="bicubic",
        align_corners=False,
        antialias=True,
    )[0, 0]
    return torch.cat([_of_scale(fine, PATCH), _of_scale(half, PATCH // 2)], dim=1)


def _luma(pictures: Tensor) -> Tensor:
    """(N, 3, H, W) -1..1 -> (N, H, W) 0..255, of the 8-bit values that a file would hold."""
    pixels = ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().double()
    return luma(pixels)[:, 0]


def _of_scale(light: Tensor, patch: int) -> Tensor:
    """(P, 18): of the normalized luma and of its products with four neighbors."""
    normal = _normalized(light)
    patches = normal.unfold(0, patch, patch).unfold(1, patch, patch).reshape(-1, patch, patch)
    shape, left, right = _asymmetric(patches)
    columns = [shape, (left + right) / 2]
    for shift in _NEIGHBORS:
        shape, left, right = _asymmetric(patches * patches.roll(shift, dims=(1, 2)))
        mean = (right - left) * torch.exp(torch.lgamma(2 / shape) - torch.lgamma(1 / shape))
        columns += [shape, mean, left, right]
    return torch.stack(columns, dim=1)


def _normalized(light: Tensor) -> Tensor:
    """(luma - local mean) / (local deviation + 1), of a Gaussian window of 7 pixels."""
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, dtype=light.dtype, device=light.device)
    taps = torch.exp(-offsets.square() / (2 * _SIGMA**2))
    kernel = taps[:, None] * taps[None, :] / taps.sum().square()

    def local(values: Tensor) -> Tensor:
        padded = F.pad(values[None, None], (_RADIUS,) * 4, mode="replicate")
        return F.conv2d(padded, kernel[None, None])[0, 0]

    mean = local(light)
    deviation = (local(light.square()) - mean.square()).abs().sqrt()
    return (light - mean) / (deviation + 1)


def _asymmetric(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Asymmetric generalized Gaussians fitted to (P, h, w): shape, left and right scale, (P,) each.

    By moments, Lasmar, Stitou & Berthoumieu, 2009: the shape whose ratio of moments is nearest.
    """
    flat = values.flatten(1)
    left, right = (_deviation(flat, chosen) for chosen in (flat < 0, flat > 0))
    ratio = left / right
    moments = flat.abs().mean(dim=1).square() / flat.square().mean(dim=1)
    wanted = moments * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1).square()
    low, high, step = _SHAPES
    shapes = torch.linspace(low, high, round((high - low) / step) + 1, dtype=flat.dtype)
    shapes = shapes.to(flat.device)
    log_ratio = 2 * torch.lgamma(2 / shapes) - torch.lgamma(1 / shapes) - torch.lgamma(3 / shapes)
    shape = shapes[(log_ratio.exp()[None] - wanted[:, None]).abs().argmin(dim=1)]
    # A patch without texture has no shape; it is left out of the picture's mean.
    shape = torch.where(wanted.isfinite(), shape, math.nan)
    scale = torch.exp((torch.lgamma(1 / shape) - torch.lgamma(3 / shape)) / 2)
    return shape, left * scale, right * scale


def _deviation(flat: Tensor, chosen: Tensor) -> Tensor:
    """Root mean square of the chosen values of each row."""
    squares = torch.where(chosen, flat, 0).square().sum(dim=1)
    return (squares / chosen.sum(dim=1)).sqrt()
