"""Makes the templates' thumbnails: what each does to a photograph, before and after.

    .venv/bin/python templates/thumbnails.py

The photographs are those of docs/samples, restored with the embedded model.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

import gpen_core  # noqa: E402  (found by the line above, installed or not)

SIDE = 512
LINE = 4
FACE = (95, 5, 315, 225)  # in astronaut-damaged.jpg


def main() -> None:
    """Write the JPEG files beside the workflows."""
    model = gpen_core.load_model()
    portrait = photograph("astronaut-damaged.jpg")
    restored = restore(portrait, model)
    group = photograph("solvay-1927.jpg")
    few = restore(group, model, keep="0-5", sort="left-right", mask="ellipse", color_match=0.5)
    large = restore(portrait, model, upscale=4)
    small = blurred(portrait, 192)
    made = {
        "1": split(cut(portrait, FACE), cut(restored, FACE)),
        "2": split(cut(small, FACE), cut(restore(small, model), FACE)),
        "3": above(cut(group, (60, 120, 440, 308)), cut(few, (60, 120, 440, 308))),
        "4": tiles(portrait, cut(portrait, FACE), cut(restored, FACE), restored),
        "5": inset(portrait, cut(large, tuple(4 * edge for edge in FACE))),
        "6": film(portrait, restored, [(left, 5, left + 155, 235) for left in (75, 105, 135)]),
        "7": film(portrait, restored, [(left, 25, left + 114, 195) for left in (130, 147, 164)]),
    }
    for letter, picture in made.items():
        (workflow,) = (ROOT / "example_workflows").glob(f"{letter} *.json")
        picture.save(workflow.with_suffix(".jpg"), quality=88, optimize=True)
        print(workflow.with_suffix(".jpg").relative_to(ROOT))


def photograph(name: str) -> Image.Image:
    return Image.open(ROOT / "docs" / "samples" / name).convert("RGB")


def restore(picture: Image.Image, model: object, **options: object) -> Image.Image:
    return Image.fromarray(gpen_core.restore_image(np.asarray(picture), model, **options).image)


def cut(picture: Image.Image, box: tuple[int, ...]) -> Image.Image:
    return picture.crop(box)


def blurred(picture: Image.Image, side: int) -> Image.Image:
    """As a generator leaves small faces: with few pixels."""
    small = picture.resize((side, side), Image.Resampling.BOX)
    return small.resize(picture.size, Image.Resampling.BICUBIC)


def square(picture: Image.Image) -> Image.Image:
    return picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def split(before: Image.Image, after: Image.Image) -> Image.Image:
    """The left half as it was, the right half as it is."""
    joined, right = square(before), square(after)
    joined.paste(right.crop((SIDE // 2, 0, SIDE, SIDE)), (SIDE // 2, 0))
    ImageDraw.Draw(joined).line([(SIDE // 2, 0), (SIDE // 2, SIDE)], "white", LINE)
    return joined


def above(before: Image.Image, after: Image.Image) -> Image.Image:
    """One picture above the other, as wide as the thumbnail."""
    joined = Image.new("RGB", (SIDE, SIDE), "white")
    height = (SIDE - LINE) // 2
    for top, picture in ((0, before), (height + LINE, after)):
        scaled = picture.resize((SIDE, round(SIDE * picture.height / picture.width)))
        joined.paste(scaled.crop((0, 0, SIDE, height)), (0, top))
    return joined


def tiles(*pictures: Image.Image) -> Image.Image:
    """Four steps: the picture, its face, the restored face, the result."""
    joined = Image.new("RGB", (SIDE, SIDE), "white")
    side = (SIDE - LINE) // 2
    for number, tile in enumerate(pictures):
        place = ((number % 2) * (side + LINE), (number // 2) * (side + LINE))
        joined.paste(tile.resize((side, side), Image.Resampling.LANCZOS), place)
    return joined


def inset(small: Image.Image, large: Image.Image) -> Image.Image:
    """The enlarged face, with the original at its own scale in the corner."""
    joined = square(large)
    side = SIDE // 4
    corner = square(small).resize((side, side), Image.Resampling.LANCZOS)
    framed = Image.new("RGB", (side + 2 * LINE, side + 2 * LINE), "white")
    framed.paste(corner, (LINE, LINE))
    joined.paste(framed, (SIDE - framed.width, SIDE - framed.height))
    return joined


def film(before: Image.Image, after: Image.Image, frames: Sequence[tuple[int, ...]]) -> Image.Image:
    """Three frames of a pan, above as they were and below as they are."""
    joined = Image.new("RGB", (SIDE, SIDE), "black")
    width, height = SIDE // 3, SIDE // 2
    for row, picture in enumerate((before, after)):
        for column, box in enumerate(frames):
            frame = picture.crop(box).resize((width - 6, height - 24))
            joined.paste(frame, (column * width + 3, row * height + 12))
    return joined


if __name__ == "__main__":
    main()
