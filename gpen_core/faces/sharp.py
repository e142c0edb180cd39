"""Sharp: faces that have more pixels in the picture than the network makes of them."""

from __future__ import annotations

import torch
from torch import Tensor

from .align import estimate_similarity
from .found import Faces
from .templates import template as template_points

REASON = "already sharper than the model"
"""Why such a face is left as it is."""

# A tenth more pixels cannot be told from as many.
_MORE = 1.1


def pixel_scales(faces: Faces, size: int, template: str) -> Tensor:
    """Pixels of the picture for each pixel of a face restored at `size`.

    A face that spans 900 px between the edges of its crop and is restored at 512 px has 1.76: it
    comes back with fewer pixels than it had.

    Args:
        faces: with landmarks.
        size: side of the restored crops, pixels.
        template: how they are aligned.

    Returns:
        (N,) float64 on the CPU, above 0.

    Raises:
        InputError: unusable landmarks.

    Example:
        >>> face = Faces.empty([(1024, 1024)])
        >>> pixel_scales(face, 512, "gpen").shape
        torch.Size([0])
    """
    matrices = estimate_similarity(faces.landmarks, template_points(template, size))
    return 1 / torch.hypot(matrices[:, 0, 0], matrices[:, 1, 0])


def are_sharper(scales: Tensor) -> Tensor:
    """(N,) bool: which faces have more pixels than are made of them; see `pixel_scales`.

    Example:
        >>> are_sharper(torch.tensor([0.8, 1.05, 1.76])).tolist()
        [False, False, True]
    """
    return scales > _MORE
