"""Where a crop lies around the template: exactly on it, or jittered for training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError

_WIDEST = (0.25, 4.0)


@dataclass(frozen=True)
class Jitter:
    """How far crops are moved around the GPEN template.

    Attributes:
        rotation: degrees either way.
        scale: range of magnification; 1 is the GPEN template, 1.12 the FFHQ template.
        shift: share of the crop's side, either way.
        flip: whether half of the crops are mirrored.

    Raises:
        InputError: `scale` is no range within 0.25..4.

    Example:
        >>> Jitter(rotation=5, flip=False).scale
        (0.95, 1.16)
    """

    rotation: float = 8.0
    scale: tuple[float, float] = (0.95, 1.16)
    shift: float = 0.03
    flip: bool = True

    def __post_init__(self) -> None:
        low, high = self.scale
        if not _WIDEST[0] <= low <= high <= _WIDEST[1]:
            raise InputError(f"jitter scale must be a range within 0.25..4, not {low}..{high}")


@dataclass(frozen=True)
class Placement:
    """Where a crop lies, relative to the GPEN template.

    Attributes:
        rotation: radians.
        scale: magnification.
        shift: (x, y), shares of the crop's side.
        flip: whether the picture was mirrored first.

    Example:
        >>> Placement(scale=1.12, flip=True).row()
        tensor([[0.0000, 1.1200, 0.0000, 0.0000]])
    """

    rotation: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    flip: bool = False

    @classmethod
    def draw(cls, jitter: Jitter, draws: Sequence[float]) -> Placement:
        """From five numbers 0..1.

        Example:
            >>> Placement.draw(Jitter(scale=(1, 2)), (0.5, 0.5, 0.5, 0.5, 0.9)).scale
            1.5
        """
        low, high = jitter.scale
        return cls(
            rotation=math.radians(jitter.rotation) * (2 * draws[0] - 1),
            scale=low + (high - low) * draws[1],
            shift=(jitter.shift * (2 * draws[2] - 1), jitter.shift * (2 * draws[3] - 1)),
            flip=jitter.flip and draws[4] < 0.5,
        )

    def row(self) -> Tensor:
        """(1, 4): rotation, scale, shift, as a batch of pairs carries it."""
        return torch.tensor([[self.rotation, self.scale, *self.shift]], dtype=torch.float32)
