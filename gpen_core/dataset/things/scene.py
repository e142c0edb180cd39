"""Scene: where something in front of a face is drawn, and the layers it is drawn as."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from ..materials import Array


@dataclass(frozen=True)
class Scene:
    """Where something is drawn.

    Attributes:
        rng: of everything drawn.
        face: (S, S, 3) 0..1.
        points: (5, 2), its landmarks, pixels.
        other: (T, T, 3) 0..1, another face.

    Example:
        >>> face = np.zeros((64, 64, 3), np.float32)
        >>> Scene(np.random.default_rng(0), face, np.zeros((5, 2), np.float32), face).size
        64
    """

    rng: Generator
    face: Array
    points: Array
    other: Array

    @property
    def size(self) -> int:
        return len(self.face)

    @property
    def unit(self) -> float:
        """From the eyes to the mouth, pixels; a quarter of a crop."""
        between = self.points[3:].mean(0) - self.points[:2].mean(0)
        return float(max(np.hypot(*between), 2.0))

    @property
    def center(self) -> Array:
        return self.points.mean(0)

    @property
    def skin(self) -> Array:
        """(3,): the middle tone between eyes and mouth."""
        x, y = (int(v) for v in self.center)
        reach = max(2, int(self.unit / 2))
        around = self.face[max(0, y - reach) : y + reach : 3, max(0, x - reach) : x + reach : 3]
        return np.median(around.reshape(-1, 3), 0) if around.size else np.full(3, 0.5)

    def spot(self, spread: float = 1.1) -> Array:
        """(2,): somewhere on the face."""
        return self.center + self.rng.uniform(-spread, spread, 2) * self.unit

    def grid(self) -> tuple[Array, Array]:
        """x and y of every pixel."""
        y, x = np.mgrid[: self.size, : self.size].astype(np.float32)
        return x, y


@dataclass(frozen=True)
class Layer:
    """Something in front of the picture: (S, S, 3) colors and (S, S) opacity, both 0..1."""

    colors: Array
    alpha: Array
    shadow: bool = True
