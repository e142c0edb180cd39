"""A restored face held still: averaged with itself in the frames around, where it did not change.

Noise differs from frame to frame, and with it what a network paints. Aligned along its track a
face lies still, so its neighbors in time show the same points; where the input itself changed (a
blink, a word), they do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


def steadied(window: Sequence[Faces], center: int) -> Faces:
    """The faces of one frame, averaged with those of the same tracks in the frames around.

    Args:
        window: frames in a row, with `tracks`, `crops` and `restored`.
        center: index of the one wanted.

    Returns:
        Its faces with `restored` (N, 3, T, T) -1..1 averaged, and `covered` where they have it; the
        weight of a frame falls linearly with its distance.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> crops, ids = torch.zeros(1, 3, 64, 64), torch.zeros(1, dtype=torch.int64)
        >>> def frame(value):
        ...     face = as_faces(crops, "gpen")
        ...     return face.with_(tracks=ids, restored=torch.full((1, 3, 64, 64), value))
        >>> window = [frame(0.0), frame(0.4), frame(0.0)]
        >>> round(float(steadied(window, 1).restored.mean()), 3)
        0.2
    """
    own = window[center]
    if own.tracks is None or own.restored is None or len(window) == 1:
        return own
    restored = _Neighbors.of(window, center).averaged([one.restored for one in window])
    return own.with_(restored=restored)


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
    frames = [faces.of_images(slice(i, i + 1)) for i in range(len(faces.image_sizes))]
    around = [slice(max(0, i - radius), i + radius + 1) for i in range(len(frames))]
    return Faces.concat(
        [steadied(frames[chosen], i - chosen.start) for i, chosen in enumerate(around)]
    )


def steadied_with_masks(
    window: Sequence[Faces], masks: Sequence[Tensor | None], center: int
) -> tuple[Faces, Tensor]:
    """The same, with the faces' masks averaged alike.

    Args:
        window: as for `steadied`.
        masks: of each frame, (N, 1, T, T) 0..1; None where it has no face.
        center: index of the frame wanted, which has faces.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> still = as_faces(torch.zeros(1, 3, 64, 64), "gpen").with_(tracks=torch.tensor([0]))
        >>> still = still.with_(restored=torch.zeros(1, 3, 64, 64))
        >>> masks = [torch.full((1, 1, 64, 64), value) for value in (0.0, 0.4, 0.0)]
        >>> round(float(steadied_with_masks([still] * 3, masks, 1)[1].mean()), 3)
        0.2
    """
    own, mine = window[center], masks[center]
    assert mine is not None
    if own.tracks is None or own.restored is None or len(window) == 1:
        return own, mine
    neighbors = _Neighbors.of(window, center)
    restored = neighbors.averaged([one.restored for one in window])
    alike = all(one is None or torch.equal(one[:1], mine[:1]) for one in masks)
    return own.with_(restored=restored), mine if alike else neighbors.averaged(masks)


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
    def of(cls, window: Sequence[Faces], center: int) -> _Neighbors:
        own = window[center]
        assert own.tracks is not None and own.crops is not None
        radius = max(center, len(window) - 1 - center)
        twins, weights = [], []
        for face, number in enumerate(own.tracks.tolist()):
            others = [
                (place, twin)
                for place, frame in enumerate(window)
                if place != center and (twin := _twin(frame, number)) is not None
            ]
            near = [radius + 1.0 - abs(place - center) for place, _ in others]
            twins.append(others)
            likeness = _likeness(own.crops[face], [_crop(window[i], j) for i, j in others])
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


def _crop(faces: Faces, face: int) -> Tensor:
    assert faces.crops is not None
    return faces.crops[face]


def _twin(faces: Faces, number: int) -> int | None:
    if faces.tracks is None:
        return None
    places = torch.nonzero(faces.tracks == number).flatten().tolist()
    return places[0] if places else None


def _likeness(one: Tensor, others: Sequence[Tensor]) -> Tensor:
    """(K, 1, 64, 64) 0..1: where K aligned crops (3, S, S) show the same as one."""
    if not others:
        return one.new_zeros(0, 1, _GRID, _GRID).float()
    small = _small(torch.stack([one, *[other.to(one) for other in others]]))
    blurred = gaussian_blur2d(small[:1] - small[1:], (13, 13), (_SIGMA, _SIGMA), "replicate")
    size = blurred.abs().amax(1, keepdim=True)
    common = size.flatten(1).median(1).values.view(-1, 1, 1, 1)
    likeness = torch.exp(-((size - common).clamp(min=0) / _CHANGE).square())
    return likeness * (common <= _OTHER_LIGHT)


def _small(crops: Tensor) -> Tensor:
    return F.interpolate(crops.float(), (_GRID, _GRID), mode="bilinear", antialias=True)
