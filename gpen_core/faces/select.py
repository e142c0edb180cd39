"""Select: which of the faces found are restored, in which order."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..errors import InputError
from .boxes import box_areas
from .found import Faces

log = logging.getLogger(__name__)

Keep = str | int | Sequence[int]


def select(faces: Faces, sort: str = "area", keep: Keep = "all") -> Faces:
    """Order the faces of each image, and keep some of them.

    Args:
        faces: of a batch; each image is treated for itself.
        sort: `area` (largest first), `confidence` (surest first), `left-right`, `top-bottom`, or
            `center` (nearest to the image's center first); by the center of the box. Equals keep
            their order.
        keep: `"all"`, `"none"`, `"largest"` (whatever the sort), a number n (the first n), a list
            of indices in the sorted order, or such a list as text: `"0,2"`. Text that is one
            number is an index; an empty list or text keeps nothing. Indices that an image does
            not have are left out and logged, since the images of a video differ.

    Returns:
        The faces kept, image after image, in the sorted order or, for a list, in the list's.

    Raises:
        InputError: an unknown sort, or a `keep` that cannot be read.
    """
    if sort not in SORTS:
        raise InputError(f"Faces cannot be sorted by {sort!r}; choose among {', '.join(SORTS)}.")
    pick = _read_keep(keep)
    chosen: list[int] = []
    for image, size in enumerate(faces.image_sizes):
        own = torch.nonzero(faces.source.cpu() == image).flatten()
        boxes, scores = faces.boxes.cpu()[own], faces.scores.cpu()[own]
        order = SORTS[sort](boxes, scores, size).argsort(stable=True)
        chosen += [int(own[i]) for i in pick(order, boxes, image)]
    return faces.take(chosen)


# --- order: a key per face, ascending --------------------------------------------------------

_Key = Callable[[Tensor, Tensor, tuple[int, int]], Tensor]


def _centers(boxes: Tensor) -> Tensor:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _from_center(boxes: Tensor, scores: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size
    middle = boxes.new_tensor([(width - 1) / 2, (height - 1) / 2])
    return (_centers(boxes) - middle).norm(dim=1)


SORTS: dict[str, _Key] = {
    "area": lambda boxes, scores, size: -box_areas(boxes),
    "confidence": lambda boxes, scores, size: -scores,
    "left-right": lambda boxes, scores, size: _centers(boxes)[:, 0],
    "top-bottom": lambda boxes, scores, size: _centers(boxes)[:, 1],
    "center": _from_center,
}


# --- keep: from an order to the faces kept ---------------------------------------------------

_Pick = Callable[[Tensor, Tensor, int], list[int]]


def _read_keep(keep: Keep) -> _Pick:
    """What `keep` says, as a function of (order, boxes, image)."""
    if isinstance(keep, bool):
        raise InputError(f"keep must be text, a number or a list of indices, not {keep}.")
    if isinstance(keep, int):
        if keep < 0:
            raise InputError(f"keep, as a number of faces, must be 0 or more, not {keep}.")
        return lambda order, boxes, image: order[:keep].tolist()
    if isinstance(keep, str):
        word = keep.strip().lower()
        if word == "all":
            return lambda order, boxes, image: order.tolist()
        if word == "largest":
            return _largest
        return _by_index([] if word == "none" else _parse(keep))
    return _by_index(_check_indices(keep))


def _largest(order: Tensor, boxes: Tensor, image: int) -> list[int]:
    return [int(box_areas(boxes).argmax())] if len(boxes) else []


def _by_index(indices: Sequence[int]) -> _Pick:
    unique = list(dict.fromkeys(indices))

    def pick(order: Tensor, boxes: Tensor, image: int) -> list[int]:
        absent = [index for index in unique if index >= len(order)]
        if absent:
            log.warning(
                "Image %d has %d face(s), counted from 0; there is no face %s.",
                image,
                len(order),
                ", ".join(map(str, absent)),
            )
        return [int(order[index]) for index in unique if index < len(order)]

    return pick


def _parse(text: str) -> list[int]:
    parts = [part.strip() for part in re.split(r"[,;\s]+", text) if part.strip()]
    for part in parts:
        if not re.fullmatch(r"[0-9]{1,9}", part):
            raise InputError(
                f"keep={text!r} does not say which faces ({part!r} is not an index); write "
                f"'all', 'none', 'largest', or indices from 0 such as '0,2'."
            )
    return [int(part) for part in parts]


def _check_indices(indices: Sequence[int]) -> list[int]:
    if not isinstance(indices, Sequence) or isinstance(indices, bytes):
        raise InputError(
            f"keep must be text, a number or a list of indices, not {type(indices).__name__}."
        )
    for index in indices:
        if isinstance(index, bool) or not isinstance(index, int) or index < 0:
            raise InputError(f"keep must list whole numbers from 0; {index!r} is not one.")
    return list(indices)
