"""Food and drink, at the mouth."""

from __future__ import annotations

import math

import numpy as np

from ..materials import Array, clouds, color, texture
from .hand import hand
from .scene import Layer, Scene
from .shapes import Rod, polygon, rods, round_shape


def food(scene: Scene) -> list[Layer]:
    """Something held to the mouth: a cup, a fruit, a cone, a spoon; often with a hand."""
    rng, unit = scene.rng, scene.unit
    mouth = scene.points[3:].mean(0) + rng.normal(0, 0.25, 2) * unit
    lean = rng.normal(0, 0.6)
    down = np.array([math.sin(lean), math.cos(lean)])
    held = (_cup, _fruit, _cone, _spoon)[int(rng.integers(4))]
    layers = held(scene, mouth, down)
    if rng.random() < 0.6:
        layers += hand(scene, mouth + down * unit * rng.uniform(0.6, 1.8))
    return layers


def _cup(scene: Scene, mouth: Array, down: Array) -> list[Layer]:
    rng, unit = scene.rng, scene.unit
    across = np.array([down[1], -down[0]])
    wide, tall = unit * rng.uniform(0.4, 0.8), unit * rng.uniform(0.9, 2)
    narrow = wide * rng.uniform(0.6, 1)
    corners = [-across * wide, across * wide, across * narrow + down * tall]
    corners.append(-across * narrow + down * tall)
    x, y = scene.grid()
    side = ((x - mouth[0]) * across[0] + (y - mouth[1]) * across[1]) / wide
    shade = 1.1 - 0.5 * (side - rng.uniform(-0.5, 0.5)) ** 2
    base = texture(rng, scene.size, scene.other)
    return [Layer(base * shade[..., None], polygon(scene, mouth + np.array(corners)))]


def _fruit(scene: Scene, mouth: Array, down: Array) -> list[Layer]:
    """A fruit, a sandwich, a burger."""
    rng = scene.rng
    radii = scene.unit * rng.uniform(0.3, 0.75, 2)
    alpha = polygon(scene, round_shape(rng, mouth + down * radii[1] * 0.7, radii, 0.1))
    shade = 1 + 0.2 * clouds(rng, scene.size, 3)
    return [Layer(texture(rng, scene.size, scene.other) * shade[..., None], alpha)]


def _cone(scene: Scene, mouth: Array, down: Array) -> list[Layer]:
    """Balls on a cone or a stick."""
    rng, unit = scene.rng, scene.unit
    radius = unit * rng.uniform(0.25, 0.5)
    places = [mouth + down * number * radius for number in range(int(rng.integers(1, 3)))]
    stick = Rod(mouth, mouth + down * unit * 3, (radius * rng.uniform(0.1, 0.7), radius * 0.1))
    layers = [rods(scene, [stick], color(rng))]
    balls = [Rod(place, place, (radius, radius)) for place in places]
    ice = rods(scene, balls, np.ones(3, np.float32), 0.1)
    return [*layers, Layer(ice.colors * texture(rng, scene.size, scene.other), ice.alpha)]


def _spoon(scene: Scene, mouth: Array, down: Array) -> list[Layer]:
    """A spoon, a straw, a cigarette, a brush."""
    rng, unit = scene.rng, scene.unit
    width = unit * rng.uniform(0.03, 0.14)
    stick = Rod(mouth, mouth + down * unit * 3, (width, width))
    bowl = Rod(mouth, mouth + down * unit * 0.2, (width * rng.uniform(1, 3), width))
    return [rods(scene, [stick, bowl], color(rng), 0.5)]
