"""Colorize: gray in, colors out; brightness is always the input's."""

from __future__ import annotations

from torch import Tensor

from ..images.layouts import fit, from_network, to_network
from ..images.monochrome import luma, with_light
from .task import Task


class Colorize(Task):
    """Colors for gray faces.

    The network sees gray in three channels (BT.601 luma). Of its answer only the color is taken,
    resized to the crop; the luma is the crop's, so that no detail is lost however small the
    network is.

    Example:
        >>> import torch
        >>> gray, answer = torch.zeros(1, 3, 64, 64), torch.rand(1, 3, 32, 32) * 2 - 1
        >>> colored = Colorize().combine(gray, answer, None)
        >>> colored.shape, bool((luma(colored) - luma(gray)).abs().max() < 1e-6)
        (torch.Size([1, 3, 64, 64]), True)
    """

    name = "colorize"
    keeps_tone = False
    keeps_light = True
    at_crop_size = True

    def prepare(self, crops: Tensor, holes: Tensor | None, size: int) -> Tensor:
        """See `Task`."""
        return luma(fit(crops, size)).repeat(1, 3, 1, 1)

    def combine(self, crops: Tensor, outputs: Tensor, holes: Tensor | None) -> Tensor:
        """See `Task`."""
        colors = from_network(fit(outputs, crops.shape[-1]))
        return to_network(with_light(colors, luma(from_network(crops))))
