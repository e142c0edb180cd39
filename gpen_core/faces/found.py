"""The faces found in a batch of images: what the five steps hand to each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..images.fade import Fade
from ..images.monochrome import Tone


@dataclass(frozen=True)
class Rejected:
    """A face that a detector found and that does not count: where it is, and why not.

    Attributes:
        source: index of the image in the batch.
        box: `x0, y0, x1, y1`.
        score: 0..1.
        landmarks: five (x, y).
        reason: a few words.
    """

    source: int
    box: tuple[float, ...]
    score: float
    landmarks: tuple[tuple[float, float], ...]
    reason: str


_PER_FACE = (
    "boxes",
    "scores",
    "landmarks",
    "source",
    "tracks",
    "matrices",
    "crops",
    "restored",
    "alpha",
    "person",
    "quality",
    "strengths",
    "identity",
    "holes",
    "outlines",
    "covered",
)


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
        tones: of each of the B images, None where it has colors (see `images.monochrome`); empty
            where nobody looked.
        fades: of each of the B images, None where it is not faded (see `images.fade`); empty where
            nobody looked.
        rejected: what was found in these images and does not count.
        tracks: (N,) int64, the number of each face's track where frames are followed, else None.
        template: name of the alignment template, set by `align`.
        matrices: (N, 2, 3) float32 similarity, image pixels to crop pixels, set by `align`.
        crops: (N, 3, S, S) float, RGB -1..1, the aligned input, set by `align`.
        restored: (N, 3, T, T) float, RGB -1..1, T a multiple of S or less, set by `restore`.
        alpha: (N, 1, A, A) float 0..1, how much of each crop whoever edited it wants pasted, or
            None for all of it.
        person: (N,) float32 -1..1, similarity to the person looked for (see `person`), or None.
        quality: (N,) float32 0..1, how good the faces are as they were found (see `quality`).
        strengths: (N,) float32 0..1, how much of the restoration is in `restored` where that is
            decided face by face (see `gate`), else None.
        identity: (N,) float32 -1..1, similarity of `restored` to the face as it was, where that is
            looked at, else None.
        holes: (N, 1, S, S) float 0..1, 1 where a crop's pixel is missing and is to be drawn
            anew, or None where nobody said so.
        outlines: (N, 468, 2) float, the points of `faces.mesh` as shares of the crop's side, set
            where a mask needs them.
        covered: (N, 1, P, P) float 0..1, where something is in front of the face, set where
            `occlusion` asks for it.

    Example:
        >>> faces = Faces(
        ...     boxes=torch.tensor([[0.0, 0.0, 9.0, 9.0], [20.0, 0.0, 39.0, 19.0]]),
        ...     scores=torch.tensor([0.99, 0.95]),
        ...     landmarks=torch.zeros(2, 5, 2),
        ...     source=torch.tensor([0, 0]),
        ...     image_sizes=((48, 64),),
        ... )
        >>> faces.take([1]).boxes
        tensor([[20.,  0., 39., 19.]])
    """

    boxes: Tensor
    scores: Tensor
    landmarks: Tensor
    source: Tensor
    image_sizes: tuple[tuple[int, int], ...]
    tones: tuple[Tone | None, ...] = ()
    fades: tuple[Fade | None, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    tracks: Tensor | None = None
    template: str | None = None
    matrices: Tensor | None = None
    crops: Tensor | None = None
    restored: Tensor | None = None
    alpha: Tensor | None = None
    person: Tensor | None = None
    quality: Tensor | None = None
    strengths: Tensor | None = None
    identity: Tensor | None = None
    holes: Tensor | None = None
    outlines: Tensor | None = None
    covered: Tensor | None = None

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

    def tones_of_faces(self) -> list[Tone | None]:
        """The tone of each face's image."""
        if not self.tones:
            return [None] * len(self)
        return [self.tones[source] for source in self.source.tolist()]

    def fades_of_faces(self) -> list[Fade | None]:
        """The fade of each face's image."""
        if not self.fades:
            return [None] * len(self)
        return [self.fades[source] for source in self.source.tolist()]

    def of_image(self, image: int) -> Faces:
        """The faces of one image of the batch, in their present order."""
        return self.take(torch.nonzero(self.source.cpu() == image).flatten())

    def of_images(self, chosen: slice) -> Faces:
        """The faces of some of the images, as if these were the whole batch."""
        inside = (self.source >= chosen.start) & (self.source < chosen.stop)
        group = self.take(torch.nonzero(inside.cpu()).flatten())
        return group.with_(
            source=group.source - chosen.start,
            image_sizes=self.image_sizes[chosen],
            tones=self.tones[chosen],
            fades=self.fades[chosen],
            rejected=tuple(
                replace(one, source=one.source - chosen.start)
                for one in self.rejected
                if chosen.start <= one.source < chosen.stop
            ),
        )

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
        parts: list[Faces] = []
        rejected: list[Rejected] = []
        offset = 0
        for group in groups:
            parts.append(group.with_(source=group.source + offset))
            rejected += [replace(one, source=one.source + offset) for one in group.rejected]
            offset += len(group.image_sizes)
        if not parts:
            return Faces.empty(())
        return Faces.merge(parts).with_(
            image_sizes=tuple(size for group in groups for size in group.image_sizes),
            tones=tuple(tone for group in groups for tone in group.tones),
            fades=tuple(fade for group in groups for fade in group.fades),
            rejected=tuple(rejected),
        )

    @staticmethod
    def merge(parts: Sequence[Faces]) -> Faces:
        """Several selections of the same images' faces as one, at least one part.

        Tensors that only some parts have are dropped; parts without a face never decide.
        """
        filled = [part for part in parts if len(part)] or [parts[0]]
        joined = {
            name: torch.cat([getattr(part, name).to(_device_of(filled, name)) for part in filled])
            for name in _PER_FACE
            if all(getattr(part, name) is not None for part in filled)
        }
        missing = {name: None for name in _PER_FACE if name not in joined}
        return filled[0].with_(**joined, **missing)

    @staticmethod
    def empty(
        image_sizes: Sequence[tuple[int, int]], tones: Sequence[Tone | None] | None = None
    ) -> Faces:
        """No face in images of these (height, width), in colors unless their tones are given."""
        return Faces(
            boxes=torch.zeros(0, 4),
            scores=torch.zeros(0),
            landmarks=torch.zeros(0, 5, 2),
            source=torch.zeros(0, dtype=torch.int64),
            image_sizes=tuple(image_sizes),
            tones=(None,) * len(image_sizes) if tones is None else tuple(tones),
        )


def _device_of(parts: Sequence[Faces], name: str) -> torch.device:
    """Where the first part has a field: pixels of others may have fled to the CPU."""
    return getattr(parts[0], name).device
