"""Inpaint: holes painted white go in, and only they are filled from the answer."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError
from ..images.layouts import fit, fit_mask
from .task import Task, is_missing


class Inpaint(Task):
    """What is missing of a face, drawn anew; known pixels stay as they are.

    Example:
        >>> crops, answer = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8) / 2
        >>> holes = torch.zeros(1, 1, 8, 8)
        >>> holes[..., :2, :] = 1
        >>> task = Inpaint()
        >>> task.prepare(crops, holes, 8).mean().item()  # a quarter is white
        0.25
        >>> task.combine(crops, answer, holes)[0, 0, :, 0]
        tensor([0.5000, 0.5000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000])
    """

    name = "inpaint"
    needs_holes = True
    at_crop_size = True

    def prepare(self, crops: Tensor, holes: Tensor | None, size: int) -> Tensor:
        """See `Task`. White is 1 in the range -1..1.

        Raises:
            InputError: there are no holes.
        """
        missing = is_missing(_given(holes), size)
        return torch.where(missing.to(crops.device), 1.0, fit(crops, size))

    def combine(self, crops: Tensor, outputs: Tensor, holes: Tensor | None) -> Tensor:
        """See `Task`. Where a hole is 0 the crop comes back bit for bit."""
        size = int(crops.shape[-1])
        share = fit_mask(_given(holes), (size, size)).to(crops.device, crops.dtype).clamp(0, 1)
        filled = torch.lerp(crops, fit(outputs, crops.shape[-1]).to(crops.dtype), share)
        return torch.where(share > 0, filled, crops)


def _given(holes: Tensor | None) -> Tensor:
    if holes is None:
        raise InputError(
            "There is nothing to fill without a mask; give one, white where the picture is "
            "to be drawn anew.",
            option="hole",
        )
    return holes
