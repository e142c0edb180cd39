"""What a detector has found in the pictures that it saw last."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable

from torch import Tensor

Finds = tuple[Tensor, Tensor, Tensor]
"""Boxes, scores and landmarks, as a `gpen_core.faces.detector.Detector` gives them."""


class Searches:
    """Finds by what was searched, so that another model or strength does not search again.

    A picture is known by its content, whichever node or workflow it comes from. A few numbers are
    kept of each, not the picture.

    Args:
        limit: pictures; the ones searched longest ago are forgotten.
    """

    def __init__(self, limit: int = 2048) -> None:
        self._limit = limit
        self._finds: OrderedDict[Hashable, Finds] = OrderedDict()

    def get(self, image: Tensor, limits: tuple[float, float], search: Callable[[], Finds]) -> Finds:
        """The finds in an image (3, H, W) within limits, searched if they are not known."""
        key = (_digest(image), limits)
        if key not in self._finds:
            self._finds[key] = search()
        self._finds.move_to_end(key)
        while len(self._finds) > self._limit:
            self._finds.popitem(last=False)
        return self._finds[key]


def _digest(image: Tensor) -> str:
    pixels = image.detach().cpu().contiguous()
    hashed = hashlib.blake2b(repr((pixels.shape, pixels.dtype)).encode(), digest_size=16)
    hashed.update(pixels.numpy().data)
    return hashed.hexdigest()
