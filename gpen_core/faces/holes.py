"""What is missing of a picture, as a mask in its own coordinates, and of each face in it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError
from ..hooks import Hooks
from ..images.layouts import fit_mask
from ..memory.allowance import Allowance
from .align import estimate_similarity
from .found import Faces
from .paste import Surface
from .templates import template as template_points
from .warp import square, warp

UNTOUCHED = "not touched by the mask"

# A hole is looked for in each face's crop at this size, and this much of a pixel makes it missing.
# Bicubic sampling rings by less.
_LOOKED_AT, _TOUCHED = 128, 0.1


def holes_of(surface: Surface) -> Tensor:
    """The mask of what is missing, (B or 1, 1, H, W) 0..1 at the size of the images.

    Raises:
        InputError: there is none, or another number of masks than images.

    Example:
        >>> holes_of(Surface(torch.zeros(1, 3, 8, 8), user_mask=torch.ones(1, 1, 4, 4))).shape
        torch.Size([1, 1, 8, 8])
    """
    mask, images = surface.user_mask, surface.images
    if mask is None:
        raise InputError(
            "There is nothing to fill without a mask; give one, white where the picture is to be "
            "drawn anew.",
            option="hole",
        )
    return _fitted(mask, images)


def holes_of_crops(mask: Tensor, crops: Tensor) -> Tensor:
    """The mask of what is missing of ready crops (N, 3, S, S): (N, 1, S, S) 0..1.

    Raises:
        InputError: another number of masks than crops.

    Example:
        >>> holes_of_crops(torch.ones(1, 1, 4, 4), torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 1, 8, 8])
    """
    return _fitted(mask, crops).expand(len(crops), -1, -1, -1)


def _fitted(mask: Tensor, images: Tensor) -> Tensor:
    if mask.ndim != 4 or mask.shape[1] != 1 or len(mask) not in (1, len(images)):
        raise InputError(
            f"The mask has the shape {tuple(mask.shape)} for {len(images)} pictures; give one "
            f"(1, 1, height, width), or one for each picture.",
            option="hole",
        )
    size = (int(images.shape[-2]), int(images.shape[-1]))
    return fit_mask(mask.to(images.device, torch.float32).clamp(0, 1), size)


def is_hole(mask: Tensor) -> Tensor:
    """Which pixels of a mask 0..1 are missing, as bool.

    Example:
        >>> is_hole(torch.tensor([0.05, 0.5])).tolist()
        [False, True]
    """
    return mask > _TOUCHED


def touches(faces: Faces, face: int, holes: Tensor) -> bool:
    """Whether the holes (B or 1, 1, H, W) of the faces' images reach into the crop of one face.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> faces = as_faces(torch.rand(1, 3, 64, 64), "gpen")
        >>> [touches(faces, 0, torch.full((1, 1, 64, 64), value)) for value in (0.0, 1.0)]
        [False, True]
    """
    points = template_points(faces.template or "gpen", _LOOKED_AT)
    matrix = estimate_similarity(faces.landmarks[face : face + 1], points)[0]
    return bool(_seen(holes, int(faces.source[face]), matrix, _LOOKED_AT).any())


def with_holes(faces: Faces, holes: Tensor, hooks: Hooks | None = None) -> Faces:
    """Aligned faces with `holes` (N, 1, S, S), 0 or 1: every pixel of a crop that a hole touches.

    Args:
        faces: with `matrices` and `crops`.
        holes: (B or 1, 1, H, W) 0..1 of the faces' images.
        hooks: told of fall-backs.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> faces = as_faces(torch.rand(2, 3, 64, 64), "gpen")
        >>> with_holes(faces, torch.ones(1, 1, 64, 64)).holes.mean()
        tensor(1.)
    """
    assert faces.matrices is not None and faces.crop_size is not None
    size, matrices = faces.crop_size, faces.matrices
    hooks = hooks or Hooks()

    def cut_out(_: int, device: torch.device) -> Tensor:
        cut = torch.zeros(len(faces), 1, size, size, device=device)
        for face, source in enumerate(faces.source.tolist()):
            cut[face] = _seen(holes.to(device), source, matrices[face], size).float()
        return cut

    cut = Allowance("cutting out the mask", hooks.event, device=holes.device)(cut_out)
    return faces.with_(holes=cut)


def _seen(holes: Tensor, source: int, matrix: Tensor, size: int) -> Tensor:
    """(1, size, size) bool: which pixels of a crop the holes of its picture touch.

    Nothing is missing beyond the edge of the picture, which the crop shows mirrored.
    """
    hole = holes[source % len(holes)]
    return is_hole(warp(hole, square(matrix), (size, size), border="reflect"))
