"""Hair: strands over the face."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ..materials import color
from .scene import Layer, Scene
from .shapes import bent

_FINER = 2  # outlines are drawn so many times larger, and reduced


def hair(scene: Scene) -> list[Layer]:
    """Strands over the face: from above, from a side, blown across, alone or in locks."""
    rng, size = scene.rng, scene.size
    shade = color(rng) * 0.2 + np.array([0.35, 0.24, 0.15]) * rng.uniform(0.1, 1.9)
    if rng.random() < 0.5:  # what is above this face
        shade = np.median(scene.face[: max(2, size // 12)].reshape(-1, 3), 0)
    side = size * _FINER
    canvas = Image.new("RGB", (side, side))
    mask = Image.new("L", (side, side))
    paint, count = ImageDraw.Draw(canvas), ImageDraw.Draw(mask)
    for _ in range(int(rng.integers(1, 5))):
        start = np.array([rng.uniform(0, 1), rng.uniform(-0.2, 0.25)]) * size
        if rng.random() < 0.3:
            start = np.array([rng.choice((-0.05, 1.05)), rng.uniform(0, 0.8)]) * size
        end = scene.spot(1.5) + np.array([0, 0.5 * scene.unit])
        bend = (start + end) / 2 + rng.normal(0, 0.5, 2) * scene.unit
        apart = scene.unit * rng.uniform(0.03, 0.35)
        for _ in range(int(rng.integers(2, 70))):
            off, curl = rng.normal(0, 1, 2) * apart, rng.normal(0, 0.5, 2) * apart
            along = bent(start + off, end + curl + off * rng.uniform(0, 1), bend + off + curl)
            flat = [tuple(point) for point in (along * _FINER).tolist()]
            lit = (shade * rng.uniform(0.6, 1.5)).clip(0, 1)
            width = int(rng.integers(1, 4))
            paint.line(flat, fill=tuple(int(255 * v) for v in lit), width=width, joint="curve")
            count.line(flat, fill=255, width=width, joint="curve")
    colors = np.asarray(canvas.resize((size, size), Image.Resampling.BOX), np.float32) / 255
    alpha = np.asarray(mask.resize((size, size), Image.Resampling.BOX), np.float32) / 255
    return [Layer(colors / np.maximum(alpha, 1 / 255)[..., None], alpha)]
