"""Pictures side by side under a line that names the columns: samples, comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..errors import InputError

HEAD = 24
"""Height of the line of titles in pixels."""


def grid(rows: Sequence[Sequence[Tensor]], titles: Sequence[str]) -> Tensor:
    """(3, 24 + R H, C W) 0..1 of R rows of C pictures, each (3, H, W) 0..1, clamped.

    Args:
        rows: pictures of one size, as many in each row as there are titles.
        titles: of the columns; cut off where they are longer than a picture is wide.

    Raises:
        InputError: there is nothing to show, or a row has another number of pictures.

    Example:
        >>> grid([[torch.zeros(3, 8, 40)] * 2] * 3, ["before", "after"]).shape
        torch.Size([3, 48, 80])
    """
    if not rows:
        raise InputError("A sheet needs at least one row of pictures.")
    if any(len(row) != len(titles) for row in rows):
        raise InputError(f"Every row of a sheet needs {len(titles)} pictures, one for each title.")
    lines = [torch.cat([picture.cpu() for picture in row], dim=2).clamp(0, 1) for row in rows]
    return torch.cat([_head(titles, rows[0][0].shape[-1]), *lines], dim=1)


def _head(titles: Sequence[str], width: int) -> Tensor:
    """A white line (3, 24, C W) with a title over each column."""
    cells = []
    for title in titles:
        cell = Image.new("RGB", (width, HEAD), "white")
        ImageDraw.Draw(cell).text((4, 6), title, fill="black")
        cells.append(np.asarray(cell))
    line = torch.from_numpy(np.concatenate(cells, axis=1))
    return line.permute(2, 0, 1).float() / 255
