"""Faces with something in front of them: drawn hands, hair, glasses and so on, and where they are.

No set of occluded faces with an open license exists, so everything is drawn. A picture depends on
its seed alone. `draw` has the things themselves; here they get light, a shadow and their place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image, ImageFilter
from torch import Tensor

from ..errors import InputError
from .materials import Array, clouds
from .things import THINGS, Layer, Scene

KINDS = ("none", *THINGS)
"""Names of what may be in front of a face; "none" has only light and shadow."""

_OPAQUE = 0.3
"""Share of a pixel below which a see-through thing does not count as being in front."""


@dataclass(frozen=True)
class Occluded:
    """A face behind something.

    Attributes:
        picture: (3, S, S) 0..1.
        covered: (1, S, S) 0..1, 1 where something is in front.

    Example:
        >>> Occluded(torch.zeros(3, 8, 8), torch.zeros(1, 8, 8)).covered.shape
        torch.Size([1, 8, 8])
    """

    picture: Tensor
    covered: Tensor


def occlude(face: Tensor, points: Tensor, kind: str, seed: int, other: Tensor) -> Occluded:
    """Put something in front of a face.

    Args:
        face: (3, S, S) 0..1.
        points: (5, 2), its landmarks: eyes, nose, corners of the mouth; x and y in pixels.
        kind: one of `KINDS`.
        seed: of everything drawn.
        other: (3, T, T) 0..1, another face: itself in front, or a material.

    Raises:
        InputError: an unknown kind.

    Example:
        >>> from gpen_core.faces.templates import template
        >>> face = torch.full((3, 64, 64), 0.5)
        >>> behind = occlude(face, template("gpen", 64), "block", 1, face)
        >>> bool(behind.covered.any()), bool((behind.picture != face).any())
        (True, True)
    """
    if kind not in KINDS:
        raise InputError(f"There is no occluder {kind!r}; choose {', '.join(KINDS)}.")
    rng = np.random.default_rng(seed)
    picture = _hwc(face)
    some = picture[::4, ::4]
    gray = float(np.ptp(some, axis=-1).mean()) < 1 / 255
    picture = _lit(rng, picture)
    scene = Scene(rng, picture, points.numpy().astype(np.float32), _hwc(other))
    covered = np.zeros(picture.shape[:2], np.float32)
    if kind != "none":
        for layer in _layers(scene, kind):
            picture, covered = _over(rng, picture, covered, layer)
    if gray:
        picture = np.repeat(picture.mean(-1, keepdims=True), 3, -1)
    return Occluded(
        torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32)).clamp(0, 1),
        torch.from_numpy(covered.astype(np.float32))[None],
    )


def draw_kinds(
    count: int, rng: Generator, none: float = 0.28, weights: Mapping[str, float] | None = None
) -> list[str]:
    """Kinds of a batch.

    Args:
        count: of faces.
        rng: of the batch.
        none: share of faces without anything, on average.
        weights: how often a thing is drawn relative to the others; 1 unless named.

    Example:
        >>> draw_kinds(2, np.random.default_rng(0), 0.0, {kind: 0.0 for kind in KINDS[2:]})
        ['hand', 'hand']
    """
    things = KINDS[1:]
    shares = np.array([(weights or {}).get(kind, 1.0) for kind in things])
    chances = np.array([none, *(1 - none) * shares / shares.sum()])
    return [KINDS[index] for index in rng.choice(len(KINDS), count, p=chances / chances.sum())]


def _hwc(picture: Tensor) -> Array:
    return picture.permute(1, 2, 0).contiguous().numpy().astype(np.float32)


def _lit(rng: Generator, picture: Array) -> Array:
    """One picture in three under uneven light: nothing is in front where it is dark."""
    if rng.random() > 0.33:
        return picture
    size = len(picture)
    y, x = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    angle, at = rng.uniform(0, 2 * math.pi), rng.uniform(-0.3, 0.3)
    edge = math.cos(angle) * x + math.sin(angle) * y - at
    edge = edge + rng.uniform(0, 0.1) * clouds(rng, size, int(rng.integers(2, 5)))
    share = 1 / (1 + np.exp(np.clip(edge / rng.uniform(0.005, 0.25), -30, 30)))
    return picture * (1 - share[..., None] * rng.uniform(0.15, 0.65))


def _layers(scene: Scene, kind: str) -> list[Layer]:
    """One thing, sometimes two."""
    layers = list(THINGS[kind](scene))
    if scene.rng.random() < 0.12:
        second = str(scene.rng.choice(list(THINGS)))
        layers += THINGS[second](scene)
    return layers


def _over(rng: Generator, picture: Array, covered: Array, layer: Layer) -> tuple[Array, Array]:
    """A layer in front of a picture, with the shadow that it throws."""
    alpha = layer.alpha.astype(np.float32, copy=False)
    soft = rng.uniform(0.3, 1.2)
    if layer.shadow:
        picture = picture * (1 - _shadow(rng, alpha)[..., None])
    alpha = _blurred(alpha, soft)[..., None]
    colors = layer.colors.astype(np.float32, copy=False)
    if rng.random() < 0.6:  # the light of the picture falls on it too
        light = float(picture[::8, ::8].mean()) / 0.45
        colors = colors * min(max(light, 0.35), 1.5)
    picture = picture * (1 - alpha) + colors.clip(0, 1) * alpha
    counted = np.clip((alpha[..., 0] - _OPAQUE) / (1 - 2 * _OPAQUE), 0, 1)
    return picture, np.maximum(covered, counted)


def _shadow(rng: Generator, alpha: Array) -> Array:
    """(S, S) 0..1: how much darker the picture is beside a thing."""
    size = len(alpha)
    shift = rng.uniform(-0.05, 0.05, 2) * size
    moved = np.roll(alpha, (int(shift[0]), int(shift[1])), (0, 1))
    return _blurred(moved, rng.uniform(0.01, 0.05) * size) * rng.uniform(0, 0.6)


def _blurred(alpha: Array, sigma: float) -> Array:
    picture = Image.fromarray((alpha.clip(0, 1) * 255).astype(np.uint8))
    blurred = picture.filter(ImageFilter.GaussianBlur(sigma))
    return np.asarray(blurred, np.float32) / 255
