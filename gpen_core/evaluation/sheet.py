"""A picture of faces: degraded | restored for each preset, and the truth; a row a face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..errors import InputError
from .compare import Shown

_HEAD = 24


def draw_sheet(shown: Sequence[Shown]) -> Tensor:
    """(3, H, W) 0..1, every face at its full size, under a line that names the columns.

    Raises:
        InputError: there is nothing to show.
    """
    if not shown:
        raise InputError("A sheet needs at least one face to show.")
    titles: list[str] = []
    for damage in shown[0].pairs:
        titles += [f"{damage}: degraded", "restored"]
    titles.append("truth")
    rows = []
    for face in shown:
        pictures = [picture for pair in face.pairs.values() for picture in pair]
        rows.append(torch.cat([*pictures, face.truth], dim=2))
    side = shown[0].truth.shape[-1]
    return torch.cat([_head(titles, side), *rows], dim=1)


def _head(titles: Sequence[str], side: int) -> Tensor:
    """A white line (3, 24, n * side) with a title over each column."""
    line = Image.new("RGB", (side * len(titles), _HEAD), "white")
    pen = ImageDraw.Draw(line)
    font = ImageFont.load_default()
    for index, title in enumerate(titles):
        pen.text((index * side + 4, 6), title, fill="black", font=font)
    return torch.from_numpy(np.asarray(line).copy()).permute(2, 0, 1).float() / 255
