"""Draws the golden sheets of the damage, and the picture of the documentation.

    python tests/golden/degradation/draw.py

Run it after a wanted change of `gpen_core/dataset/degradation.py`, look at the pictures, and commit
them.
`source.png` and `docs/images/astronaut-face.png` are of Eileen Collins's portrait: NASA, public
domain.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from gpen_core.dataset.degradation import PRESETS, Degradation, degrade  # noqa: E402

STRENGTHS = {
    "blur": (0.5, 1.5, 3.0),
    "motion": (5.0, 12.0, 25.0),
    "color": (0.3, 0.6, 1.0),
    "scale": (2.0, 4.0, 16.0),
    "noise": (5.0, 12.0, 25.0),
    "jpeg": (90.0, 40.0, 10.0),
    "grain": (5.0, 12.0, 25.0),
    "halftone": (2.0, 4.0, 8.0),
    "sharpen": (1.0, 2.0, 4.0),
    "blocks": (90.0, 40.0, 10.0),
}
CHANCES = ("gray", "sepia")
NAMES = (*STRENGTHS, *CHANCES, *PRESETS)
_TILE, _MARGIN = 128, 96


def sheet(name: str, source: torch.Tensor) -> torch.Tensor:
    """Three pictures (3, 3, H, W) of one quantity at rising strength, or of a preset's seeds."""
    if name in PRESETS:
        return degrade(source.expand(3, -1, -1, -1), name, seed=1)
    if name in CHANCES:
        recipes = [Degradation(**{name: probability}) for probability in (0.0, 0.5, 1.0)]
    else:
        recipes = [Degradation(**{name: (value, value)}) for value in STRENGTHS[name]]
    return torch.cat([degrade(source, recipe, seed=1) for recipe in recipes])


def row(pictures: torch.Tensor) -> np.ndarray:
    """(N, 3, H, W) 0..1 -> uint8 (H, N * W, 3), side by side."""
    pixels = (pictures * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return np.concatenate(list(pixels), axis=1)


def read(path: Path) -> torch.Tensor:
    """(1, 3, H, W) 0..1."""
    pixels = np.array(Image.open(path).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def _write() -> None:
    source = read(HERE / "source.png")
    for name in NAMES:
        Image.fromarray(row(sheet(name, source))).save(HERE / f"{name}.png", optimize=True)
    face = read(ROOT / "docs" / "images" / "astronaut-face.png")
    face = torch.nn.functional.interpolate(face, (_TILE, _TILE), mode="bicubic", antialias=True)
    face = face.clamp(0, 1)
    picture = Image.new("RGB", (_MARGIN + 4 * _TILE, len(NAMES) * _TILE), "white")
    pen = ImageDraw.Draw(picture)
    for index, name in enumerate(NAMES):
        tiles = row(torch.cat([face, sheet(name, face)]))
        picture.paste(Image.fromarray(tiles), (_MARGIN, index * _TILE))
        values = STRENGTHS.get(name, (0, 0.5, 1) if name in CHANCES else ())
        text = "\n".join([name, *(f"{value:g}" for value in values)])
        pen.multiline_text((6, index * _TILE + 8), text, fill="black")
    picture.save(ROOT / "docs" / "images" / "degradations.jpg", quality=90)


if __name__ == "__main__":
    _write()
