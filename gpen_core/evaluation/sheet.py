"""A picture of faces: degraded | restored for each preset, and the truth; a row a face."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..errors import InputError
from ..images.grid import grid
from .compare import Shown


def draw_sheet(shown: Sequence[Shown]) -> Tensor:
    """(3, H, W) 0..1, every face at its full size, under a line that names the columns.

    Raises:
        InputError: there is nothing to show.

    Example:
        >>> import torch
        >>> from gpen_core.dataset.sources import Face
        >>> black = torch.zeros(3, 64, 64)
        >>> draw_sheet([Shown(Face("one.png", "studio"), black, {"mild": (black, black)})]).shape
        torch.Size([3, 88, 192])
    """
    if not shown:
        raise InputError("A sheet needs at least one face to show.")
    titles: list[str] = []
    for damage in shown[0].pairs:
        titles += [f"{damage}: degraded", "restored"]
    rows = [
        [picture for pair in face.pairs.values() for picture in pair] + [face.truth]
        for face in shown
    ]
    return grid(rows, [*titles, "truth"])
