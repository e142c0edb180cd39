"""Shapes: outlines and round rods, of which most things are made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from ..materials import Array
from .scene import Layer, Scene

_FINER = 2  # outlines are drawn so many times larger, and reduced


@dataclass(frozen=True)
class Rod:
    """A straight piece with round ends, from one point to another, in pixels."""

    start: Array
    end: Array
    radii: tuple[float, float]

    def window(self, size: int) -> tuple[slice, slice]:
        """Rows and columns of a picture that it may touch; empty where it lies outside."""
        reach = max(self.radii) + 2
        low = np.minimum(self.start, self.end) - reach
        high = np.maximum(self.start, self.end) + reach + 1
        (left, top), (right, bottom) = (
            np.clip(v, 0, size).astype(int).tolist() for v in (low, high)
        )
        return slice(top, bottom), slice(left, right)

    def place(self, x: Array, y: Array) -> tuple[Array, Array, Array, Array]:
        """Distance from the edge (below 0: inside), 0..1 from axis to edge, and its direction."""
        # Plain numbers, which leave float32 as it is.
        (x0, y0), (x1, y1) = (map(float, end) for end in (self.start, self.end))
        first, last = map(float, self.radii)
        across, down = x1 - x0, y1 - y0
        dx, dy = x - x0, y - y0
        share = ((dx * across + dy * down) / (across**2 + down**2 + 1e-6)).clip(0, 1)
        dx, dy = dx - share * across, dy - share * down
        away = np.sqrt(dx * dx + dy * dy) + 1e-6
        radius = first + share * (last - first)
        return away - radius, (away / radius).clip(0, 1), dx / away, dy / away


def rods(scene: Scene, parts: list[Rod], base: Array, gloss: float = 0.1) -> Layer:
    """Rods lit from one side, each in front of the one before it."""
    rng, (x, y) = scene.rng, scene.grid()
    angle = rng.uniform(0, 2 * math.pi)
    slant = rng.uniform(0.1, 0.7)
    light = (math.cos(angle) * slant, math.sin(angle) * slant)
    ambient, crease = rng.uniform(0.45, 0.85), rng.uniform(0.05, 0.35)
    colors = np.empty((scene.size, scene.size, 3), np.float32)
    colors[:] = base
    alpha = np.zeros((scene.size, scene.size), np.float32)
    base = base.astype(np.float32)
    for part in parts:
        window = part.window(scene.size)
        distance, away, nx, ny = part.place(x[window], y[window])
        if not distance.size:
            continue
        height = np.sqrt(1 - 0.98 * away**2)
        shade = ambient + (1 - ambient) * height + (nx * light[0] + ny * light[1]) * away
        shine = gloss * np.maximum(0, 1 - np.hypot(nx * away - light[0], ny * away - light[1])) ** 8
        here = (0.5 - distance).clip(0, 1)
        # A dark line where one lies on another.
        beside = ((1.5 - np.abs(distance)) / 1.5).clip(0, 1) * alpha[window] * (1 - here)
        under = colors[window] * (1 - crease * beside[..., None])
        lit = base * shade[..., None].clip(0.1, 1.4) + shine[..., None]
        colors[window] = under * (1 - here[..., None]) + lit * here[..., None]
        alpha[window] = np.maximum(alpha[window], here)
    return Layer(colors, alpha)


def outline(scene: Scene, draw: Callable[[ImageDraw.ImageDraw, int], None]) -> Array:
    """(S, S) 0..1 of what is drawn in white at `_FINER` times the size."""
    side = scene.size * _FINER
    canvas = Image.new("L", (side, side))
    draw(ImageDraw.Draw(canvas), _FINER)
    small = canvas.resize((scene.size, scene.size), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / 255


def polygon(scene: Scene, corners: Array) -> Array:
    """(S, S) 0..1, 1 inside (N, 2) corners."""
    flat = [tuple(point) for point in (np.asarray(corners) * _FINER).tolist()]
    return outline(scene, lambda canvas, _: canvas.polygon(flat, fill=255))


def line(scene: Scene, points: Array, width: float) -> Array:
    """(S, S) 0..1, 1 along (N, 2) points."""
    flat = [tuple(point) for point in (np.asarray(points) * _FINER).tolist()]
    wide = max(1, round(width * _FINER))
    return outline(scene, lambda canvas, _: canvas.line(flat, fill=255, width=wide, joint="curve"))


def bent(start: Array, end: Array, bend: Array, count: int = 12) -> Array:
    """(count, 2) along a quadratic Bezier curve."""
    t = np.linspace(0, 1, count, dtype=np.float32)[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end


def round_shape(rng: Generator, middle: Array, radii: Array, rough: float = 0.2) -> Array:
    """(48, 2): a closed outline around a point, from round to ragged."""
    angles = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    radius = np.ones(48)
    for wave in range(2, 7):
        radius += rough * rng.normal() / wave * np.cos(wave * angles + rng.uniform(0, 6.3))
    turn = rng.uniform(0, 2 * math.pi)
    x, y = radius * np.cos(angles) * radii[0], radius * np.sin(angles) * radii[1]
    turned = np.stack([np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y], 1)
    return middle + turned


# --- the things ----------------------------------------------------------------------------------
