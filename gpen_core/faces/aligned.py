"""Ready crops: pictures that are one aligned face already."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError
from ..images.layouts import from_network, to_network
from ..models.model import Model
from .detect import DetectOptions, Detector, detect
from .found import Faces
from .restore import Monitor, RestoreOptions, restore_crops
from .templates import template as template_of

# Between the two templates landmarks differ by 2.5 % of the crop, a loosely cropped portrait by
# 10 % and more; beyond this a restored picture shows a face drawn over another one.
MAX_LANDMARK_ERROR = 0.10
# Detectors see less in a degraded crop; the picture is known to hold one face.
_CONFIDENCE = 0.7


def restore_aligned(
    images: Tensor, model: Model, options: RestoreOptions, monitor: Monitor | None = None
) -> Tensor:
    """(B, 3, S, S) 0..1 ready crops -> (B, 3, T, T) 0..1, T the model's output size."""
    restored = restore_crops(to_network(images), model, options, monitor or Monitor())
    return from_network(restored)


def check_aligned(image: Tensor, detector: Detector, template: str) -> None:
    """Refuse a picture (1, 3, H, W) that is not one centerd, upright face.

    Raises:
        InputError: not square, no face, several faces, or a face in another place than the
            template's; the text says which, and how to align.
    """
    hint = "add --face_align to find and align the faces, or --no_check if it is a ready crop"
    height, width = image.shape[-2:]
    if height != width:
        raise InputError(f"The picture is {width}x{height} px, not a square face crop; {hint}.")
    faces = detect(image, detector, DetectOptions(confidence=_CONFIDENCE))
    main = _main_faces(faces)
    if len(main) == 0:
        raise InputError(f"No face was found in the picture; {hint}.")
    if len(main) > 1:
        raise InputError(f"The picture holds {len(main)} faces, not one; {hint}.")
    expected = template_of(template, height).to(main.landmarks)
    error = float((main.landmarks[0] - expected).norm(dim=-1).mean()) / height
    if error > MAX_LANDMARK_ERROR:
        raise InputError(
            f"The face is not centerd as the {template} template wants it "
            f"({error:.0%} of the picture off); {hint}."
        )


def _main_faces(faces: Faces) -> Faces:
    """The faces at least half as large as the largest; a crop may show a bystander's part."""
    if len(faces) == 0:
        return faces
    boxes = faces.boxes
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return faces.take(torch.nonzero(areas >= 0.5 * areas.max()).flatten())
