"""A restored face held still: averaged with itself in the frames around, where it did not change.

Noise differs from frame to frame, and with it what a network paints. Aligned along its track a
face lies still, so its neighbors in time show the same points; where the input itself changed (a
blink, a word), they do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d
from torch import Tensor

from .found import Faces

# The crops are compared 64 px wide, through a blur of 2 px.
_GRID, _SIGMA = 64, 2.0
# Of -1..1: beyond the common difference (noise), a change of this size counts for 1/e.
_CHANGE = 0.06
# A common difference of this size is no noise: light went on or off.
_OTHER_LIGHT = 0.3


@dataclass(frozen=True)
class Moment:
    """The faces of one frame, and what is worked out once of them for all the frames around.

    Attributes:
        faces: with `tracks`, `crops` and `restored`.
        masks: (N, 1, T, T) 0..1, of those that are to be held still too.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> Moment(as_faces(torch.zeros(2, 3, 256, 256), "gpen")).small.shape
        torch.Size([2, 3, 64, 64])
    """

    faces: Faces
    masks: Tensor | None = None

    @cached_property
    def small(self) -> Tensor:
        """(N, 3, 64, 64): the crops as they are compared."""
        assert self.faces.crops is not None
        crops = self.faces.crops.float()
        return F.interpolate(crops, (_GRID, _GRID), mode="bilinear", antialias=True)

    def place(self, number: int) -> int | None:
        """Which of the faces is of this track."""
        if self.faces.tracks is None:
            return None
        places = torch.nonzero(self.faces.tracks == number).flatten().tolist()
        return places[0] if places else None


def steadied(window: Sequence[Moment], center: int) -> Moment:
    """The faces of one frame, averaged with those of the same tracks in the frames around.

    Args:
        window: frames in a row.
        center: index of the one wanted.

    Returns:
        Its faces with `restored` (N, 3, T, T) -1..1 averaged, and its masks alike, if it has any
        and they change; the weight of a frame falls linearly with its distance.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> face = as_faces(torch.zeros(1, 3, 64, 64), "gpen")
        >>> face = face.with_(tracks=torch.zeros(1, dtype=torch.int64))
        >>> def frame(value):
        ...     restored, mask = (torch.full((1, n, 64, 64), value) for n in (3, 1))
        ...     return Moment(face.with_(restored=restored), mask)
        >>> middle = steadied([frame(0.0), frame(0.4), frame(0.0)], 1)
        >>> round(float(middle.faces.restored.mean()), 3), round(float(middle.masks.mean()), 3)
        (0.2, 0.2)
    """
    own = window[center]
    if own.faces.tracks is None or own.faces.restored is None or len(window) == 1:
        return own
    neighbors = _Neighbors.of(window, center)
    restored = neighbors.averaged([one.faces.restored for one in window])
    masks = own.masks
    if masks is not None and not all(_is_same(one.masks, masks) for one in window):
        masks = neighbors.averaged([one.masks for one in window])
    return Moment(own.faces.with_(restored=restored), masks)


def steadied_batch(faces: Faces, radius: int) -> Faces:
    """The faces of a batch of frames, each averaged with those of its track around it.

    Args:
        faces: with `tracks`, `crops` and `restored`.
        radius: so many frames before and after.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> faces = as_faces(torch.zeros(3, 3, 64, 64), "gpen")
        >>> values = torch.tensor([0.0, 0.4, 0.0]).view(3, 1, 1, 1).expand(3, 3, 64, 64)
        >>> faces = faces.with_(tracks=torch.zeros(3, dtype=torch.int64), restored=values)
        >>> [round(float(one.mean()), 3) for one in steadied_batch(faces, 1).restored]
        [0.133, 0.2, 0.133]
    """
    frames = [Moment(faces.of_images(slice(i, i + 1))) for i in range(len(faces.image_sizes))]
    around = [slice(max(0, i - radius), i + radius + 1) for i in range(len(frames))]
    return Faces.concat(
        [steadied(frames[chosen], i - chosen.start).faces for i, chosen in enumerate(around)]
    )


def steadied_masks(faces: Faces, masks: Tensor, radius: int) -> Tensor:
    """The masks of faces of a batch of frames, each averaged as `steadied_batch` averages faces.

    Args:
        faces: with `tracks` and `crops`.
        masks: (N, 1, T, T) 0..1.
        radius: so many frames before and after.

    Returns:
        The same tensor where all faces share one mask.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> faces = as_faces(torch.zeros(3, 3, 64, 64), "gpen")
        >>> faces = faces.with_(tracks=torch.zeros(3, dtype=torch.int64))
        >>> masks = torch.tensor([0.0, 0.4, 0.0]).view(3, 1, 1, 1).repeat(1, 1, 64, 64)
        >>> [round(float(one.mean()), 3) for one in steadied_masks(faces, masks, 1)]
        [0.133, 0.2, 0.133]
    """
    if faces.tracks is None or radius == 0 or len(faces) == 0 or masks.stride(0) == 0:
        return masks
    places = [(faces.source == i).nonzero().flatten() for i in range(len(faces.image_sizes))]
    window = [Moment(faces.take(here), masks[here]) for here in places]
    steady = masks.clone()
    for i, here in enumerate(places):
        near = window[max(0, i - radius) : i + radius + 1]
        neighbors = _Neighbors.of(near, min(i, radius))
        steady[here] = neighbors.averaged([one.masks for one in near])
    return steady


def _is_same(one: Tensor | None, other: Tensor) -> bool:
    """Whether these are the same masks; at once where they do not depend on the face."""
    if one is None or (one.data_ptr() == other.data_ptr() and one.stride() == other.stride()):
        return True
    return one.shape == other.shape and torch.equal(one, other)


@dataclass(frozen=True)
class _Neighbors:
    """For each face of a frame: (frame, face) of its twins around it and how much they count.

    Attributes:
        center: index of the frame.
        own: how much it counts itself.
        twins: (frame, face) of each, face after face.
        weights: (K, 1, 64, 64) of these, face after face.
    """

    center: int
    own: float
    twins: list[list[tuple[int, int]]]
    weights: list[Tensor]

    @classmethod
    def of(cls, window: Sequence[Moment], center: int) -> _Neighbors:
        own = window[center]
        assert own.faces.tracks is not None
        radius = max(center, len(window) - 1 - center)
        twins, weights = [], []
        for face, number in enumerate(own.faces.tracks.tolist()):
            others = [
                (place, twin)
                for place, frame in enumerate(window)
                if place != center and (twin := frame.place(number)) is not None
            ]
            near = [radius + 1.0 - abs(place - center) for place, _ in others]
            twins.append(others)
            likeness = _likeness(own.small[face], [window[i].small[j] for i, j in others])
            weights.append(likeness * likeness.new_tensor(near).view(-1, 1, 1, 1))
        return cls(center, radius + 1.0, twins, weights)

    def averaged(self, values: Sequence[Tensor | None]) -> Tensor:
        """Values (N, C, T, T) of the frame's faces, averaged with those of their twins."""
        mine = values[self.center]
        assert mine is not None
        averaged = mine.clone()
        for face, (twins, weights) in enumerate(zip(self.twins, self.weights, strict=True)):
            if not twins:
                continue
            near = F.interpolate(weights, mine.shape[-2:], mode="bilinear", align_corners=False)
            near = near.to(mine)
            total = mine[face] * self.own
            for (frame, twin), weight in zip(twins, near, strict=True):
                theirs = values[frame]
                assert theirs is not None
                total = torch.addcmul(total, theirs[twin].to(total), weight.expand_as(total))
            averaged[face] = total / (near.sum(0) + self.own)
        return averaged


def _likeness(one: Tensor, others: Sequence[Tensor]) -> Tensor:
    """(K, 1, 64, 64) 0..1: where K small crops (3, 64, 64) show the same as one."""
    if not others:
        return one.new_zeros(0, 1, _GRID, _GRID)
    differences = one - torch.stack([other.to(one) for other in others])
    blurred = gaussian_blur2d(differences, (13, 13), (_SIGMA, _SIGMA), "replicate")
    size = blurred.abs().amax(1, keepdim=True)
    common = size.flatten(1).median(1).values.view(-1, 1, 1, 1)
    likeness = torch.exp(-((size - common).clamp(min=0) / _CHANGE).square())
    return likeness * (common <= _OTHER_LIGHT)
