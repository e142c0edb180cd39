"""Extent: where a restored crop lies in its picture, and how far its mask reaches there."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..images.layouts import fit_mask
from .found import Faces
from .warp import reach_at, region_of, resize_matrix, shift_matrix, square

Box = tuple[int, int, int, int]
"""`x0, y0, x1, y1` in whole pixels, ends excluded."""


def touched(faces: Faces, masks: Tensor) -> Box | None:
    """The part of a picture, not enlarged, that pasting some of its faces can change.

    Args:
        faces: restored, of one image.
        masks: (N, 1, M, M) 0..1.

    Returns:
        None where nothing can be changed.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> faces = as_faces(torch.zeros(1, 3, 64, 64), "gpen")
        >>> faces, masks = faces.with_(restored=faces.crops), torch.zeros(1, 1, 64, 64)
        >>> masks[..., 30:34, 20:24] = 1
        >>> touched(faces, masks)
        (14, 24, 30, 40)
    """
    boxes = []
    for face in range(len(faces)):
        to_output = restored_to_output(faces, face)
        _, _, width, height = whole_crop(faces)
        mask = fit_mask(masks[face : face + 1].float(), (height, width))[0]
        boxes.append(box_of(faces.image_sizes[0], to_output, seen(mask, to_output)))
    reached = [box for box in boxes if box is not None]
    if not reached:
        return None
    left, top, right, bottom = zip(*reached, strict=True)
    return (min(left), min(top), max(right), max(bottom))


def restored_to_output(faces: Faces, face: int, scale: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """(3, 3) from the restored crop's pixels over the aligned crop and the input's pixels.

    Args:
        faces: restored.
        face: index of one.
        scale: of the output, across and down.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> faces = as_faces(torch.zeros(1, 3, 64, 64), "gpen")
        >>> faces = faces.with_(restored=torch.zeros(1, 3, 128, 128))
        >>> restored_to_output(faces, 0)[0].tolist()
        [0.5, 0.0, -0.25]
    """
    assert faces.matrices is not None and faces.restored is not None
    assert faces.crop_size is not None
    smaller = faces.crop_size / faces.restored.shape[-1]
    to_input = torch.linalg.inv(square(faces.matrices[face])) @ resize_matrix(smaller, smaller)
    return resize_matrix(*scale) @ to_input


def whole_crop(faces: Faces) -> Box:
    """All of a restored crop.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> faces = as_faces(torch.zeros(1, 3, 64, 64), "gpen")
        >>> whole_crop(faces.with_(restored=torch.zeros(1, 3, 128, 128)))
        (0, 0, 128, 128)
    """
    assert faces.restored is not None
    size = int(faces.restored.shape[-1])
    return (0, 0, size, size)


def seen(layers: Tensor, to_output: Tensor) -> Box | None:
    """The part of a crop in which its mask, warped into an output, can be more than 0.

    Args:
        layers: (C, T, T), the last of which is the mask; its outermost pixels do not count.
        to_output: (3, 3).

    Example:
        >>> mask = torch.zeros(1, 64, 64)
        >>> mask[0, 30:34, 20:24] = 1
        >>> seen(mask, torch.eye(3).double())
        (15, 25, 29, 39)
    """
    size = int(layers.shape[-1])
    reach = reach_at(math.sqrt(abs(float(torch.linalg.det(to_output[:2, :2])))))
    spans = []
    for along in (0, 1):
        places = torch.nonzero(layers[-1, 1:-1, 1:-1].amax(along) > 0).flatten() + 1
        if not len(places):
            return None
        spans.append((max(int(places[0]) - reach, 0), min(int(places[-1]) + 1 + reach, size)))
    (x0, x1), (y0, y1) = spans
    return (x0, y0, x1, y1)


def box_of(size: tuple[int, int], to_output: Tensor, part: Box | None) -> Box | None:
    """Where a part of a crop is seen in an output.

    Args:
        size: (height, width) of the output.
        to_output: (3, 3), from the crop's pixels.
        part: of the crop.

    Returns:
        None where that is nowhere.

    Example:
        >>> box_of((48, 64), shift_matrix(60, 10), (0, 0, 16, 16))
        (59, 9, 64, 27)
    """
    if part is None:
        return None
    x, y, right, bottom = part
    place = to_output @ shift_matrix(x, y)
    left, top, right_end, bottom_end = region_of(place, (bottom - y, right - x))
    x0, y0 = max(math.floor(left), 0), max(math.floor(top), 0)
    x1, y1 = min(math.ceil(right_end) + 1, size[1]), min(math.ceil(bottom_end) + 1, size[0])
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None
