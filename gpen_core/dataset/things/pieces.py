"""Pieces: blocks and blobs of any material."""

from __future__ import annotations

import math

import numpy as np

from ..materials import clouds, texture
from .scene import Layer, Scene
from .shapes import polygon, round_shape


def block(scene: Scene) -> list[Layer]:
    """Rectangles and other polygons of any material."""
    rng, unit = scene.rng, scene.unit
    layers = []
    for _ in range(int(rng.integers(1, 3))):
        half = unit * rng.uniform(0.15, 1.1, 2)
        turn = rng.uniform(0, math.pi) if rng.random() < 0.6 else 0.0
        count = int(rng.choice((4, 4, 4, 3, 5)))
        angles = np.linspace(0, 2 * math.pi, count, endpoint=False) + math.pi / 4
        corners = np.stack([np.cos(angles), np.sin(angles)], 1) * half * math.sqrt(2)
        turned = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        alpha = polygon(scene, scene.spot(1.3) + corners @ turned.T)
        layers.append(Layer(texture(rng, scene.size, scene.other), alpha, rng.random() < 0.5))
    return layers


def blob(scene: Scene) -> list[Layer]:
    """Rounded and ragged spots of any material: leaves, stains, balls, smoke."""
    rng, unit = scene.rng, scene.unit
    layers = []
    for _ in range(int(rng.integers(1, 4))):
        radii = unit * rng.uniform(0.12, 1.0, 2)
        rough = rng.uniform(0, 0.5)
        alpha = polygon(scene, round_shape(rng, scene.spot(1.4), radii, rough))
        shade = 1 + rng.uniform(0, 0.3) * clouds(rng, scene.size, 4)[..., None]
        layers.append(Layer(texture(rng, scene.size, scene.other) * shade, alpha))
    return layers
