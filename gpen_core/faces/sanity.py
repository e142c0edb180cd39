"""Sanity of landmarks: can these five points be those of a face?

All measures are taken in the face's own frame, so a face may lie in any turn.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Landmarks may leave the box by this share of its sides: boxes are cut at chins and cheeks.
_OUTSIDE = 0.3
# Eye distance over eye-to-mouth distance is about 0.9 from the front, smaller in profile, larger
# with the head bowed.
_NARROWEST, _WIDEST = 0.15, 3.0
# Eye-to-mouth distance over the box's longer side; about 0.4 for a whole face.
_SHORTEST = 0.1
# Sine of the angle between the eyes' line and the line from eyes to mouth; 1 from the front.
_LEAST_UPRIGHT = 0.3
# Where the nose lies between eyes (0) and mouth (1).
_NOSE = (-0.3, 1.3)


def plausible(boxes: Tensor, landmarks: Tensor) -> Tensor:
    """Which faces have landmarks in a face's arrangement.

    Eyes apart and above the mouth, left of each other in the face's own view (no mirrored face),
    not narrower than a profile, the nose between eyes and mouth, all points in or near the box.

    Args:
        boxes: (N, 4).
        landmarks: (N, 5, 2): left eye, right eye, nose, left and right mouth corner.

    Returns:
        (N,) bool.
    """
    left_eye, right_eye, nose, left_mouth, right_mouth = landmarks.unbind(dim=1)
    across = right_eye - left_eye
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    down = mouth - eyes
    height = down.norm(dim=1)
    width = across.norm(dim=1)
    sides = boxes[:, 2:] - boxes[:, :2]

    tall = height > _SHORTEST * sides.amax(dim=1).clamp(min=1e-6)
    wide = (width > _NARROWEST * height) & (width < _WIDEST * height)
    upright = _cross(across, down) > _LEAST_UPRIGHT * width * height
    mouth_agrees = _cross(right_mouth - left_mouth, down) > 0
    place = ((nose - eyes) * down).sum(dim=1)
    between = (place > _NOSE[0] * height**2) & (place < _NOSE[1] * height**2)
    return tall & wide & upright & mouth_agrees & between & _near(boxes, landmarks)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """(N, 2), (N, 2) -> (N,); above 0 where b points clockwise of a on the screen."""
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _near(boxes: Tensor, landmarks: Tensor) -> Tensor:
    """(N,) bool: every point in the box or little outside."""
    corner0, corner1 = boxes[:, None, :2], boxes[:, None, 2:]
    margin = _OUTSIDE * (corner1 - corner0)
    inside = (landmarks >= corner0 - margin) & (landmarks <= corner1 + margin)
    return inside.flatten(1).all(dim=1) & torch.isfinite(landmarks).flatten(1).all(dim=1)
