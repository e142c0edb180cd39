"""Mask: over mouth and nose, or over the eyes."""

from __future__ import annotations

import math

import numpy as np

from ..materials import clouds, texture
from .scene import Layer, Scene
from .shapes import bent, line, polygon


def mask(scene: Scene) -> list[Layer]:
    """Cloth over mouth and nose, a scarf, or a mask around the eyes."""
    rng, unit = scene.rng, scene.unit
    if rng.random() < 0.2:
        return [_eye_mask(scene)]
    eyes, nose = scene.points[:2].mean(0), scene.points[2]
    top = nose[1] + unit * rng.uniform(-0.35, 0.45)
    if rng.random() < 0.15:
        top = scene.points[3:, 1].mean() - unit * 0.2
    half = unit * rng.uniform(1.05, 1.5)
    x0 = float(eyes[0] + rng.normal(0, 0.1) * unit)
    bottom = top + unit * rng.uniform(1.3, 2.0)
    drop = unit * rng.uniform(0.05, 0.4)
    upper = bent(np.array([x0 - half, top + drop]), np.array([x0 + half, top + drop]),
                 np.array([x0, top - drop]))  # fmt: skip
    lower = bent(np.array([x0 + half, top + unit * 0.8]), np.array([x0 - half, top + unit * 0.8]),
                 np.array([x0, 2 * bottom - top - unit * 0.8]))  # fmt: skip
    alpha = polygon(scene, np.concatenate([upper, lower]))
    base = texture(rng, scene.size, scene.other, "plain" if rng.random() < 0.6 else None)
    if rng.random() < 0.4:
        base = base * 0.1 + np.array([0.55, 0.72, 0.85]) * rng.uniform(0.8, 1.1)
    x, y = scene.grid()
    folds = np.sin((y - top) / unit * rng.uniform(6, 16) + 2 * clouds(rng, scene.size, 2, 1))
    shade = 1 + rng.uniform(0, 0.15) * folds - 0.3 * ((x - x0) / half) ** 2
    layers = [Layer(base * shade[..., None], alpha)]
    if rng.random() < 0.5:
        for sign in (-1, 1):
            start = np.array([x0 + sign * half, top + drop])
            strap = np.stack([start, start + np.array([sign * unit, -unit * rng.uniform(0, 0.6)])])
            thin = line(scene, strap, rng.uniform(0.7, 2) * scene.size / 128)
            layers.append(Layer(np.broadcast_to(base.mean((0, 1)), base.shape), thin))
    return layers


def _eye_mask(scene: Scene) -> Layer:
    rng, unit = scene.rng, scene.unit
    middle = scene.points[:2].mean(0)
    radii = unit * np.array([rng.uniform(1.0, 1.4), rng.uniform(0.35, 0.6)])
    angles = np.linspace(0, 2 * math.pi, 40)
    shape = np.stack([np.cos(angles) * radii[0], np.sin(angles) * radii[1]], 1)
    alpha = polygon(scene, middle + shape)
    if rng.random() < 0.7:
        x, y = scene.grid()
        for eye in scene.points[:2]:
            away = np.hypot((x - eye[0]) / 1.5, y - eye[1]) - unit * rng.uniform(0.12, 0.2)
            alpha = np.minimum(alpha, (away + 0.5).clip(0, 1))
    return Layer(texture(rng, scene.size, scene.other), alpha)
