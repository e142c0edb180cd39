"""A restored face held still: averaged with itself in the frames around, where it did not change.

Noise differs from frame to frame, and with it what a network paints. Aligned along its track a
face lies still, so its neighbors in time show the same points; where the input itself changed (a
blink, a word), they do not count.
"""

from __future__ import annotations

from collections.abc import Sequence

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
        Its faces with `restored` (N, 3, T, T) -1..1 averaged; the weight of a frame falls linearly
        with its distance.

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
    return own.with_(restored=_averaged(window, center, [one.restored for one in window]))


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


def steadied_masks(window: Sequence[Faces], center: int, masks: Sequence[Tensor | None]) -> Tensor:
    """The masks of the faces of one frame, averaged as `steadied` averages the faces.

    Args:
        window: as there.
        center: index of the frame wanted.
        masks: of each frame, (N, 1, T, T) 0..1; None where it has no face.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> still = as_faces(torch.zeros(1, 3, 64, 64), "gpen").with_(tracks=torch.tensor([0]))
        >>> masks = [torch.full((1, 1, 64, 64), value) for value in (0.0, 0.4, 0.0)]
        >>> round(float(steadied_masks([still] * 3, 1, masks).mean()), 3)
        0.2
    """
    own = masks[center]
    assert own is not None
    if window[center].tracks is None or len(window) == 1:
        return own
    return _averaged(window, center, masks)


def _averaged(window: Sequence[Faces], center: int, values: Sequence[Tensor | None]) -> Tensor:
    """The values (N, C, T, T) of one frame's faces, averaged with those of the same tracks."""
    own, mine = window[center], values[center]
    assert own.tracks is not None and own.crops is not None and mine is not None
    radius = max(center, len(window) - 1 - center)
    averaged = mine.clone()
    for face, number in enumerate(own.tracks.tolist()):
        total, weights = mine[face] * (radius + 1), mine.new_full((1, 1, 1), radius + 1.0)
        for place, other in enumerate(window):
            twin = None if place == center else _twin(other, number)
            theirs = values[place]
            if twin is None or theirs is None:
                continue
            assert other.crops is not None
            likeness = _likeness(own.crops[face], other.crops[twin]).to(total)
            near = F.interpolate(
                likeness[None], total.shape[-2:], mode="bilinear", align_corners=False
            )[0]
            near = near * (radius + 1 - abs(place - center))
            total = total + theirs[twin].to(total) * near
            weights = weights + near
        averaged[face] = total / weights
    return averaged


def _twin(faces: Faces, number: int) -> int | None:
    if faces.tracks is None:
        return None
    places = torch.nonzero(faces.tracks == number).flatten().tolist()
    return places[0] if places else None


def _likeness(one: Tensor, other: Tensor) -> Tensor:
    """(1, 64, 64) 0..1: where two aligned crops (3, S, S) show the same."""
    change = _small(one) - _small(other)
    blurred = gaussian_blur2d(change, (13, 13), (_SIGMA, _SIGMA), "replicate")
    size = blurred.abs().amax(1)
    common = size.median()
    if float(common) > _OTHER_LIGHT:
        return torch.zeros_like(size)
    return torch.exp(-((size - common).clamp(min=0) / _CHANGE).square())


def _small(crop: Tensor) -> Tensor:
    return F.interpolate(crop[None].float(), (_GRID, _GRID), mode="bilinear", antialias=True)
