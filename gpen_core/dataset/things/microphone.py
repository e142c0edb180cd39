"""Microphone: a head on a handle or a stand."""

from __future__ import annotations

import math

import numpy as np

from ..materials import color
from .hand import hand
from .scene import Layer, Scene
from .shapes import Rod, rods


def microphone(scene: Scene) -> list[Layer]:
    """A ball of mesh or foam on a stick, before the mouth or below it; sometimes with a hand."""
    rng, unit = scene.rng, scene.unit
    mouth = scene.points[3:].mean(0)
    ball = mouth + np.array([rng.normal(0, 0.5), rng.uniform(-0.4, 1.2)]) * unit
    radius = unit * rng.uniform(0.22, 0.65)
    lean = rng.normal(0, 0.8)
    down = np.array([math.sin(lean), math.cos(lean)])
    width = radius * rng.uniform(0.3, 0.75)
    stick = [Rod(ball, ball + down * unit * 6, (width, width * rng.uniform(0.6, 1)))]
    layers = [rods(scene, stick, color(rng), gloss=0.4)]
    stretch = rng.uniform(0, 0.7) * radius
    head = rods(scene, [Rod(ball - down * stretch, ball, (radius, radius))], color(rng), gloss=0.3)
    x, y = scene.grid()
    if rng.random() < 0.6:
        step = 2 * math.pi / rng.uniform(2.2, 5)
        mesh = np.sin((x + y) * step) * np.sin((x - y) * step)
        weave = 1 + rng.uniform(0.1, 0.5) * mesh
    else:
        weave = 1 + 0.35 * rng.normal(0, 1, x.shape)
    layers.append(Layer(head.colors * weave[..., None], head.alpha))
    if rng.random() < 0.4:
        layers += hand(scene, ball + down * unit * rng.uniform(0.8, 1.8))
    return layers
