"""The same face from frame to frame: which of the faces found belong together, and where a face is
in the frames between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..options import SelectOptions, TrackOptions
from .found import Faces
from .select import kept_indices, sorted_indices
from .smooth import smooth_landmarks

# In eye distances: farther apart, two faces are not the same; and how much farther a frame.
_FARTHEST, _FARTHER_A_FRAME = 0.7, 0.1
# Eye distances that two faces count as farther apart when nothing is alike in them: one person's
# pictures differ by some 0.3 of that, two people's by some 0.9.
_OTHER_PERSON = 2.0
# Nor if one is so many times as large as the other.
_LARGEST_RATIO = 1.6


@dataclass(frozen=True)
class Track:
    """One face through T frames in a row.

    Attributes:
        number: unique among the tracks of a film, from 0 on by first frame.
        first: index of its first frame.
        boxes: (T, 4).
        scores: (T,).
        landmarks: (T, 5, 2).
        seen: in how many frames it was found, not followed.

    Example:
        >>> still = torch.zeros(5, 4), torch.ones(5), torch.zeros(5, 5, 2)
        >>> Track(0, 10, *still, seen=2).last
        14
    """

    number: int
    first: int
    boxes: Tensor
    scores: Tensor
    landmarks: Tensor
    seen: int

    @property
    def last(self) -> int:
        """Index of its last frame."""
        return self.first + len(self.scores) - 1

    @property
    def score(self) -> float:
        """The mean."""
        return float(self.scores.mean())


@dataclass
class _Growing:
    """A track while it is followed: where it was found."""

    frames: list[int] = field(default_factory=list)
    boxes: list[Tensor] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    landmarks: list[Tensor] = field(default_factory=list)
    vectors: list[Tensor] = field(default_factory=list)

    def add(self, frame: int, faces: Faces, index: int, vectors: Tensor | None) -> None:
        self.frames.append(frame)
        self.boxes.append(faces.boxes[index].cpu())
        self.scores.append(float(faces.scores[index]))
        self.landmarks.append(faces.landmarks[index].cpu())
        if vectors is not None:
            self.vectors.append(vectors[index])

    def expected(self, frame: int) -> Tensor:
        """(5, 2): where it would be if it went on as before."""
        if len(self.frames) < 2:
            return self.landmarks[-1]
        passed = self.frames[-1] - self.frames[-2]
        moved = (self.landmarks[-1] - self.landmarks[-2]).mean(0) / passed
        # Not on and on: a face that is lost has rather stopped than left.
        return self.landmarks[-1] + moved * min(frame - self.frames[-1], passed)


def match(
    before: Tensor, after: Tensor, frames: int = 1, alike: Tensor | None = None
) -> list[tuple[int, int]]:
    """Which faces of one frame are which of another.

    The nearest pair first, by the mean distance of their landmarks in eye distances, as long as
    neither that nor the difference in size is too large. Of faces near enough, one that shows the
    same person counts as nearer.

    Args:
        before: (N, 5, 2) landmarks.
        after: (M, 5, 2).
        frames: how far apart.
        alike: (N, M) -1..1, how much each shows the same person as each; None where nobody knows.

    Returns:
        Pairs of indices.

    Example:
        >>> one = torch.tensor([[[0.0, 0], [10, 0], [5, 5], [2, 10], [8, 10]]])
        >>> match(torch.cat([one, one + 50]), torch.cat([one + 51, one + 200]))
        [(1, 0)]
    """
    if not len(before) or not len(after):
        return []
    sizes = [(one[:, 1] - one[:, 0]).norm(dim=-1).clamp(min=1e-3) for one in (before, after)]
    unit = torch.minimum(sizes[0][:, None], sizes[1][None])
    ratio = torch.maximum(sizes[0][:, None], sizes[1][None]) / unit
    distance = (before[:, None] - after[None]).norm(dim=-1).mean(-1) / unit
    allowed = (ratio < _LARGEST_RATIO) & (distance < _FARTHEST + _FARTHER_A_FRAME * frames)
    if alike is not None:
        distance = distance + _OTHER_PERSON * (1 - alike)
    pairs: list[tuple[int, int]] = []
    for place in distance.flatten().argsort().tolist():
        i, j = divmod(place, len(after))
        taken = any(i == a or j == b for a, b in pairs)
        if allowed[i, j] and not taken:
            pairs.append((i, j))
    return pairs


def tracks(
    seen: Mapping[int, Faces],
    cuts: Sequence[int],
    rate: float,
    options: TrackOptions | None = None,
    vectors: Mapping[int, Tensor] | None = None,
) -> list[Track]:
    """The faces of a film, followed.

    A track ends at a cut and where its face is lost for more than `options.gap` frames; in between
    it is interpolated. What is there for fewer than `options.shortest` frames is left out.

    Args:
        seen: the faces of each frame that was looked at, by its index.
        cuts: indices of first frames of scenes.
        rate: frames a second.
        options: how.
        vectors: whom the faces of a frame show, (N, D) unit vectors from `embed`, where known, so
            that people who cross keep their numbers.

    Example:
        >>> points = torch.tensor([[[8.0, 8], [24, 8], [16, 16], [10, 24], [22, 24]]])
        >>> def face(x):
        ...     box, zero = torch.tensor([[x, 0.0, x + 32, 32]]), torch.zeros(1, dtype=torch.int64)
        ...     return Faces(box, torch.ones(1), points + x, zero, ((99, 99),))
        >>> (one,) = tracks({0: face(0.0), 5: face(10.0)}, [], 25.0, TrackOptions(smoothing=0))
        >>> one.first, one.last, one.boxes[2].tolist()
        (0, 5, [4.0, 0.0, 36.0, 32.0])
    """
    options = options or TrackOptions()
    growing: list[_Growing] = []
    finished: list[_Growing] = []
    ends = sorted(cuts)
    for frame in sorted(seen):
        while ends and ends[0] <= frame:
            finished, growing = finished + growing, []
            ends.pop(0)
        lost = [one for one in growing if frame - one.frames[-1] > options.gap + 1]
        finished += lost
        growing = [one for one in growing if one not in lost]
        growing = _grown(growing, frame, seen[frame], (vectors or {}).get(frame))
    kept = [
        track
        for one in finished + growing
        if len((track := _between(one)).scores) >= options.shortest
    ]
    kept.sort(key=lambda one: (one.first, one.boxes[0].tolist()))
    return [
        replace(
            one,
            number=number,
            landmarks=smooth_landmarks(one.landmarks, rate, options.smoothing),
        )
        for number, one in enumerate(kept)
    ]


def _grown(
    growing: list[_Growing], frame: int, faces: Faces, vectors: Tensor | None
) -> list[_Growing]:
    """The tracks with the faces of one more frame, new ones behind."""
    found = faces.landmarks.cpu()
    expected = [one.expected(frame) for one in growing]
    before = torch.stack(expected) if expected else found[:0]
    apart = min((frame - one.frames[-1] for one in growing), default=1)
    pairs = match(before, found, apart, _alike(growing, vectors))
    for i, j in pairs:
        growing[i].add(frame, faces, j, vectors)
    taken = {j for _, j in pairs}
    for j in range(len(faces)):
        if j not in taken:
            growing.append(_Growing())
            growing[-1].add(frame, faces, j, vectors)
    return growing


def _alike(growing: Sequence[_Growing], vectors: Tensor | None) -> Tensor | None:
    """(N, M) cosines of all that a track has shown with each face; None unless all are known."""
    if vectors is None or not growing or not all(one.vectors for one in growing):
        return None
    shown = torch.stack([torch.stack(one.vectors).sum(0) for one in growing])
    return normalize(shown, dim=1) @ vectors.T


def _between(one: _Growing) -> Track:
    """A track with every frame from its first to its last, interpolated where it was not found."""
    known = torch.tensor(one.frames, dtype=torch.float64)
    frames = torch.arange(one.frames[0], one.frames[-1] + 1, dtype=torch.float64)
    after = torch.searchsorted(known, frames).clamp(max=len(known) - 1)
    before = torch.where(known[after] > frames, after - 1, after)
    span = (known[after] - known[before]).clamp(min=1)
    share = ((frames - known[before]) / span).float()

    def spread(values: Tensor) -> Tensor:
        shape = (-1, *[1] * (values.ndim - 1))
        return torch.lerp(values[before], values[after], share.view(shape))

    return Track(
        number=0,
        first=one.frames[0],
        boxes=spread(torch.stack(one.boxes)),
        scores=spread(torch.tensor(one.scores)),
        landmarks=spread(torch.stack(one.landmarks)),
        seen=len(one.frames),
    )


def chosen_tracks(
    found: Sequence[Track], options: SelectOptions, size: tuple[int, int]
) -> tuple[list[Track], list[int]]:
    """Tracks in the order of `options.sort`, numbered by it, and the numbers that are kept.

    A face is looked at in the middle of its way, with its mean score.

    Args:
        found: from `tracks`.
        options: `sort` and `keep`, as for the faces of a picture.
        size: (height, width) of the frames.

    Example:
        >>> still = torch.tensor([[[0.0, 0, 9, 9]], [[0.0, 0, 19, 19]]])
        >>> ways = [Track(n, 0, still[n], torch.ones(1), torch.zeros(1, 5, 2), 1) for n in (0, 1)]
        >>> ordered, kept = chosen_tracks(ways, SelectOptions(keep="largest"), (48, 64))
        >>> [float(one.boxes[0, 2]) for one in ordered], kept
        ([19.0, 9.0], [0])
    """
    if not found:
        return [], []
    middles = [len(one.scores) // 2 for one in found]
    pairs = list(zip(found, middles, strict=True))
    faces = Faces.empty([size]).with_(
        boxes=torch.stack([one.boxes[i] for one, i in pairs]),
        scores=torch.tensor([one.score for one in found]),
        landmarks=torch.stack([one.landmarks[i] for one, i in pairs]),
        source=torch.zeros(len(found), dtype=torch.int64),
    )
    order = sorted_indices(faces, options.sort)
    ordered = [replace(found[place], number=number) for number, place in enumerate(order)]
    return ordered, kept_indices(faces.take(order), options.keep)


def faces_at(frame: int, here: Sequence[Track], like: Faces) -> Faces:
    """The faces of some tracks in one frame, with everything else as in `like`.

    Example:
        >>> still = torch.zeros(5, 4), torch.ones(5), torch.zeros(5, 5, 2)
        >>> faces_at(12, [Track(3, 10, *still, seen=2)], Faces.empty([(48, 64)])).tracks
        tensor([3])
    """
    there = [(one, frame - one.first) for one in here if one.first <= frame <= one.last]
    if not there:
        return like
    return like.with_(
        boxes=torch.stack([one.boxes[i] for one, i in there]),
        scores=torch.stack([one.scores[i] for one, i in there]),
        landmarks=torch.stack([one.landmarks[i] for one, i in there]),
        source=torch.zeros(len(there), dtype=torch.int64),
        tracks=torch.tensor([one.number for one, _ in there]),
    )


def followed(faces: Faces, tracked: Sequence[Track]) -> Faces:
    """The faces of a batch of frames as their tracks have them: no gaps, no tremor.

    Args:
        faces: of the batch, as they were found; sizes, tones and fades of its frames.
        tracked: of these frames; those to keep.

    Example:
        >>> still = torch.zeros(3, 4), torch.ones(3), torch.zeros(3, 5, 2)
        >>> filled = followed(Faces.empty([(48, 64)] * 4), [Track(0, 1, *still, seen=2)])
        >>> filled.source.tolist(), filled.tracks.tolist()
        ([1, 2, 3], [0, 0, 0])
    """
    # What is known of single faces is not known of those between them.
    unknown = dict.fromkeys(("matrices", "crops", "restored", "alpha", "holes"))
    unknown |= dict.fromkeys(("person", "quality", "strengths", "identity"))
    nobody = faces.take([]).with_(tracks=torch.zeros(0, dtype=torch.int64), **unknown)
    frames = range(len(faces.image_sizes))
    return Faces.concat([faces_at(i, tracked, nobody.of_images(slice(i, i + 1))) for i in frames])
