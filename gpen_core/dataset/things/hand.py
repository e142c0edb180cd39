"""Hand: palm, fingers and arm."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from ..materials import Array, clouds, color, skin, texture
from .scene import Layer, Scene
from .shapes import Rod, rods


def hand(scene: Scene, target: Array | None = None) -> list[Layer]:
    """A hand from any side, its fingers spread, closed or curled, with a sleeve or without."""
    rng = scene.rng
    target = scene.spot() if target is None else target
    length = scene.unit * rng.uniform(1.7, 3.4)
    # Mostly from below and the sides; `up` points from the wrist to the fingers.
    angle = rng.normal(0, 0.9) if rng.random() < 0.8 else rng.uniform(-math.pi, math.pi)
    up = np.array([math.sin(angle), -math.cos(angle)])
    right = np.array([-up[1], up[0]]) * rng.choice((-1, 1))
    reach = rng.uniform(0.35, 1.0)  # what of the hand lies on the target: palm to fingertips
    wrist = target - up * reach * length

    def at(x: float, y: float) -> Array:
        return wrist + length * (x * right + y * up)

    parts = _arm_and_palm(at, length, up, rng)
    tips = _fingers(at, length, rng, parts)
    base = skin(rng, scene.skin)
    gloved = rng.random() < 0.07
    if gloved:
        base = color(rng)
    layer = rods(scene, parts, base, gloss=rng.uniform(0, 0.15))
    colors = layer.colors * (1 + 0.07 * clouds(rng, scene.size, 6)[..., None])
    if not gloved:
        colors = _flushed(scene, colors, tips, length)
        if rng.random() < 0.4:  # skin of a real face
            grain = texture(rng, scene.size, scene.other, "photo")
            colors = colors * (1 + 0.3 * (grain - grain[::8, ::8].mean((0, 1))))
    layers = [Layer(colors, layer.alpha)]
    if rng.random() < 0.4:
        cuff = [Rod(at(0, -1.6), at(0, rng.uniform(-0.3, -0.05)), (length * 0.17, length * 0.15))]
        sleeve = rods(scene, cuff, np.ones(3, np.float32), 0)
        layers.append(Layer(sleeve.colors * texture(rng, scene.size, scene.other), sleeve.alpha))
    return layers


def _arm_and_palm(
    at: Callable[[float, float], Array], length: float, up: Array, rng: Generator
) -> list[Rod]:
    lean = rng.normal(0, 0.4)
    width = length * rng.uniform(0.085, 0.12)
    arm = [Rod(at(lean, -1.6), at(0, 0), (width * 1.2, width))]
    across = [(-0.13, 0.44), (-0.045, 0.48), (0.045, 0.47), (0.12, 0.42)]
    return arm + [Rod(at(x * 0.5, 0.02), at(x, y), (width, length * 0.06)) for x, y in across]


def _fingers(
    at: Callable[[float, float], Array], length: float, rng: Generator, parts: list[Rod]
) -> list[Array]:
    """Add four fingers and a thumb; their tips are returned."""
    spread = rng.uniform(0.0, 0.22)
    fist = rng.random() < 0.15
    bends = rng.uniform(0.35, 1.0) if not fist else rng.uniform(0.15, 0.35)
    pointing = rng.random() < 0.2
    tips = []
    order = [3, 2, 1, 0] if rng.random() < 0.5 else [0, 1, 2, 3]
    for finger in order:
        x, y = ((-0.13, 0.46), (-0.045, 0.5), (0.045, 0.49), (0.12, 0.44))[finger]
        long = (0.36, 0.41, 0.38, 0.29)[finger] * (bends + rng.normal(0, 0.05))
        if pointing and finger != 0:
            long *= 0.35
        lean = (finger - 1.5) * spread + rng.normal(0, 0.03)
        radius = length * (0.048, 0.05, 0.047, 0.041)[finger]
        knots = [at(x, y)]
        for joint, share in enumerate((0.45, 0.3, 0.25)):
            lean += rng.normal(0, 0.06) * (joint > 0)
            x, y = x + long * share * math.sin(lean), y + long * share * math.cos(lean)
            knots.append(at(x, y))
        radii = (radius * 1.05, radius, radius * 0.93, radius * 0.82)
        for joint in range(3):
            piece = (radii[joint], radii[joint + 1])
            parts.append(Rod(knots[joint], knots[joint + 1], piece))
        tips.append(knots[-1])
    if rng.random() < 0.85:
        lean = rng.uniform(-1.1, 0.2)
        middle = (-0.15 + 0.2 * math.sin(lean), 0.14 + 0.2 * math.cos(lean))
        end = (
            middle[0] + 0.17 * math.sin(lean + 0.3),
            middle[1] + 0.17 * math.cos(lean + 0.3),
        )
        parts.append(Rod(at(-0.08, 0.12), at(*middle), (length * 0.075, length * 0.055)))
        parts.append(Rod(at(*middle), at(*end), (length * 0.055, length * 0.045)))
        tips.append(at(*end))
    return tips


def _flushed(scene: Scene, colors: Array, tips: list[Array], length: float) -> Array:
    """Redder toward the fingertips, and nails on them."""
    rng, (x, y) = scene.rng, scene.grid()
    nails, tint = rng.random() < 0.5, color(rng)
    if rng.random() < 0.6:
        tint = np.array([0.9, 0.7, 0.66]) * rng.uniform(0.6, 1.1)
    colors = np.array(colors)
    for tip in tips:
        window = Rod(tip, tip, (0.2 * length, 0)).window(scene.size)
        away = np.hypot(x[window] - tip[0], y[window] - tip[1]) / length
        near = np.exp(-((away / 0.07) ** 2))[..., None] * 0.1
        colors[window] *= 1 - near * np.array([0.0, 1.0, 0.9])
        if nails:
            nail = ((0.03 - away) * length + 0.5).clip(0, 1)[..., None] * 0.7
            colors[window] = colors[window] * (1 - nail) + tint * nail
    return colors
