"""Where one scene of a film ends and the next begins, told by the colors."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn import functional

SMALL = (64, 36)
"""Width and height of the copies that are compared; which ones matters little."""

# A scene ends where the colors of two frames in a row share less than this.
_SAME_SCENE, _BINS = 0.55, 16


class Cuts:
    """Frame after frame: whether a new scene begins.

    Example:
        >>> dark, light = (np.full((36, 64, 3), value, np.uint8) for value in (20, 200))
        >>> cuts = Cuts()
        >>> [cuts.begins(frame) for frame in (dark, dark, light, light)]
        [False, False, True, False]
    """

    def __init__(self) -> None:
        self._before: np.ndarray | None = None

    def begins(self, small: np.ndarray) -> bool:
        """Whether a small copy (h, w, 3) uint8 is the first frame of another scene."""
        counts = [np.bincount(one.ravel() // (256 // _BINS), minlength=_BINS) for one in small.T]
        colors = np.concatenate(counts).astype(np.float64)
        colors /= colors.sum()
        before, self._before = self._before, colors
        return before is not None and bool(np.minimum(colors, before).sum() < _SAME_SCENE)


def cuts_of(images: Tensor) -> list[int]:
    """Indices of first frames of scenes in a batch (B, 3, H, W) 0..1, without the first frame.

    Example:
        >>> import torch
        >>> cuts_of(torch.cat([torch.full((3, 3, 48, 64), 0.1), torch.full((2, 3, 48, 64), 0.8)]))
        [3]
    """
    cuts = Cuts()
    return [index for index, image in enumerate(images) if cuts.begins(_small(image))]


def _small(image: Tensor) -> np.ndarray:
    small = functional.interpolate(image[None].float(), SMALL[::-1], mode="area")[0]
    levels = (small.clamp(0, 1) * 255).round().byte()
    return levels.movedim(0, -1).cpu().numpy()
