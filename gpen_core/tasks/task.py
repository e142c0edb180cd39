"""`Task`: what the base does is restoring; the others change what has to be different."""

from __future__ import annotations

from torch import Tensor

from ..images.layouts import fit, fit_mask

# Smallest share of a pixel that makes it a missing one: what 8 bits can say.
_TOUCHED = 0.5 / 255


class Task:
    """What one kind of network is given, and what is made of its answer. This one restores.

    Attributes:
        name: one of `options.TASKS`.
        keeps_tone: a picture in one tone keeps it (see `images.monochrome`).
        keeps_light: only colors are pasted, brightness is the picture's own.
        needs_holes: there is nothing to do without a mask of what is missing.
        sees_faces: its crops show faces; otherwise there is none to be found in them.
        at_crop_size: the result is as large as the crop; otherwise as the network's answer.

    Example:
        >>> import torch
        >>> task, crops = Task(), torch.zeros(2, 3, 64, 64)
        >>> task.prepare(crops, None, 32).shape
        torch.Size([2, 3, 32, 32])
        >>> task.combine(crops, torch.ones(2, 3, 128, 128), None).shape
        torch.Size([2, 3, 128, 128])
    """

    name = "restore"
    keeps_tone = True
    keeps_light = False
    needs_holes = False
    at_crop_size = False
    sees_faces = True

    def checked(self, images: Tensor) -> tuple[Tensor, str]:
        """Ready crops (N, 3, S, S) 0..1 as they are taken, and what the user should know of it.

        Raises:
            InputError: they are not what this task works on.
        """
        return images, ""

    def prepare(self, crops: Tensor, holes: Tensor | None, size: int) -> Tensor:
        """The network's input (N, 3, size, size).

        Args:
            crops: (N, 3, S, S) RGB -1..1.
            holes: (N, 1, S, S) 0..1, 1 where a pixel is missing; for tasks that need them.
            size: side of the network's input in pixels.
        """
        return fit(crops, size)

    def combine(self, crops: Tensor, outputs: Tensor, holes: Tensor | None) -> Tensor:
        """The result (N, 3, U, U) -1..1, U as `size` says.

        Args:
            crops: (N, 3, S, S) RGB -1..1, as `prepare` had them.
            outputs: (N, 3, T, T) -1..1, what the network made of them.
            holes: as `prepare` had them.
        """
        return outputs

    def size(self, crop_size: int, output_size: int) -> int:
        """Side U of the result, from those of the crop and of the network's answer, pixels."""
        return crop_size if self.at_crop_size else output_size


def is_missing(holes: Tensor, size: int) -> Tensor:
    """(N, 1, size, size) bool: every pixel that a hole (N, 1, S, S) 0..1 touches.

    Example:
        >>> import torch
        >>> holes = torch.zeros(1, 1, 4, 4)
        >>> holes[..., 1, 1] = 1
        >>> int(is_missing(holes, 4).sum()), int(is_missing(holes, 2).sum()) >= 1
        (1, True)
    """
    return fit_mask(holes, (size, size)) > _TOUCHED
