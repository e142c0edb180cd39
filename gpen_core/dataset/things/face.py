"""Face: another one in front."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from .scene import Layer, Scene
from .shapes import polygon


def face(scene: Scene) -> list[Layer]:
    """Another face partly in front, from a side or from below."""
    rng, unit = scene.rng, scene.unit
    side = int(scene.size * rng.uniform(0.7, 1.25))
    picture = Image.fromarray((scene.other * 255).astype(np.uint8)).resize((side, side))
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = picture.rotate(float(rng.normal(0, 15)), Image.Resampling.BILINEAR)
    angle = rng.uniform(-0.3, math.pi + 0.3)
    away = unit * rng.uniform(1.5, 2.7)
    middle = scene.center + away * np.array([math.cos(angle), math.sin(angle)])
    corner = (int(middle[0] - side / 2), int(middle[1] - side * 0.55))
    canvas = Image.new("RGB", (scene.size, scene.size))
    canvas.paste(picture, corner)
    radii = side * np.array([rng.uniform(0.27, 0.34), rng.uniform(0.38, 0.46)])
    angles = np.linspace(0, 2 * math.pi, 48)
    shape = np.stack([np.cos(angles) * radii[0], np.sin(angles) * radii[1]], 1)
    alpha = polygon(scene, middle + shape)
    return [Layer(np.asarray(canvas, np.float32) / 255, alpha)]
