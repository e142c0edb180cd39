"""Draw: a picture with its faces' boxes, landmarks and indices, for people to choose by."""

from __future__ import annotations

import colorsys

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .found import Faces

_GOLDEN = 0.618034  # neighboring indices get colors far apart
_DARK, _LIGHT = (0, 0, 0), (255, 255, 255)


def draw_faces(image: Tensor, faces: Faces, source: int = 0) -> Tensor:
    """The picture with every face's box, five landmarks, index and score drawn in.

    Lines and text grow with the picture and the face, so that both a thumbnail and a scan stay
    readable. The index is the face's place in `faces` among those of its image, as `select`
    counts it.

    Args:
        image: (3, H, W) RGB 0..1; not written to.
        faces: any number; only those of image `source` are drawn.
        source: which image of the batch this is.

    Returns:
        (3, H, W) float32 0..1, on the image's device.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> picture = torch.zeros(1, 3, 64, 64)
        >>> draw_faces(picture[0], as_faces(picture, "gpen")).shape
        torch.Size([3, 64, 64])
    """
    pixels = (image.detach().clamp(0, 1) * 255).round().to(torch.uint8)
    picture = Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy()))
    canvas = ImageDraw.Draw(picture)
    own = faces.of_image(source).to("cpu")
    # Labels go on top of all boxes, or in a crowd the next box would cross them out.
    for index in range(len(own)):
        _draw_face(canvas, own.boxes[index], own.landmarks[index], _color(index))
    for index in range(len(own)):
        label = f"{index}  {float(own.scores[index]):.2f}"
        _draw_label(canvas, picture.size, own.boxes[index], str(index), label, _color(index))
    drawn = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)
    return (drawn.float() / 255).to(image.device)


def _color(index: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb((0.33 + index * _GOLDEN) % 1, 0.75, 1)
    return round(red * 255), round(green * 255), round(blue * 255)


def _side(box: Tensor) -> float:
    return float((box[2:] - box[:2]).amax())


def _draw_face(
    canvas: ImageDraw.ImageDraw, box: Tensor, landmarks: Tensor, color: tuple[int, int, int]
) -> None:
    line = max(1, round(_side(box) / 70))
    corners = [tuple(corner) for corner in box.reshape(2, 2).tolist()]
    canvas.rectangle(corners, outline=_DARK, width=line + 2)
    inner = [(corners[0][0] + 1, corners[0][1] + 1), (corners[1][0] - 1, corners[1][1] - 1)]
    if inner[1][0] > inner[0][0] and inner[1][1] > inner[0][1]:
        canvas.rectangle(inner, outline=color, width=line)
    radius = max(1.0, _side(box) / 60)
    for x, y in landmarks.tolist():
        for reach, fill in ((radius + max(1, line // 2), _DARK), (radius, color)):
            canvas.ellipse((x - reach, y - reach, x + reach, y + reach), fill=fill)


def _draw_label(
    canvas: ImageDraw.ImageDraw,
    size: tuple[int, int],
    box: Tensor,
    short: str,
    full: str,
    color: tuple[int, int, int],
) -> None:
    """Index (and score, where it fits) on a plate above the box, or inside it at the top edge."""
    height = min(max(11.0, _side(box) / 6, max(size) / 110), max(11.0, max(size) / 24))
    font = ImageFont.load_default(size=height)
    text = full if canvas.textlength(full, font=font) <= 1.1 * float(box[2] - box[0]) else short
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    pad = max(1, round(height / 6))
    width, tall = right - left + 2 * pad, bottom - top + 2 * pad
    x = min(max(float(box[0]), 0), max(0, size[0] - width))
    above = float(box[1]) - tall
    y = above if above >= 0 else min(max(float(box[1]), 0), max(0, size[1] - tall))
    canvas.rectangle((x, y, x + width, y + tall), fill=color, outline=_DARK)
    luminance = 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2]
    ink = _DARK if luminance > 110 else _LIGHT
    canvas.text((x + pad - left, y + pad - top), text, fill=ink, font=font)
