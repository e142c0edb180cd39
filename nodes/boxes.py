"""Boxes of faces in the host's forms: a MASK, and BOUNDING_BOX."""

from __future__ import annotations

import torch
from torch import Tensor

from ..gpen_core.faces.found import Faces


def to_mask(faces: Faces) -> Tensor:
    """MASK (B, H, W), 1 inside the boxes."""
    height, width = faces.image_sizes[0]
    masks = torch.zeros(len(faces.image_sizes), height, width)
    corners = faces.boxes.round().to(torch.int64).clamp(min=0).tolist()
    for source, (x0, y0, x1, y1) in zip(faces.source.tolist(), corners, strict=True):
        masks[source, y0 : y1 + 1, x0 : x1 + 1] = 1
    return masks
