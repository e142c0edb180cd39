"""The faces found in a batch of images: what the five steps hand to each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

_PER_FACE = ("boxes", "scores", "landmarks", "source", "matrices", "crops", "restored")


@dataclass(frozen=True)
class Faces:
    """N faces of a batch of B images, filled in from left to right by detect, align and restore.

    Coordinates are pixels of the source image, x to the right, y down, with pixel centers at
    integers (OpenCV's convention).

    Attributes:
        boxes: (N, 4) float32, `x0, y0, x1, y1`.
        scores: (N,) float32, the detector's confidence, 0..1.
        landmarks: (N, 5, 2) float32: image-left eye, image-right eye, nose, left and right mouth
            corner.
        source: (N,) int64, the index of the image in the batch.
        image_sizes: (height, width) of each of the B images.
        template: name of the alignment template, set by `align`.
        matrices: (N, 2, 3) float32 similarity, image pixels to crop pixels, set by `align`.
        crops: (N, 3, S, S) float, RGB -1..1, the aligned input, set by `align`.
        restored: (N, 3, T, T) float, RGB -1..1, T a multiple of S or less, set by `restore`.
    """

    boxes: Tensor
    scores: Tensor
    landmarks: Tensor
    source: Tensor
    image_sizes: tuple[tuple[int, int], ...]
    template: str | None = None
    matrices: Tensor | None = None
    crops: Tensor | None = None
    restored: Tensor | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def crop_size(self) -> int | None:
        """Side of the aligned crops in pixels, None before `align`."""
        return None if self.crops is None else int(self.crops.shape[-1])

    def take(self, indices: Sequence[int] | Tensor) -> Faces:
        """The faces at `indices`, in that order."""
        index = torch.as_tensor(indices, dtype=torch.int64)
        return self._map(lambda value: value[index.to(value.device)])

    def of_image(self, image: int) -> Faces:
        """The faces of one image of the batch, in their present order."""
        return self.take(torch.nonzero(self.source.cpu() == image).flatten())

    def to(self, device: torch.device | str) -> Faces:
        """The same faces with every tensor on `device`."""
        return self._map(lambda value: value.to(device))

    def with_(self, **changes: object) -> Faces:
        """A copy with some fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def _map(self, function: Callable[[Tensor], Tensor]) -> Faces:
        changed: dict[str, Any] = {
            name: function(value)
            for name in _PER_FACE
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **changed)

    @staticmethod
    def concat(groups: Sequence[Faces]) -> Faces:
        """The faces of consecutive groups of images as those of one batch; see `merge`."""
        sizes = tuple(size for group in groups for size in group.image_sizes)
        parts, offset = [], 0
        for group in groups:
            parts.append(group.with_(source=group.source + offset, image_sizes=sizes))
            offset += len(group.image_sizes)
        return Faces.merge(parts) if parts else Faces.empty(sizes)

    @staticmethod
    def merge(parts: Sequence[Faces]) -> Faces:
        """Several selections of the same images' faces as one, at least one part.

        Tensors that only some parts have are dropped; parts without a face never decide.
        """
        filled = [part for part in parts if len(part)] or [parts[0]]
        joined = {
            name: torch.cat([getattr(part, name) for part in filled])
            for name in _PER_FACE
            if all(getattr(part, name) is not None for part in filled)
        }
        missing = {name: None for name in _PER_FACE if name not in joined}
        return filled[0].with_(**joined, **missing)

    @staticmethod
    def empty(image_sizes: Sequence[tuple[int, int]]) -> Faces:
        """No face in images of these (height, width)."""
        return Faces(
            boxes=torch.zeros(0, 4),
            scores=torch.zeros(0),
            landmarks=torch.zeros(0, 5, 2),
            source=torch.zeros(0, dtype=torch.int64),
            image_sizes=tuple(image_sizes),
        )
