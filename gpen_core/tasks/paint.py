"""Paint: a face from a map of its parts, in the colors of CelebAMask-HQ's demo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from ..images.layouts import from_network
from .task import Task

PALETTE: Mapping[str, tuple[int, int, int]] = {
    "background": (0x00, 0x00, 0x00),
    "skin": (0xCC, 0x00, 0x00),
    "nose": (0x4C, 0x99, 0x00),
    "glasses": (0xCC, 0xCC, 0x00),
    "left_eye": (0x33, 0x33, 0xFF),
    "right_eye": (0xCC, 0x00, 0xCC),
    "left_brow": (0x00, 0xFF, 0xFF),
    "right_brow": (0x33, 0xFF, 0xFF),
    "left_ear": (0x66, 0x33, 0x00),
    "right_ear": (0xFF, 0x00, 0x00),
    "inner_mouth": (0x66, 0xCC, 0x00),
    "upper_lip": (0xFF, 0xFF, 0x00),
    "lower_lip": (0x00, 0x00, 0x99),
    "hair": (0x00, 0x00, 0xCC),
    "hat": (0xFF, 0x33, 0x99),
    "earring": (0x00, 0xCC, 0xCC),
    "necklace": (0x00, 0x33, 0x00),
    "neck": (0xFF, 0x99, 0x33),
    "cloth": (0x00, 0xCC, 0x00),
}
"""Color of each part, 8-bit RGB; the parts are those of `options.PARSING_CLASSES`, in their order.

"left" is the first of a pair in CelebAMask-HQ's list.
"""

# Some copies of the palette have this color for the second brow.
_ALIAS, _ALIAS_OF = (0xFF, 0xCC, 0xCC), "right_brow"

# Distance (8-bit levels, the largest of the three channels) beyond which a color is no blurred or
# compressed one of the palette; and the share of such pixels that no antialiased edge explains.
_FAR, _MOST_FAR = 32, 0.2
_EXACT = 0.5 / 255


class Paint(Task):
    """A face for a map of its parts. In and out are 0..1 here, and not -1..1.

    Example:
        >>> maps = torch.full((1, 3, 8, 8), -1.0)  # black: all background
        >>> Paint().prepare(maps, None, 16).unique()
        tensor([0.])
        >>> Paint().combine(maps, torch.ones(1, 3, 16, 16), None).unique()
        tensor([1.])
    """

    name = "paint"
    keeps_tone = False
    sees_faces = False

    def checked(self, images: Tensor) -> tuple[Tensor, str]:
        """See `Task`; colors that are none of the palette's go to the nearest, and are counted."""
        height, width = images.shape[-2:]
        if height != width:
            raise InputError(f"A map must be square, not {width}x{height} px.")
        maps = [cleaned(image) for image in images]
        changed = sum(one.changed for one in maps)
        total = images.shape[0] * images.shape[-2] * images.shape[-1]
        said = (
            f"{changed} of the map's {total} pixels had colors of no part of a face, and were "
            f"taken for the nearest part."
        )
        return torch.stack([one.map for one in maps]).to(images), said if changed else ""

    def prepare(self, crops: Tensor, holes: Tensor | None, size: int) -> Tensor:
        """See `Task`; resized without new colors."""
        maps = from_network(crops)
        if maps.shape[-1] == size:
            return maps
        return functional.interpolate(maps, (size, size), mode="nearest-exact")

    def combine(self, crops: Tensor, outputs: Tensor, holes: Tensor | None) -> Tensor:
        """See `Task`."""
        return outputs.clamp(0, 1) * 2 - 1


@dataclass(frozen=True)
class Cleaned:
    """A map with the palette's colors alone.

    Attributes:
        map: (3, H, W) 0..1.
        changed: how many pixels had another color.
    """

    map: Tensor
    changed: int


def cleaned(picture: Tensor) -> Cleaned:
    """A map in the palette's colors; what is between them, at blurred edges, goes to the nearest.

    Args:
        picture: (3, H, W) RGB 0..1.

    Raises:
        InputError: too many pixels have colors of no part: it is another palette, or a photograph.

    Example:
        >>> skin = torch.tensor(PALETTE["skin"])[:, None, None].expand(3, 4, 4) / 255
        >>> cleaned(skin + 0.02).changed, torch.equal(cleaned(skin + 0.02).map, skin)
        (16, True)
    """
    known = torch.tensor([*PALETTE.values(), _ALIAS], device=picture.device) / 255
    if 0 < float(picture.max()) <= (len(PALETTE) - 1) / 255 + _EXACT:
        raise InputError(
            "The map is nearly black: it may hold the numbers of the parts; give it their colors, "
            "those of CelebAMask-HQ's demo, such as CC0000 for skin."
        )
    nearest, distance = _nearest(picture, known)
    far = float((distance > _FAR / 255).float().mean())
    if far > _MOST_FAR:
        raise InputError(
            f"{far:.0%} of the map's pixels have colors of no part of a face; use the colors of "
            f"CelebAMask-HQ's demo, such as CC0000 for skin and 0000CC for hair."
        )
    colors = known.clone()
    colors[-1] = colors[list(PALETTE).index(_ALIAS_OF)]
    return Cleaned(colors[nearest].permute(2, 0, 1), int((distance > _EXACT).sum()))


def _nearest(picture: Tensor, colors: Tensor) -> tuple[Tensor, Tensor]:
    """(H, W) index of the nearest color and its distance, the largest of the channels'."""
    height, width = picture.shape[-2:]
    best = torch.full((height, width), float("inf"), device=picture.device)
    index = torch.zeros(height, width, dtype=torch.int64, device=picture.device)
    for number, color in enumerate(colors):
        distance = (picture - color[:, None, None]).abs().amax(dim=0)
        nearer = distance < best
        best = torch.where(nearer, distance, best)
        index = torch.where(nearer, number, index)
    return index, best
