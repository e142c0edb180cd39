"""Letters: text over a picture."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..materials import color
from .scene import Layer, Scene

_FINER = 2  # outlines are drawn so many times larger, and reduced

_LETTERS = "ABCDEFGHIKLMNOPRSTUVWXYZ abcdefghiklmnoprstuvwxyz 0123456789 .,:!?©@#"


def letters(scene: Scene) -> list[Layer]:
    """A word or several lines across the picture, solid or a watermark."""
    rng, size = scene.rng, scene.size
    side = size * _FINER
    canvas = Image.new("L", (side, side))
    paint = ImageDraw.Draw(canvas)
    height = float(rng.uniform(0.07, 0.3) * side)
    font = ImageFont.load_default(height)
    at = scene.spot(0.9) * _FINER
    for row in range(int(rng.integers(1, 4))):
        word = "".join(rng.choice(list(_LETTERS), int(rng.integers(3, 14))))
        place = (float(at[0] - height * len(word) * 0.25), float(at[1] + row * height * 1.15))
        bold = int(rng.integers(0, max(2, int(height / 14))))
        paint.text(place, word, fill=255, font=font, stroke_width=bold)
    turned = canvas.rotate(float(rng.normal(0, 15)), center=(float(at[0]), float(at[1])))
    small = turned.resize((size, size), Image.Resampling.BOX)
    alpha = np.asarray(small, np.float32) / 255 * rng.uniform(0.55, 1.0)
    ink = color(rng) if rng.random() < 0.4 else np.full(3, rng.choice((0.03, 0.97)))
    return [Layer(np.broadcast_to(ink, scene.face.shape), alpha, shadow=rng.random() < 0.2)]
