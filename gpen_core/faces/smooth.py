"""Landmarks of one face over time, without the tremor of the detector.

The One Euro filter (Casiez, Roussel and Vogel, CHI 2012) is a low pass whose cutoff rises with the
speed: what stands still is smoothed most, what moves fast hardly lags. Run forward and backward and
averaged, its lag cancels. It is applied to what the alignment is made of (center, size and turn of
the face) and to the shape that remains, in units of the face's size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .align import estimate_similarity
from .templates import template

# Hertz at rest and how fast that rises with the speed, per unit a second: for the center and turn
# (units: eye distances, radians), the size (its logarithm), and the shape. Chosen on faces at rest,
# panned, shaken, zoomed and turned with noise of 2 % of the eye distance.
_CENTER, _SIZE, _SHAPE = (1.5, 10.0), (0.3, 6.0), (0.2, 0.3)
_SPEED_CUTOFF = 1.0
_SIDE = 512


def one_euro(values: Tensor, rate: float, cutoff: float, slope: float) -> Tensor:
    """The filter along the first dimension, forward and backward.

    Args:
        values: (T, K), each of the K columns for itself.
        rate: of the samples, hertz.
        cutoff: at rest, hertz.
        slope: hertz for each unit a second.

    Returns:
        (T, K).

    Example:
        >>> still = torch.tensor([[0.0], [0.1], [0.0], [0.1], [0.0]])
        >>> round(float(one_euro(still, 25.0, 1.0, 0.0).std() / still.std()), 2) < 0.5
        True
    """
    backward = _one_way(values.flip(0), rate, cutoff, slope).flip(0)
    return (_one_way(values, rate, cutoff, slope) + backward) / 2


def _one_way(values: Tensor, rate: float, cutoff: float, slope: float) -> Tensor:
    smooth = values.clone()
    speed = torch.zeros_like(values[0])
    towards_speed = float(_share(torch.tensor(_SPEED_CUTOFF), rate))
    for i in range(1, len(values)):
        speed = torch.lerp(speed, (values[i] - values[i - 1]) * rate, towards_speed)
        share = _share(cutoff + slope * speed.abs(), rate)
        smooth[i] = torch.lerp(smooth[i - 1], values[i], share)
    return smooth


def _share(cutoff: Tensor, rate: float) -> Tensor:
    """How much of a new value counts: 1 / (1 + rate / (2 pi cutoff))."""
    return 1 / (1 + rate / (2 * math.pi * cutoff))


def smooth_landmarks(landmarks: Tensor, rate: float, amount: float = 1.0) -> Tensor:
    """One face's landmarks (T, 5, 2), pixels, smoothed over time.

    Args:
        landmarks: of frames in a row.
        rate: frames a second.
        amount: 0 gives them back, 1 the smoothed ones.

    Raises:
        InputError: landmarks that no alignment fits.

    Example:
        >>> still = template("gpen", 128).float().expand(50, 5, 2)
        >>> torch.allclose(smooth_landmarks(still, 25.0), still, atol=1e-3)
        True
    """
    if amount == 0 or len(landmarks) < 2:
        return landmarks
    points = template("gpen", _SIDE).double()
    similarity = estimate_similarity(landmarks, points)
    linear, shift = similarity[:, :, :2], similarity[:, :, 2]
    inverse = torch.linalg.inv(linear)
    middle = points.mean(0)
    center = (inverse @ (middle - shift)[..., None])[..., 0]
    size = torch.linalg.det(inverse).sqrt()
    turn = torch.atan2(inverse[:, 1, 0], inverse[:, 0, 0])
    turn = turn[0] + torch.cumsum(_wrapped(torch.diff(turn, prepend=turn[:1])), 0)
    expected = (points - middle) @ inverse.mT + center[:, None]
    shape = (landmarks.double() - expected) / size[:, None, None]

    eyes = float((landmarks[:, 1] - landmarks[:, 0]).double().norm(dim=-1).median())
    center = one_euro(center / eyes, rate, *_CENTER) * eyes
    turn = one_euro(turn[:, None], rate, *_CENTER)[:, 0]
    size = one_euro(size.log()[:, None], rate, *_SIZE)[:, 0].exp()
    shape = one_euro(shape.flatten(1), rate, *_SHAPE).view_as(shape)

    cos, sin = turn.cos() * size, turn.sin() * size
    inverse = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    smooth = (points - middle) @ inverse.mT + center[:, None] + shape * size[:, None, None]
    return torch.lerp(landmarks.double(), smooth, amount).to(landmarks.dtype)


def _wrapped(angle: Tensor) -> Tensor:
    """-pi to pi."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
