"""Ready crops: pictures that are one aligned face already."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError
from ..images.layouts import to_network
from ..images.monochrome import tones_of
from ..options import DetectOptions
from .boxes import box_areas
from .detect import detect
from .detector import Detector
from .found import Faces
from .templates import template as template_of

# Between the two templates landmarks differ by 2.5 % of the crop, a loosely cropped portrait by
# 10 % and more; beyond this a restored picture shows a face drawn over another one.
MAX_LANDMARK_ERROR = 0.10
# Detectors see less in a degraded crop; the picture is known to hold one face.
_CONFIDENCE = 0.7


def as_faces(images: Tensor, template: str) -> Faces:
    """Ready crops as faces, each the only one of its picture and already in place.

    Args:
        images: (N, 3, S, S) RGB 0..1.
        template: the alignment template they are in.

    Raises:
        InputError: they are not square.

    Example:
        >>> faces = as_faces(torch.rand(2, 3, 64, 64), "gpen")
        >>> faces.source, faces.crops.shape
        (tensor([0, 1]), torch.Size([2, 3, 64, 64]))
    """
    height, width = images.shape[-2:]
    if height != width:
        raise InputError(f"Face crops must be square, not {width}x{height} px.", remedy="align")
    count, size = len(images), int(width)
    edge = float(size - 1)
    return Faces(
        boxes=torch.tensor([[0.0, 0.0, edge, edge]]).repeat(count, 1),
        scores=torch.ones(count),
        landmarks=template_of(template, size)[None].float().repeat(count, 1, 1),
        source=torch.arange(count),
        image_sizes=((size, size),) * count,
        tones=tones_of(images),
        template=template,
        matrices=torch.eye(2, 3)[None].repeat(count, 1, 1),
        crops=to_network(images.float()),
    )


def check_aligned(image: Tensor, detector: Detector, template: str) -> None:
    """Refuse a picture (1, 3, H, W) that is not one centered, upright face.

    Raises:
        InputError: not square, no face, several faces, or a face in another place than the
            template's; the text says which.

    Example:
        >>> from gpen_core.faces.detector import load_detector
        >>> check_aligned(torch.zeros(1, 3, 64, 64), load_detector(), "gpen")
        Traceback (most recent call last):
        gpen_core.errors.InputError: No face was found in the picture.
    """
    height, width = image.shape[-2:]
    if height != width:
        raise InputError(
            f"The picture is {width}x{height} px, not a square face crop.", remedy="align"
        )
    faces = detect(image, detector, DetectOptions(confidence=_CONFIDENCE))
    main = main_faces(faces)
    if len(main) == 0:
        raise InputError("No face was found in the picture.", remedy="align")
    if len(main) > 1:
        raise InputError(f"The picture has {len(main)} faces, not one.", remedy="align")
    expected = template_of(template, int(height)).to(main.landmarks)
    error = float((main.landmarks[0] - expected).norm(dim=-1).mean()) / height
    if error > MAX_LANDMARK_ERROR:
        raise InputError(
            f"The face is not centered as the {template} template expects: its landmarks are off "
            f"by {error:.0%} of the picture.",
            remedy="align",
        )


def main_faces(faces: Faces) -> Faces:
    """The faces at least half as large as the largest; a crop may show a bystander's part.

    Example:
        >>> boxes = torch.tensor([[0.0, 0, 39, 39], [40, 0, 49, 9]])
        >>> points, source = torch.zeros(2, 5, 2), torch.zeros(2, dtype=torch.int64)
        >>> len(main_faces(Faces(boxes, torch.ones(2), points, source, ((48, 64),))))
        1
    """
    if len(faces) == 0:
        return faces
    areas = box_areas(faces.boxes)
    return faces.take(torch.nonzero(areas >= 0.5 * areas.max()).flatten())
