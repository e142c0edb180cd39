"""Glasses: frames, and what lenses reflect."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from ..materials import Array, clouds, color, texture
from .scene import Layer, Scene
from .shapes import bent, line, polygon


def glasses(scene: Scene) -> list[Layer]:
    """Frames with clear, tinted or dark lenses, and reflections on them."""
    rng = scene.rng
    eyes = scene.points[:2] + rng.normal(0, 0.06, 2) * scene.unit + (0, 0.08 * scene.unit)
    along = (eyes[1] - eyes[0]) / max(np.hypot(*(eyes[1] - eyes[0])), 1e-3)
    axes = np.stack([along, (-along[1], along[0])])
    radii = scene.unit * np.array([rng.uniform(0.3, 0.43), rng.uniform(0.22, 0.38)])
    rim = _rim(rng, radii) @ axes
    lens = np.maximum(*(polygon(scene, eye + rim) for eye in eyes))
    frame, bridge = _frame(scene, eyes, rim, radii[:, None] * axes)
    layers = []
    kind = rng.random()
    if kind < 0.45:
        strength = rng.uniform(0.0, 0.2) if kind < 0.2 else rng.uniform(0.6, 0.98)
        tint = color(rng) * (0.35 if kind > 0.2 else 1)
        layers.append(Layer(np.broadcast_to(tint, scene.face.shape), lens * strength))
    if rng.random() < 0.4:
        layers.append(_reflection(scene, lens))
    shade = color(rng) * rng.choice((0.3, 1.0)) if rng.random() < 0.8 else color(rng)
    gleam = 1 + 0.4 * clouds(rng, scene.size, 8)[..., None]
    if kind > 0.95:  # no rim
        frame = np.maximum(frame * (1 - lens), bridge)
    layers.append(Layer(np.broadcast_to(shade, scene.face.shape) * gleam, frame))
    return layers


def _rim(rng: Generator, radii: Array) -> Array:
    """(40, 2) around a lens, from round to nearly square, flatter above."""
    power, flat = 2 / rng.uniform(1.6, 5), rng.uniform(0.75, 1)
    angles = np.linspace(0, 2 * math.pi, 40)
    sides = [np.sign(wave) * np.abs(wave) ** power for wave in (np.cos(angles), np.sin(angles))]
    x, y = (radius * side for radius, side in zip(radii, sides, strict=True))
    return np.stack([x, np.where(y < 0, y * flat, y)], 1)


def _frame(scene: Scene, eyes: Array, rim: Array, axes: Array) -> tuple[Array, Array]:
    """Rims, bridge and temples, and the bridge alone; `axes` reach from a lens's middle out."""
    rng, unit, (across, down) = scene.rng, scene.unit, axes
    width = rng.uniform(0.6, 3.6) * scene.size / 128
    frame = np.maximum(*(line(scene, eye + rim, width) for eye in eyes))
    upright = down / max(np.hypot(*down), 1e-3)
    inner = (eyes[0] + across, eyes[1] - across)
    bend = (inner[0] + inner[1]) / 2 - upright * rng.uniform(0, 0.2) * unit
    bridge = line(scene, bent(*inner, bend), width)
    frame = np.maximum(frame, bridge)
    aside = across / max(np.hypot(*across), 1e-3)
    for sign, eye in ((-1, eyes[0]), (1, eyes[1])):
        edge = eye + sign * across - down * 0.3
        far = edge + sign * aside * unit + upright * rng.uniform(-0.15, 0.1) * unit
        frame = np.maximum(frame, line(scene, np.stack([edge, far]), width * 0.8))
    return frame, bridge


def _reflection(scene: Scene, lens: Array) -> Layer:
    """A window or a lamp on the lenses."""
    rng = scene.rng
    x, y = scene.grid()
    angle, width = rng.uniform(0, math.pi), scene.unit * rng.uniform(0.05, 0.3)
    along = math.cos(angle) * (x - scene.center[0]) + math.sin(angle) * (y - scene.points[0, 1])
    band = (1.5 - np.abs(np.mod(along, scene.unit) - scene.unit / 2) / width).clip(0, 1)
    if rng.random() < 0.3:
        band = np.maximum(band, rng.uniform(0.3, 1))
    light = np.array([0.95, 0.97, 1.0]) * rng.uniform(0.7, 1.05)
    picture = np.broadcast_to(light, scene.face.shape)
    if rng.random() < 0.3:
        picture = np.maximum(picture * 0.4, texture(rng, scene.size, scene.other, "photo"))
    return Layer(picture, lens * band * rng.uniform(0.45, 0.98), shadow=False)
