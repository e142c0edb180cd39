"""Search: the looks a detector takes at one picture (reduced, in tiles, turned)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..images.fade import Fade
from ..options import DetectOptions
from .boxes import suppress
from .detector import Detector, Progress
from .tile import Tile, tiles
from .turn import Turn

SMALLEST = 16.0
"""Smallest face looked for, pixels of the picture as it is searched. Below it the detectors guess,
and a face restored from less has nothing to do with the person."""

# Unless `long_side` says otherwise: the long side of the picture as it is searched, and a short
# side that is not gone below, so that a panorama is not reduced to a strip.
_LONG_SIDE, _SHORT_SIDE = 1280, 640
# A picture that is searched at more than this is searched in tiles of it.
_AT_ONCE = 1280
# What neighboring tiles share is somewhat larger than the smallest face that is found in the whole
# picture, reduced.
_SHARED = 1.6
# What is looked at more closely and, below the confidence asked for, named in the report.
_CANDIDATE = 0.5
_COARSE = 2  # times the size searched: what large pictures are averaged to before the filter
_ANGLES = range(0, 360, 45)
# Finds of several looks that overlap by more are one face; so are, by the smaller one's area, a
# face and a part of it that another look takes for a face.
_SAME_FACE, _PART = 0.4, 0.6


@dataclass(frozen=True)
class Finds:
    """What looks like a face, in pixels of the picture, on the CPU.

    Attributes:
        boxes: (K, 4).
        scores: (K,) 0..1.
        landmarks: (K, 5, 2).
    """

    boxes: Tensor
    scores: Tensor
    landmarks: Tensor

    def take(self, chosen: Tensor) -> Finds:
        """The finds at these indices, or where a mask is true."""
        return Finds(self.boxes[chosen], self.scores[chosen], self.landmarks[chosen])

    @staticmethod
    def concat(parts: list[Finds]) -> Finds:
        """All finds of several looks, at least one."""
        return Finds(
            torch.cat([part.boxes for part in parts]),
            torch.cat([part.scores for part in parts]),
            torch.cat([part.landmarks for part in parts]),
        )


def reduction(size: tuple[int, int], options: DetectOptions) -> float:
    """How many times a picture of (height, width) is reduced for the search, 1 or more.

    Example:
        >>> reduction((3000, 4000), DetectOptions()), reduction((2000, 12000), DetectOptions())
        (3.125, 3.125)
    """
    if options.long_side is not None:
        return max(1.0, max(size) / options.long_side)
    return max(1.0, min(max(size) / _LONG_SIDE, min(size) / _SHORT_SIDE))


def search(
    image: Tensor,
    detector: Detector,
    options: DetectOptions,
    progress: Progress,
    fade: Fade | None = None,
) -> Finds:
    """Everything in one picture (3, H, W) that looks like a face, one find for each, best first.

    Args:
        image: RGB, about 0..1.
        detector: looks.
        options: `long_side`, `min_size`, `confidence` and `rotations` say where and how closely.
        progress: told of every look, before it too: that is where a host may stop.
        fade: of a faded picture, which is searched with more contrast.
    """
    parts = _parts((int(image.shape[-2]), int(image.shape[-1])), options)
    angles = _ANGLES if options.rotations else (0,)
    steps = _Steps(progress, [part.area for part in parts], len(angles))
    found = []
    least = min(options.confidence, _CANDIDATE)
    for part in parts:
        steps(0, 1)
        pixels = part.pixels(image, detector.device)
        pixels = pixels if fade is None else fade.stretched(pixels)
        for angle in angles:
            steps(0, 1)
            turn = Turn(angle, (int(pixels.shape[-2]), int(pixels.shape[-1])))
            seen = detector(turn.apply(pixels), part.smallest, least, steps)
            found.append(part.finds(seen, turn))
            steps.next()
    finds = Finds.concat(found)
    if len(found) > 1:
        # Equal scores fall to the earlier look: the whole picture, the smaller turn.
        finds = finds.take(suppress(finds.boxes, finds.scores, _SAME_FACE))
        finds = finds.take(suppress(finds.boxes, finds.scores, _PART, of_smaller=True))
    return finds


class _Steps:
    """The steps of one look after the other, as steps of them all."""

    def __init__(self, progress: Progress, areas: list[float], turns: int) -> None:
        self._progress = progress
        self._areas = [area for area in areas for _ in range(turns)]
        self._look = 0

    def __call__(self, done: int, total: int) -> None:
        within = self._areas[self._look] * done / max(total, 1)
        self._progress(round(sum(self._areas[: self._look]) + within), round(sum(self._areas)))

    def next(self) -> None:
        """A look is done."""
        self(1, 1)
        self._look = min(self._look + 1, len(self._areas) - 1)


@dataclass(frozen=True)
class _Part:
    """What is searched at once: a tile of the picture, reduced.

    Attributes:
        tile: of the picture.
        ratio: how many times it is reduced.
        smallest: face looked for, pixels of the reduced tile.
    """

    tile: Tile
    ratio: float
    smallest: float

    @property
    def area(self) -> float:
        """Pixels searched."""
        return self.tile.size[0] * self.tile.size[1] / self.ratio**2

    def pixels(self, image: Tensor, device: torch.device) -> Tensor:
        """The reduced tile of a picture (3, H, W): (3, h, w) float32 0..1, antialiased."""
        part = self.tile.apply(image).to(device, torch.float32)
        size = [max(1, round(side / self.ratio)) for side in self.tile.size]
        if self.ratio >= 2 * _COARSE:
            # Means of whole blocks first: the filter's time grows with what it has to look at.
            larger = [_COARSE * side for side in size]
            part = functional.interpolate(part[None], larger, mode="area")[0]
        if self.ratio > 1:
            part = functional.interpolate(part[None], size, mode="bilinear", antialias=True)[0]
        return part.clamp(0, 1)

    def finds(self, seen: tuple[Tensor, Tensor, Tensor], turn: Turn) -> Finds:
        """What a detector saw in the turned pixels and the tile answers for, in the picture."""
        boxes, scores, landmarks = (value.float().cpu() for value in seen)
        boxes = self._back(turn.boxes_back(boxes).reshape(-1, 2, 2), turn.size).reshape(-1, 4)
        landmarks = self._back(turn.points_back(landmarks), turn.size)
        owned = self.tile.owns((boxes[:, :2] + boxes[:, 2:]) / 2)
        return Finds(boxes, scores, landmarks).take(owned)

    def _back(self, points: Tensor, seen: tuple[int, int]) -> Tensor:
        """(..., 2) x, y of the reduced tile, (height, width) `seen`, in the picture."""
        ratio = points.new_tensor([self.tile.size[1] / seen[1], self.tile.size[0] / seen[0]])
        # Pixel centers lie at integers: half a pixel is added before scaling and taken off after.
        return self.tile.points_back((points + 0.5) * ratio - 0.5)


def _parts(size: tuple[int, int], options: DetectOptions) -> list[_Part]:
    """What is searched of a picture of (height, width): the whole, and tiles if more is asked."""
    ratio = reduction(size, options)
    smallest = (options.min_size or 0) / ratio or SMALLEST
    [whole] = tiles(size, max(size), 0)
    coarse = max(ratio, max(size) / _AT_ONCE)
    if coarse == ratio:
        return [_Part(whole, ratio, smallest)]
    side, shared = round(_AT_ONCE * ratio), round(_SHARED * SMALLEST * coarse)
    # Smaller faces are left to the tiles.
    parts = [_Part(whole, coarse, max(smallest * ratio / coarse, SMALLEST))]
    return parts + [
        _Part(tile, ratio, smallest) for tile in tiles(size, side, min(shared, side // 2))
    ]
