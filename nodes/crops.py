"""Aligned crops as ComfyUI pictures and back, so that other nodes can edit them."""

from __future__ import annotations

import torch
from torch import Tensor

from ..gpen_core.errors import InputError
from ..gpen_core.faces import aligned
from ..gpen_core.faces.found import Faces
from ..gpen_core.faces.mask import crop_masks
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


def masks_of(faces: Faces) -> Tensor:
    """MASK (N, S, S) of the crops, restored where they are: what Paste Back replaces by default.

    Without any crop it is one black mask, as `to_image` gives one black picture.
    """
    crops = faces.crops if faces.restored is None else faces.restored
    assert crops is not None  # whatever comes from a node is aligned
    size = crops.shape[-1]
    if len(faces) == 0:
        return torch.zeros(1, size, size)
    return crop_masks(faces)[:, 0].contiguous().cpu()


def _from_image(image: Tensor) -> tuple[Tensor, Tensor | None]:
    """IMAGE (N, S, S, C) -> (N, 3, S, S) and, where it has one, alpha (N, 1, S, S), 0..1.

    Raises:
        InputError: the pictures are not square.
    """
    if image.shape[1] != image.shape[2]:
        raise InputError(
            f"Crops must be square, not {image.shape[2]}x{image.shape[1]} px; connect the crops "
            f"of Detect and Align Faces or Restore Faces; they may be edited, but must stay square."
        )
    images, alpha = from_comfy(image)
    return images.float(), None if alpha is None else alpha.float()


def replaced(faces: Faces, image: Tensor) -> Faces:
    """The faces with edited crops in the place of their restored ones; no faces stay no faces.

    An alpha channel says how much of each pixel is pasted.

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
    images, alpha = _from_image(image)
    return faces.with_(restored=to_network(images), alpha=alpha)


def as_faces(image: Tensor, template: str) -> Faces:
    """Ready crops as faces, each the only one of its picture and already in place."""
    images, alpha = _from_image(image)
    return aligned.as_faces(images, template).with_(alpha=alpha)
