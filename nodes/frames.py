"""Batches of many frames, worked on a few at a time so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..gpen_core.errors import InputError
from ..gpen_core.faces.found import Faces

FRAMES_AT_ONCE = 4


def groups(count: int, size: int = FRAMES_AT_ONCE) -> Iterator[slice]:
    """Slices of at most `size` that cover `count` frames."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


class Assembled:
    """A batch that is filled group by group; allocated once, when the first group is known."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.tensor: Tensor | None = None

    def put(self, chosen: slice, piece: Tensor) -> None:
        """Store the frames `chosen`, on the CPU."""
        if self.tensor is None:
            self.tensor = torch.empty(self._count, *piece.shape[1:], dtype=piece.dtype)
        self.tensor[chosen] = piece


def indices_of(faces: Faces, chosen: slice) -> Tensor:
    """Where the faces of the frames `chosen` stand among all faces."""
    inside = (faces.source >= chosen.start) & (faces.source < chosen.stop)
    return torch.nonzero(inside).flatten()


def faces_of(faces: Faces, chosen: slice) -> Faces:
    """The faces of the frames `chosen`, as if these were the whole batch."""
    group = faces.take(indices_of(faces, chosen))
    return group.with_(source=group.source - chosen.start, image_sizes=faces.image_sizes[chosen])


def part(images: Tensor | None, chosen: slice) -> Tensor | None:
    """The frames `chosen` of an optional batch; a single picture serves every frame."""
    return images if images is None or len(images) == 1 else images[chosen]


def check_count(name: str, images: Tensor | None, count: int) -> None:
    """Refuse an optional batch that matches the frames neither one to one nor as a single picture.

    Raises:
        InputError: says both numbers.
    """
    if images is not None and len(images) not in (1, count):
        raise InputError(
            f"{name} holds {len(images)} pictures but the image has {count}; give 1 or {count}."
        )
