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
    radius = max(center, len(window) - 1 - center)
    names = ["restored"] if own.covered is None else ["restored", "covered"]
    averaged = {name: getattr(own, name).clone() for name in names}
    for face, number in enumerate(own.tracks.tolist()):
        others = []
        for place, other in enumerate(window):
            twin = None if place == center else _twin(other, number)
            if twin is None:
                continue
            assert own.crops is not None and other.crops is not None
            near = _likeness(own.crops[face], other.crops[twin])
            others.append((other, twin, near * (radius + 1 - abs(place - center))))
        for name, values in averaged.items():
            values[face] = _mean(values[face] * (radius + 1), radius + 1, name, others)
    return own.with_(**averaged)


def _mean(
    total: Tensor, weight: float, name: str, others: Sequence[tuple[Faces, int, Tensor]]
) -> Tensor:
    """(C, T, T): a sum with its weight, and the same field of faces of other frames.

    Each of those has a (1, 64, 64) weight.
    """
    weights = torch.full((1, 1, 1), float(weight), device=total.device)
    for faces, place, near in others:
        value = getattr(faces, name)
        if value is None:
            continue
        size = total.shape[-2:]
        fine = F.interpolate(near[None].to(total), size, mode="bilinear", align_corners=False)[0]
        total = total + value[place].to(total) * fine
        weights = weights + fine
    return total / weights


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
