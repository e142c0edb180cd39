"""Aligned crops as ComfyUI pictures and back, so that other nodes can edit them."""

from __future__ import annotations

import torch
from torch import Tensor

from ..gpen_core.errors import InputError
from ..gpen_core.faces import aligned
from ..gpen_core.faces.found import Faces
from ..gpen_core.images.layouts import from_comfy, from_network, to_comfy, to_network
from ..gpen_core.run import groups

_CROPS_AT_ONCE = 16


def to_image(crops: Tensor) -> Tensor:
    """(N, 3, S, S) -1..1 -> IMAGE (N, S, S, 3), in groups so that nothing is held twice.

    Without any crop it is one black picture: many nodes cannot take an empty batch.
    """
    size = crops.shape[-1]
    if len(crops) == 0:
        return torch.zeros(1, size, size, 3)
    image = torch.empty(len(crops), size, size, 3)
    for chosen in groups(len(crops), _CROPS_AT_ONCE):
        image[chosen] = to_comfy(from_network(crops[chosen].float().cpu()))
    return image


def _from_image(image: Tensor) -> Tensor:
    """IMAGE (N, S, S, C) -> (N, 3, S, S) 0..1.

    Raises:
        InputError: the pictures are not square.
    """
    if image.shape[1] != image.shape[2]:
        raise InputError(
            f"Crops must be square, not {image.shape[2]}x{image.shape[1]} px; connect the crops "
            f"of Detect and Align Faces or Restore Faces; they may be edited, but must stay square."
        )
    return from_comfy(image)[0].float()


def replaced(faces: Faces, image: Tensor) -> Faces:
    """The faces with edited crops in the place of their restored ones; no faces stay no faces.

    Raises:
        InputError: another number of crops than faces, or crops that are not square.
    """
    if len(faces) == 0:
        return faces
    if len(image) != len(faces):
        raise InputError(
            f"There are {len(image)} crops for {len(faces)} faces; connect all crops of these "
            f"faces, in the same order."
        )
    return faces.with_(restored=to_network(_from_image(image)))


def as_faces(image: Tensor, template: str) -> Faces:
    """Ready crops as faces, each the only one of its picture and already in place."""
    return aligned.as_faces(_from_image(image), template)
