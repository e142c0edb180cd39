"""Select: which of the faces found are restored, in which order."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..errors import InputError
from ..options import SelectOptions
from ..text import counted
from .boxes import box_areas
from .found import Faces
from .sharp import are_sharper, pixel_scales

log = logging.getLogger(__name__)

_LONGEST_RANGE = 10_000

Keep = str | int | Sequence[int]


def select(faces: Faces, options: SelectOptions | None = None) -> list[int]:
    """The faces to restore, as indices into `faces`: sorted, then some of them kept.

    Args:
        faces: of a batch; each image is treated for itself.
        options: see `sorted_indices` and `kept_indices`. `skip_sharp` compares aligned faces with
            the size of their crops; faces that are not aligned have none.

    Returns:
        Image after image, in the sorted order or, for a list of indices, in the list's.

    Raises:
        InputError: an unknown sort, or a `keep` that cannot be read.

    Example:
        >>> boxes = torch.tensor([[0.0, 0, 9, 9], [20, 0, 39, 19]])
        >>> points, source = torch.zeros(2, 5, 2), torch.zeros(2, dtype=torch.int64)
        >>> faces = Faces(boxes, torch.tensor([0.99, 0.95]), points, source, ((48, 64),))
        >>> select(faces, SelectOptions(sort="area", keep="0"))
        [1]
    """
    options = options or SelectOptions()
    order = sorted_indices(faces, options.sort)
    chosen = [order[place] for place in kept_indices(faces.take(order), options.keep)]
    if not options.skip_sharp or faces.crop_size is None:
        return chosen
    sharp = are_sharper(pixel_scales(faces, faces.crop_size, faces.template or "gpen"))
    return [face for face in chosen if not sharp[face]]


def sorted_indices(faces: Faces, sort: str) -> list[int]:
    """The faces of each image in order, by the center of their boxes; equals keep their order.

    Args:
        faces: of a batch.
        sort: `area` (largest first), `confidence` (surest first), `left-right`, `top-bottom`,
            `center` (nearest to the image's center first), the reverse of three of them, or
            `detected`: as they come.

    Raises:
        InputError: an unknown sort.

    Example:
        >>> boxes = torch.tensor([[0.0, 0, 9, 9], [20, 0, 39, 19]])
        >>> points, source = torch.zeros(2, 5, 2), torch.zeros(2, dtype=torch.int64)
        >>> faces = Faces(boxes, torch.tensor([0.99, 0.95]), points, source, ((48, 64),))
        >>> sorted_indices(faces, "area"), sorted_indices(faces, "left-right")
        ([1, 0], [0, 1])
    """
    if sort not in _KEYS:
        raise InputError(
            f"Faces cannot be sorted by {sort!r}; choose among {', '.join(_KEYS)}.", option="sort"
        )
    order: list[int] = []
    for image, size in enumerate(faces.image_sizes):
        own = torch.nonzero(faces.source.cpu() == image).flatten()
        keys = _KEYS[sort](faces.boxes.cpu()[own], faces.scores.cpu()[own], size)
        order += own[keys.argsort(stable=True)].tolist()
    return order


def kept_indices(faces: Faces, keep: Keep) -> list[int]:
    """Some of the faces of each image, as indices into `faces`, which are in order already.

    Args:
        faces: of a batch, image after image.
        keep: `"all"`, `"none"`, `"largest"`, `"smallest"`, a number n (the first n), a list of
            indices, or such a list as text: `"0,2"`, `"0-3"`, `"3-0"`; below 0 they count from the
            end. Text that is one number is an index; an empty list or text keeps nothing. Indices
            that an image does not have are left out and logged, since the images of a video differ.

    Raises:
        InputError: a `keep` that cannot be read.

    Example:
        >>> boxes = torch.tensor([[0.0, 0, 9, 9], [20, 0, 39, 19]])
        >>> points, source = torch.zeros(2, 5, 2), torch.zeros(2, dtype=torch.int64)
        >>> faces = Faces(boxes, torch.tensor([0.99, 0.95]), points, source, ((48, 64),))
        >>> kept_indices(faces, "largest"), kept_indices(faces, "-1"), kept_indices(faces, 1)
        ([1], [1], [0])
    """
    pick = read_keep(keep)
    chosen: list[int] = []
    for image in range(len(faces.image_sizes)):
        own = torch.nonzero(faces.source.cpu() == image).flatten()
        chosen += own[torch.tensor(pick(faces.boxes.cpu()[own], image), dtype=torch.int64)].tolist()
    return chosen


# --- order: a key per face, ascending --------------------------------------------------------

_Key = Callable[[Tensor, Tensor, tuple[int, int]], Tensor]


def _centers(boxes: Tensor) -> Tensor:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _from_center(boxes: Tensor, scores: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size
    middle = boxes.new_tensor([(width - 1) / 2, (height - 1) / 2])
    return (_centers(boxes) - middle).norm(dim=1)


_KEYS: dict[str, _Key] = {
    "area": lambda boxes, scores, size: -box_areas(boxes),
    "confidence": lambda boxes, scores, size: -scores,
    "left-right": lambda boxes, scores, size: _centers(boxes)[:, 0],
    "top-bottom": lambda boxes, scores, size: _centers(boxes)[:, 1],
    "center": _from_center,
    "small-large": lambda boxes, scores, size: box_areas(boxes),
    "right-left": lambda boxes, scores, size: -_centers(boxes)[:, 0],
    "bottom-top": lambda boxes, scores, size: -_centers(boxes)[:, 1],
    "detected": lambda boxes, scores, size: torch.arange(len(boxes)),
}


# --- keep: from an order to the faces kept ---------------------------------------------------

_Pick = Callable[[Tensor, int], list[int]]


def read_keep(keep: Keep) -> _Pick:
    """What `keep` says, as a function from an image's boxes, in order, to places among them.

    Raises:
        InputError: it cannot be read.

    Example:
        >>> read_keep("0,-1")(torch.zeros(3, 4), 0)
        [0, 2]
    """
    if isinstance(keep, bool):
        raise InputError(
            f"keep must be text, a number or a list of indices, not {keep}.", option="keep"
        )
    if isinstance(keep, int):
        if keep < 0:
            raise InputError(
                f"keep, as a number of faces, must be 0 or more, not {keep}.", option="keep"
            )
        return lambda boxes, image: list(range(min(keep, len(boxes))))
    if isinstance(keep, str):
        word = keep.strip().lower()
        if word == "all":
            return lambda boxes, image: list(range(len(boxes)))
        if word in ("largest", "smallest"):
            return _extreme(largest=word == "largest")
        return _by_index([] if word == "none" else _parse(keep))
    return _by_index(_check_indices(keep))


def _extreme(*, largest: bool) -> _Pick:
    def pick(boxes: Tensor, image: int) -> list[int]:
        areas = box_areas(boxes)
        return [int(areas.argmax() if largest else areas.argmin())] if len(boxes) else []

    return pick


def _by_index(indices: Sequence[int]) -> _Pick:
    unique = list(dict.fromkeys(indices))

    def pick(boxes: Tensor, image: int) -> list[int]:
        absent = [index for index in unique if not -len(boxes) <= index < len(boxes)]
        if absent:
            log.warning(
                "Image %d has %s, numbered from 0; there is no face %s.",
                image,
                counted(len(boxes), "face"),
                ", ".join(map(str, absent)),
            )
        places = [index % len(boxes) for index in unique if index not in absent]
        return list(dict.fromkeys(places))

    return pick


_INDEX, _RANGE = re.compile(r"-?\d{1,9}"), re.compile(r"(\d{1,9})-(\d{1,9})")


def _parse(text: str) -> list[int]:
    """Indices of a list such as `0,2`, `0-3`, `3-0`, `-1`."""
    indices: list[int] = []
    for part in re.split(r"[,;\s]+", text):
        if span := _RANGE.fullmatch(part):
            first, last = int(span[1]), int(span[2])
            if abs(last - first) > _LONGEST_RANGE:
                raise InputError(f"keep has a range that is too long: {part!r}.", option="keep")
            step = 1 if last >= first else -1
            indices += range(first, last + step, step)
        elif _INDEX.fullmatch(part):
            indices.append(int(part))
        elif part:
            raise InputError(
                f"keep must be 'all', 'none', 'largest', 'smallest', or indices such as '0,2', "
                f"'0-3' or '-1' for the last, not {text!r} ({part!r} is not an index).",
                option="keep",
            )
    return indices


def _check_indices(indices: Sequence[int]) -> list[int]:
    if not isinstance(indices, Sequence) or isinstance(indices, bytes):
        raise InputError(
            f"keep must be text, a number or a list of indices, not {type(indices).__name__}.",
            option="keep",
        )
    for index in indices:
        if isinstance(index, bool) or not isinstance(index, int):
            raise InputError(f"keep must list whole numbers; {index!r} is not one.", option="keep")
    return list(indices)
