"""A page of faces before and after, which opens without a network."""

from __future__ import annotations

import html
import logging
import random
from collections.abc import Iterable
from pathlib import PurePosixPath

import torch
from torch import Tensor

from ..errors import GPENError
from ..images.layouts import resize
from ..images.picture import Picture
from ..images.read import decode
from ..images.write import data_url, encode
from .rows import Row
from .store import FOLDER, Store
from .stores import Reader

log = logging.getLogger(__name__)

SHEET = f"{FOLDER}/sheet.html"
_PICTURES, _SEED = 100, 0
_SIDE, _AROUND = 224, 1.8  # pixels of a view; how much more than the face it shows
_QUALITY = 85

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Before and after</title>
<style>
body {{ font: 14px system-ui, sans-serif; margin: 24px; background: #f4f4f2; color: #222; }}
main {{ display: flex; flex-wrap: wrap; gap: 16px; }}
figure {{ margin: 0; padding: 8px; background: #fff; border-radius: 4px; }}
figcaption {{ max-width: {width}px; overflow-wrap: anywhere; padding-top: 6px; }}
img {{ display: inline-block; width: {side}px; height: {side}px; }}
</style></head><body>
<h1>Before and after</h1>
<p>{head}</p>
<main>
{figures}
</main></body></html>
"""


def make_sheet(rows: Iterable[Row], target: Store) -> bytes:
    """A hundred restored pictures by chance, those with the least certain faces first.

    Shown is the face of each picture of which the detector was least certain. Pictures that cannot
    be read any more are left out and counted.

    Args:
        rows: of the manifest.
        target: where results are.

    Returns:
        A page in HTML that holds its pictures.

    Example:
        >>> import tempfile
        >>> from gpen_core.archive.stores import open_store
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = make_sheet([], open_store(folder))
        >>> b"0 of 0 restored pictures" in page
        True
    """
    restored = sorted((row for row in rows if row.box), key=lambda row: row.key)
    chosen = random.Random(_SEED).sample(restored, min(_PICTURES, len(restored)))
    chosen.sort(key=lambda row: (row.lowest or 0.0, row.key))
    read, figures, unread = Reader(), [], 0
    for row in chosen:
        try:
            figures.append(_figure(row, read, target))
        except GPENError as error:
            log.warning("%s: not on the sheet: %s", row.key, error)
            unread += 1
    head = (
        f"{len(figures)} of {len(restored)} restored pictures, by chance; the detector's least "
        f"certain faces first."
    )
    if unread:
        head += f" {unread} could not be read any more."
    page = _PAGE.format(width=2 * _SIDE + 4, side=_SIDE, head=head, figures="\n".join(figures))
    return page.encode()


def _figure(row: Row, read: Reader, target: Store) -> str:
    before = decode(read(row.place), PurePosixPath(row.key))
    after = decode(target.read(row.result), PurePosixPath(row.result))
    views = " ".join(
        f'<img alt="{which}" src="{data_url(_view(picture, before, row))}">'
        for which, picture in (("before", before), ("after", after))
    )
    faces = f"{row.restored} of {row.found} faces, lowest score {row.lowest or 0:.3f}"
    caption = f"{html.escape(row.key)}<br>{faces}"
    return f"<figure>{views}<figcaption>{caption}</figcaption></figure>"


def _view(picture: Picture, original: Picture, row: Row) -> bytes:
    """The face in a square, a JPEG."""
    scale = picture.size[1] / original.size[1]
    x0, y0, x1, y1 = (scale * side for side in row.box)
    half = _AROUND * max(x1 - x0, y1 - y0, 8.0) / 2
    square = _cut(picture.pixels, (x0 + x1) / 2, (y0 + y1) / 2, half)
    small = resize(square[None], (_SIDE, _SIDE))[0].clamp(0, 1)
    return encode(Picture(small), "JPEG", row.key, _QUALITY)


def _cut(pixels: Tensor, x: float, y: float, half: float) -> Tensor:
    """A square around a point; white beyond the picture."""
    side = max(round(2 * half), 8)
    left, top = round(x - half), round(y - half)
    square = torch.ones(3, side, side)
    height, width = pixels.shape[-2:]
    rows = slice(max(top, 0), min(top + side, height))
    columns = slice(max(left, 0), min(left + side, width))
    if rows.start < rows.stop and columns.start < columns.stop:
        square[
            :, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ] = pixels[:, rows, columns]
    return square
