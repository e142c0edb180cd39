"""What things in front of a face are made of: colors and textures (H, W, 3) float32 0..1."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.floating[Any]]

# From light to dark; a hand takes one of these or the face's own.
_SKINS = ((0.94, 0.78, 0.69), (0.85, 0.64, 0.52), (0.71, 0.49, 0.36), (0.49, 0.32, 0.23),
          (0.30, 0.19, 0.14))  # fmt: skip
_NAMES = ("plain", "plain", "noise", "noise", "stripes", "checks", "gradient", "photo", "photo")


def color(rng: Generator) -> Array:
    """(3,): black, white and gray often, as things are, else anything.

    Example:
        >>> color(np.random.default_rng(0)).shape
        (3,)
    """
    if rng.random() < 0.4:
        drawn = np.full(3, rng.choice((rng.uniform(0, 0.2), rng.uniform(0.8, 1), rng.random())))
        drawn += rng.normal(0, 0.02, 3)
    else:
        drawn = rng.random(3)
    return drawn.clip(0, 1).astype(np.float32)


def skin(rng: Generator, face: Array) -> Array:
    """(3,): in one case of two the tone of the face itself, nearly; else of anybody's.

    Args:
        rng: of the picture.
        face: (3,), the tone of the face.

    Example:
        >>> bool(skin(np.random.default_rng(0), np.ones(3, np.float32)).max() <= 1)
        True
    """
    if rng.random() < 0.55:
        drawn = face * rng.uniform(0.75, 1.2) + rng.normal(0, 0.025, 3)
    else:
        light, dark = (np.array(_SKINS[i]) for i in rng.integers(0, len(_SKINS), 2))
        share = rng.random()
        drawn = (share * light + (1 - share) * dark) * rng.uniform(0.7, 1.1)
    return np.clip(drawn, 0, 1).astype(np.float32)


def clouds(rng: Generator, size: int, cells: int, octaves: int = 3) -> Array:
    """(size, size), smooth noise of mean 0 and about -1..1: `cells` to a side, and finer ones.

    Example:
        >>> clouds(np.random.default_rng(0), 64, 4).shape
        (64, 64)
    """
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        side = min(cells * 2**octave, size) + 1
        small = Image.fromarray(rng.uniform(-1, 1, (side, side)).astype(np.float32))
        total += np.asarray(small.resize((size, size), Image.Resampling.BICUBIC)) / 2**octave
    return total


def texture(rng: Generator, size: int, photo: Array, name: str | None = None) -> Array:
    """(size, size, 3) of any material.

    Args:
        rng: of the picture.
        size: side in pixels.
        photo: (S, S, 3), a photograph that a piece may be taken of.
        name: "plain", "noise", "stripes", "checks", "gradient" or "photo"; drawn unless given.

    Example:
        >>> texture(np.random.default_rng(0), 32, np.zeros((64, 64, 3), np.float32)).shape
        (32, 32, 3)
    """
    name = name or str(rng.choice(_NAMES))
    if name == "photo":
        return _piece(rng, size, photo)
    first, second = color(rng), color(rng)
    share: Array
    if name == "plain":
        share = 0.06 * clouds(rng, size, 2) + 0.02 * rng.normal(0, 1, (size, size))
    elif name == "noise":
        share = 0.5 + rng.uniform(0.2, 0.7) * clouds(rng, size, int(rng.integers(2, 24)))
    else:
        share = _pattern(rng, size, name)
    share = share[..., None].clip(0, 1)
    return (first * (1 - share) + second * share).astype(np.float32)


def _pattern(rng: Generator, size: int, name: str) -> Array:
    """(size, size) 0..1: how much of the second color."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    angle = rng.uniform(0, math.pi)
    along = math.cos(angle) * x + math.sin(angle) * y
    if name == "gradient":
        return along / (size * 1.4) + rng.uniform(-0.2, 0.4)
    across = math.cos(angle) * y - math.sin(angle) * x
    step = 2 * math.pi / rng.uniform(size / 40, size / 5)
    hard = rng.uniform(1, 6)
    waves = np.sin(along * step)
    if name == "checks":
        waves = waves * np.sin(across * step)
    return 0.5 + 0.5 * np.tanh(hard * waves)


def _piece(rng: Generator, size: int, photo: Array) -> Array:
    """A square of the photograph, turned by quarters, tinted."""
    side = int(rng.integers(len(photo) // 4, len(photo) + 1))
    top, left = rng.integers(0, len(photo) - side + 1, 2)
    piece = np.rot90(photo[top : top + side, left : left + side], int(rng.integers(4)))
    picture = Image.fromarray((piece * 255).astype(np.uint8))
    resized = picture.resize((size, size), Image.Resampling.BILINEAR)
    tint = rng.uniform(0.6, 1.15, 3) if rng.random() < 0.5 else np.ones(3)
    return (np.asarray(resized, np.float32) / 255 * tint).clip(0, 1).astype(np.float32)
