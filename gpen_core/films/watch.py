"""Frames looked at while a film passes by: where scenes end, and where the faces are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import av
import numpy as np
import torch
from torch import Tensor

from ..faces.found import Faces
from ..faces.track import match
from ..images.scenes import SMALL, Cuts
from .planes import Planes

# In eye distances: up to here faces between two frames are interpolated unseen, and how far they
# may then lie from where one in the middle is found.
_TRUSTED, _OFF_THE_LINE = 0.08, 0.05
# Bytes of frames that wait until it is known which of them are looked at.
_MOST_WAITING = 128 << 20


class Watch:
    """Looks at every n-th frame, and at those between where that does not suffice.

    Args:
        find: the faces of a frame by its index, an image (1, 3, H, W) 0..1.
        every: n; smaller for frames so large that n of them would take too much memory.

    Attributes:
        every: n as it was used.
        seen: the faces of the frames looked at, by index.
        cuts: indices of first frames of scenes, without the first.
        size: (height, width) of the upright picture.

    Example:
        >>> watch = Watch(lambda index, image: Faces.empty([tuple(image.shape[-2:])]), every=5)
        >>> import numpy as np
        >>> for index in range(8):
        ...     gray = np.full((48, 64, 3), 90, np.uint8)
        ...     frame = av.VideoFrame.from_ndarray(gray, "rgb24")
        ...     watch.add(index, frame, small(frame))
        >>> watch.finish()
        >>> sorted(watch.seen), watch.cuts, watch.size
        ([0, 5, 7], [], (48, 64))
    """

    def __init__(self, find: Callable[[int, Tensor], Faces], every: int) -> None:
        self._find, self.every = find, every
        self._pending: list[tuple[int, av.VideoFrame]] = []
        self._scenes = Cuts()
        self.seen: dict[int, Faces] = {}
        self.cuts: list[int] = []
        self.size = (1, 1)

    def add(self, index: int, frame: av.VideoFrame, colors: np.ndarray) -> None:
        """The next frame, and its `small` copy."""
        if self._scenes.begins(colors):
            self.finish()
            self.cuts.append(index)
        self._pending.append((index, frame))
        bytes_each = sum(plane.buffer_size for plane in frame.planes)
        self.every = min(self.every, max(1, _MOST_WAITING // bytes_each))
        if len(self._pending) == 1 or len(self._pending) > self.every:
            self._settle()

    def finish(self) -> None:
        """No more frames, or none of this scene."""
        self._settle()
        self._pending = []

    def scenes(self) -> list[list[int]]:
        """The indices of the frames looked at, scene after scene."""
        starts = [*self.cuts, max(self.seen, default=-1) + 1]
        scenes, rest = [], sorted(self.seen)
        for stop in starts:
            scenes.append([index for index in rest if index < stop])
            rest = rest[len(scenes[-1]) :]
        return [scene for scene in scenes if scene]

    def _settle(self) -> None:
        """Look at the last of the pending frames, and in between as far as it takes."""
        if not self._pending:
            return
        self._look(len(self._pending) - 1)
        self._between(0, len(self._pending) - 1)
        self._pending = self._pending[-1:]

    def _look(self, place: int) -> Faces:
        index, frame = self._pending[place]
        if index not in self.seen:
            planes = Planes(frame)
            self.size = planes.size
            self.seen[index] = self._find(index, planes.rgb())
        return self.seen[index]

    def _between(self, first: int, last: int) -> None:
        if last - first < 2:
            return
        before, after = self._look(first), self._look(last)
        pairs = match(before.landmarks, after.landmarks, last - first)
        if _farthest(before, after, pairs) <= _TRUSTED:
            return
        middle = (first + last) // 2
        here = self._look(middle)
        share = (middle - first) / (last - first)
        if _off_the_line((before, here, after), pairs, share) <= _OFF_THE_LINE:
            return
        self._between(first, middle)
        self._between(middle, last)


def _farthest(before: Faces, after: Faces, pairs: Sequence[tuple[int, int]]) -> float:
    """How far the faces moved, in eye distances; infinite where one came or went."""
    if len(pairs) != len(before) or len(pairs) != len(after):
        return float("inf")
    return max((_distance(before.landmarks[i], after.landmarks[j]) for i, j in pairs), default=0.0)


def _off_the_line(
    three: tuple[Faces, Faces, Faces], pairs: Sequence[tuple[int, int]], share: float
) -> float:
    """How far the faces of the middle frame lie from the straight way, in eye distances."""
    before, here, after = three
    if not len(pairs) == len(before) == len(after) == len(here):
        return float("inf")
    if not pairs:
        return 0.0
    expected = torch.stack(
        [torch.lerp(before.landmarks[i], after.landmarks[j], share) for i, j in pairs]
    )
    found = match(expected, here.landmarks)
    if len(found) != len(pairs):
        return float("inf")
    return max(_distance(expected[i], here.landmarks[j]) for i, j in found)


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm(dim=-1).mean() / (one[1] - one[0]).norm().clamp(min=1e-3))


def small(frame: av.VideoFrame) -> np.ndarray:
    """A copy (36, 64, 3) uint8, which scenes are told apart by.

    Example:
        >>> small(av.VideoFrame(640, 480, "yuv420p")).shape
        (36, 64, 3)
    """
    return frame.reformat(*SMALL, "rgb24", interpolation="AREA", threads=1).to_ndarray()
