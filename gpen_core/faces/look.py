"""What masks need to know of aligned faces: their outlines, and what is in front of them."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import InputError
from ..hooks import Hooks
from ..memory.allowance import Allowance, movable, moved
from ..options import MaskOptions
from .aligned import as_faces
from .found import Faces
from .mask import crop_masks
from .mesh import Mesher
from .occlusion import OcclusionFinder


def looked_at(
    faces: Faces,
    mesher: Mesher | None = None,
    occlusion: OcclusionFinder | None = None,
    hooks: Hooks | None = None,
) -> Faces:
    """Faces with `outlines` and `covered`, as far as somebody is there to find them.

    Outlines are looked for in the restored faces, which show them better, and what is in front in
    the faces as they were, before the network painted over it.

    Args:
        faces: aligned, restored or not.
        mesher: finds outlines; None leaves them as they are.
        occlusion: sees what is in front; None leaves it as it is.
        hooks: told of fall-backs.

    Raises:
        InputError: faces that are not aligned.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> from gpen_core.faces.mesh import load_mesh
        >>> looked_at(as_faces(torch.rand(2, 3, 64, 64), "gpen"), load_mesh()).outlines.shape
        torch.Size([2, 468, 2])
    """
    if mesher is None and occlusion is None:
        return faces
    shown = faces.crops if faces.restored is None else faces.restored
    if shown is None:
        raise InputError("Masks need face crops; align the faces first.")
    hooks = hooks or Hooks()
    if mesher is not None:
        faces = faces.with_(outlines=_all(mesher, shown, "finding outlines", hooks))
    if occlusion is not None:
        before = shown if faces.crops is None else faces.crops
        faces = faces.with_(covered=_all(occlusion, before, "looking for occlusions", hooks))
    return faces


def covered_share(faces: Faces) -> list[float]:
    """How much of each face something is in front of, 0..1; empty where nobody looked.

    The face is the ellipse that is pasted by default.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> faces = as_faces(torch.rand(1, 3, 64, 64), "gpen")
        >>> covered_share(faces.with_(covered=torch.full((1, 1, 32, 32), 0.25)))
        [0.25]
    """
    if faces.covered is None or len(faces) == 0:
        return []
    size = faces.covered.shape[-1]
    plain = as_faces(torch.zeros(1, 3, size, size), faces.template or "gpen")
    ellipse = crop_masks(plain, MaskOptions(mask="ellipse"))
    covered = faces.covered.detach().float().cpu()
    return ((covered * ellipse).sum((1, 2, 3)) / ellipse.sum()).tolist()


def without_pixels(faces: Faces) -> Faces:
    """Faces without their crops and what was found in them, so that many fit into the memory.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> without_pixels(as_faces(torch.rand(1, 3, 64, 64), "gpen")).crops is None
        True
    """
    return faces.with_(crops=None, restored=None, outlines=None, covered=None)


def _all(look: Callable[[Tensor], Tensor], pictures: Tensor, doing: str, hooks: Hooks) -> Tensor:
    """What a network sees in all pictures, a few at once."""
    look_on = functools.cache(functools.partial(moved, look))
    allowance = Allowance(
        doing, hooks.event, at_once=getattr(look, "batch", 16), device=movable(look)
    )
    if len(pictures) == 0:
        return look(pictures)
    parts = allowance.over(len(pictures), lambda few, device: look_on(device)(pictures[few]))
    return torch.cat([found.to(pictures.device) for _, found in parts])
