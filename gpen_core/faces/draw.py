"""Draw: a picture with its faces' boxes, landmarks and indices, for people to choose by."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .found import Faces

_GOLDEN = 0.618034  # neighboring indices get colors far apart
# What is in front of a face, and how strongly it is tinted.
_COVERED, _TINT = (255, 0, 200), 0.55
_DARK, _LIGHT, _GRAY = (0, 0, 0), (255, 255, 255), (150, 150, 150)

# Labels are this part of the picture's long side high: readable where it is shown 300 px wide, or,
# where they would cover other faces, smaller, down to the last.
_LABEL_HEIGHTS = (1 / 22, 1 / 28, 1 / 36, 1 / 48, 1 / 64)
_SMALLEST_LABEL = 11.0
# In a face narrower than this its landmarks hide more than they show, in pixels.
_DOTTED = 60.0
# A label lies on its own face only if that is this many times as wide as the label is high.
_ROOM_INSIDE = 5

Box = tuple[float, float, float, float]
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Mark:
    """What is drawn for one face.

    Attributes:
        box: `x0, y0, x1, y1` in the picture's pixels.
        landmarks: five (x, y).
        label: its number.
        more: added to the label where there is room for it.
        color: of its box and label; None is gray, for a face that is left out.

    Example:
        >>> Mark((0, 0, 39, 39), label="0").scaled(0.5).box
        (-0.25, -0.25, 19.25, 19.25)
    """

    box: Box
    landmarks: Sequence[Sequence[float]] = ()
    label: str = ""
    more: str = ""
    color: Color | None = None

    def scaled(self, factor: float) -> Mark:
        """The same mark in the picture resized by `factor`; pixel centers are at integers."""

        def at(value: float) -> float:
            return (value + 0.5) * factor - 0.5

        x0, y0, x1, y1 = map(at, self.box)
        points = [(at(x), at(y)) for x, y in self.landmarks]
        return Mark((x0, y0, x1, y1), points, self.label, self.more, self.color)


def color_of(index: int) -> Color:
    """A color for the face of this number.

    Example:
        >>> color_of(0)
        (68, 255, 64)
    """
    red, green, blue = colorsys.hsv_to_rgb((0.33 + index * _GOLDEN) % 1, 0.75, 1)
    return round(red * 255), round(green * 255), round(blue * 255)


def marks_of(faces: Faces, source: int = 0) -> list[Mark]:
    """The faces of one image, numbered by their place among them, as `select` counts them.

    Example:
        >>> marks_of(Faces.empty([(48, 64)]))
        []
    """
    own = faces.of_image(source).to("cpu")
    return [
        Mark(
            box=_box(own.boxes[index]),
            landmarks=own.landmarks[index].tolist(),
            label=str(index),
            more=f"  {float(own.scores[index]):.2f}",
            color=color_of(index),
        )
        for index in range(len(own))
    ]


def tint_covered(picture: Image.Image, faces: Faces, source: int = 0) -> None:
    """Tint, in place, where something is in front of the faces of one image.

    Args:
        picture: RGB, the image or a reduced one; written to.
        faces: with crops, of any number of images; those nobody looked at change nothing.
        source: which image of the batch this is.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> faces = as_faces(torch.zeros(1, 3, 64, 64), "gpen")
        >>> picture = Image.new("RGB", (32, 32))
        >>> tint_covered(picture, faces.with_(covered=torch.ones(1, 1, 128, 128)))
        >>> picture.getpixel((16, 16))
        (140, 0, 110)
    """
    if faces.covered is None or faces.matrices is None or faces.crop_size is None:
        return
    own = faces.of_image(source).to("cpu")
    assert own.covered is not None and own.matrices is not None
    factor = picture.width / faces.image_sizes[source][1]
    tint = Image.new("RGB", picture.size, _COVERED)
    for matrix, covered in zip(own.matrices.double(), own.covered, strict=True):
        scale = covered.shape[-1] / faces.crop_size
        # In coordinates from the corner, as the transformation has them.
        turn = matrix[:, :2] * scale
        shift = (matrix[:, 2] + 0.5) * scale - turn.sum(1) * 0.5
        rows = torch.cat([turn / factor, shift[:, None]], 1)
        pixels = (covered[0].clamp(0, 1) * 255 * _TINT).round().to(torch.uint8).numpy()
        share = Image.fromarray(pixels).transform(
            picture.size,
            Image.Transform.AFFINE,
            rows.flatten().tolist(),
            Image.Resampling.BILINEAR,
        )
        picture.paste(tint, mask=share)


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
    draw_marks(picture, marks_of(faces, source))
    drawn = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)
    return (drawn.float() / 255).to(image.device)


def draw_marks(picture: Image.Image, marks: Sequence[Mark]) -> None:
    """Draw marks into an RGB picture.

    Boxes run around their faces and never over them, labels where they cover no face if there is
    such a place.

    Example:
        >>> picture = Image.new("RGB", (64, 48))
        >>> draw_marks(picture, [Mark((20, 20, 40, 40), label="0", color=(255, 0, 0))])
        >>> picture.getpixel((30, 30)), picture.getpixel((19, 30))
        ((0, 0, 0), (255, 0, 0))
    """
    canvas = ImageDraw.Draw(picture)
    # Those left out come first, below the others; labels on top of all boxes, or in a crowd the
    # next box would cross them out.
    order = sorted(marks, key=lambda mark: mark.color is not None)
    for mark in order:
        _draw_box(canvas, mark)
    for label in _labels(picture.size, [mark for mark in order if mark.label]):
        label.draw(canvas)


def _box(corners: Tensor) -> Box:
    x0, y0, x1, y1 = corners.tolist()
    return x0, y0, x1, y1


def _side(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def _draw_box(canvas: ImageDraw.ImageDraw, mark: Mark) -> None:
    color, side = mark.color or _GRAY, _side(mark.box)
    line = max(1, round(side / 70))
    x0, y0, x1, y1 = mark.box
    for grown, ink, width in ((line + 1, _DARK, line + 2), (line, color, line)):
        canvas.rectangle((x0 - grown, y0 - grown, x1 + grown, y1 + grown), outline=ink, width=width)
    if side < _DOTTED:
        return
    radius = max(1.0, side / 60)
    for x, y in mark.landmarks:
        for reach, fill in ((radius + max(1, line // 2), _DARK), (radius, color)):
            canvas.ellipse((x - reach, y - reach, x + reach, y + reach), fill=fill)


# --- labels --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Label:
    """A number on a plate."""

    area: Box
    text: str
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont
    offset: tuple[float, float]
    color: Color

    def draw(self, canvas: ImageDraw.ImageDraw) -> None:
        canvas.rectangle(self.area, fill=self.color, outline=_DARK)
        red, green, blue = self.color
        ink = _DARK if 0.3 * red + 0.59 * green + 0.11 * blue > 110 else _LIGHT
        place = self.area[0] + self.offset[0], self.area[1] + self.offset[1]
        canvas.text(place, self.text, fill=ink, font=self.font)


def _labels(size: tuple[int, int], marks: Sequence[Mark]) -> list[_Label]:
    """The largest labels that cover no face, or small ones that cover as little as they can."""
    heights = [max(_SMALLEST_LABEL, max(size) * part) for part in _LABEL_HEIGHTS]
    for height in dict.fromkeys(heights):
        labels = _placed(size, marks, height, least=height == heights[-1])
        if labels is not None:
            return labels
    return []


def _placed(
    size: tuple[int, int], marks: Sequence[Mark], height: float, *, least: bool
) -> list[_Label] | None:
    """A label for each mark; None where one has to cover something, unless `least` will do."""
    font = ImageFont.load_default(size=height)
    boxes = [mark.box for mark in marks]
    labels: list[_Label] = []
    for mark in marks:
        best, covered = None, float("inf")
        taken = [label.area for label in labels]
        for label in _candidates(mark, font, size):
            inside = _side(mark.box) >= _ROOM_INSIDE * (label.area[3] - label.area[1])
            others = [box for box in boxes if not (inside and box is mark.box)]
            cost = sum(_overlap(label.area, other) for other in (*others, *taken))
            if cost < covered:
                best, covered = label, cost
            if cost == 0:
                break
        if covered > 0 and not least:
            return None
        assert best is not None  # there is always a candidate
        labels.append(best)
    return labels


def _candidates(
    mark: Mark, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, size: tuple[int, int]
) -> list[_Label]:
    """Places for a mark's label, the best first: above its box, below, beside, inside."""
    x0, y0, x1, y1 = mark.box
    text = mark.label + mark.more
    if font.getbbox(text)[2] > 1.1 * (x1 - x0):
        text = mark.label
    left, top, right, bottom = font.getbbox(text)
    pad = max(1, round((bottom - top) / 5))
    wide, tall = right - left + 2 * pad, bottom - top + 2 * pad
    gap = max(1, round(_side(mark.box) / 70)) + 2
    corners = [
        (x0 - gap, y0 - tall - gap),
        (x1 + gap - wide, y0 - tall - gap),
        (x0 - gap, y1 + gap),
        (x1 + gap - wide, y1 + gap),
        (x0 - wide - gap, y0),
        (x1 + gap, y0),
        (x0, y0),
    ]
    labels = []
    for x, y in corners:
        x = min(max(x, 0), max(0, size[0] - 1 - wide))
        y = min(max(y, 0), max(0, size[1] - 1 - tall))
        area = (x, y, x + wide, y + tall)
        labels.append(_Label(area, text, font, (pad - left, pad - top), mark.color or _GRAY))
    return labels


def _overlap(one: Box, other: Box) -> float:
    """Pixels that two boxes share."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    tall = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, wide) * max(0.0, tall)
