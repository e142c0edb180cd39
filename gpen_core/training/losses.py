"""Regression losses between a restored face and the truth, weighted per pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from .config import Losses


def regression_losses(
    restored: Tensor, truth: Tensor, weight: Tensor, weights: Losses
) -> dict[str, Tensor]:
    """The weighted losses that are on, each a scalar; their sum is what to minimize.

    Args:
        restored: (N, 3, H, W), RGB -1..1.
        truth: the same shape.
        weight: (N, 1, H, W), 0 and up: how much each pixel counts.
        weights: the factor of each loss; 0 leaves it out.
    """
    restored = restored.float()
    losses = {}
    if weights.l1:
        losses["l1"] = weights.l1 * l1(restored, truth, weight)
    if weights.gradient:
        losses["gradient"] = weights.gradient * gradient(restored, truth, weight)
    if weights.frequency:
        losses["frequency"] = weights.frequency * frequency(restored, truth, weight)
    return losses


def l1(restored: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference."""
    return _mean((restored - truth).abs(), weight)


def gradient(restored: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference of the horizontal and the vertical finite differences."""
    difference = restored - truth
    across = (difference[..., :, 1:] - difference[..., :, :-1]).abs()
    down = (difference[..., 1:, :] - difference[..., :-1, :]).abs()
    return _mean(across, weight[..., :, 1:]) + _mean(down, weight[..., 1:, :])


def frequency(restored: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference of the orthonormal 2-D spectra."""
    difference = (restored - truth) * weight
    return torch.fft.rfft2(difference, norm="ortho").abs().mean()


def _mean(value: Tensor, weight: Tensor) -> Tensor:
    return (value * weight).sum() / (weight.sum() * value.shape[1]).clamp(min=1)
