"""Where the five landmarks of an aligned face lie in its crop."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError
from ..options import TEMPLATES

_REFERENCE_SIZE = 512

# GPEN: ArcFace's 96x112 template, 8 px to the right, a quarter of padding on each side, times
# 512/168. FFHQ: the mean of FFHQ's five points, facexlib's default.
_ARCFACE_96X112 = (
    (30.29459953, 51.69630051),
    (65.53179932, 51.50139999),
    (48.02519989, 71.73660278),
    (33.54930115, 92.3655014),
    (62.72990036, 92.20410156),
)
_GPEN_INNER_SIZE = 112.0
_GPEN_PADDING = 0.25
_FFHQ_512 = (
    (192.98138, 239.94708),
    (318.90277, 240.1936),
    (256.63416, 314.01935),
    (201.26117, 371.41043),
    (313.08905, 371.15118),
)


def template(name: str, size: int) -> Tensor:
    """Landmarks of an aligned face, linear in the crop's size.

    Args:
        name: "gpen" (what every public GPEN model was trained on) or "ffhq".
        size: side of the crop in pixels.

    Returns:
        (5, 2) float64, x and y in crop pixels: image-left eye, image-right eye, nose, left and
        right mouth corner.

    Raises:
        InputError: an unknown name, or a size below 1.

    Example:
        >>> template("gpen", 512).round()[2]
        tensor([256., 304.], dtype=torch.float64)
    """
    if size < 1:
        raise InputError(f"The crop size must be 1 or more, not {size}.")
    if name == "gpen":
        inner = torch.tensor(_ARCFACE_96X112, dtype=torch.float64)
        padding = _GPEN_INNER_SIZE * _GPEN_PADDING
        side = _GPEN_INNER_SIZE + 2 * padding
        shift = torch.tensor([8.0, 0.0], dtype=torch.float64)
        return (inner + shift + padding) * (size / side)
    if name == "ffhq":
        return torch.tensor(_FFHQ_512, dtype=torch.float64) * (size / _REFERENCE_SIZE)
    raise InputError(
        f"There is no alignment template {name!r}; choose among {', '.join(TEMPLATES)}."
    )
