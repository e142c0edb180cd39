"""A film looked through once before anything is restored: its frames' times, its scenes, its faces.

So that a face's whole way is known when its first frame is restored: false faces that flicker up
are gone, gaps are closed, landmarks are smoothed without lag. It also makes every part of a film
independent of the others.
"""

from __future__ import annotations

import itertools
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..faces.detect import detect
from ..faces.found import Faces
from ..faces.select import kept_indices, sorted_indices
from ..faces.track import Track, match, tracks
from ..files import shown, write_json
from ..images.monochrome import Tone
from ..options import SelectOptions
from ..run import Run
from .film import Film
from .judge import Judge, Verdict
from .planes import Planes

# A scene ends where the colors of two frames in a row share less than this.
_SAME_SCENE = 0.55
_THUMBNAIL, _BINS = (64, 36), 16
# In eye distances: up to here faces between two frames are interpolated unseen, and how far they
# may then lie from where one in the middle is found.
_TRUSTED, _OFF_THE_LINE = 0.08, 0.05


# What is numbers and text already.
_PLAIN = ("times", "keys", "cuts", "kept", "looked", "last_duration", "rotation", "remarks")
_UNKNOWN = Verdict()


@dataclass(frozen=True)
class Survey:
    """What is known of a film once it has been looked through.

    Attributes:
        times: of the frames, in order, in units of the film's time base.
        keys: indices of the frames at which decoding can start.
        cuts: indices of first frames of scenes, without the first.
        tracks: the faces, followed.
        kept: numbers of the tracks to restore.
        tones: (index, tone) of the frames looked at, ascending.
        looked: how many frames were searched for faces.
        last_duration: of the last frame.
        rotation: degrees counterclockwise by which frames are shown.
        remarks: a sentence each.
        verdicts: on the tracks, by number.
    """

    times: list[int]
    keys: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    tones: list[tuple[int, Tone | None]] = field(default_factory=list)
    looked: int = 0
    last_duration: int = 0
    rotation: int = 0
    remarks: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    def verdict(self, track: Track) -> Verdict:
        """What was decided on a track."""
        return self.verdicts[track.number] if self.verdicts else _UNKNOWN

    def faces_of(self, frame: int, size: tuple[int, int]) -> Faces:
        """The faces to restore of one frame of this (height, width), with their tracks."""
        here = self._here(frame)
        faces = Faces.empty([size], [self._tone(frame)])
        if not here:
            return faces
        at = [frame - one.first for one in here]
        pairs = list(zip(here, at, strict=True))
        return faces.with_(
            boxes=torch.stack([one.boxes[i] for one, i in pairs]),
            scores=torch.stack([one.scores[i] for one, i in pairs]),
            landmarks=torch.stack([one.landmarks[i] for one, i in pairs]),
            source=torch.zeros(len(here), dtype=torch.int64),
            tracks=torch.tensor([one.number for one in here]),
            quality=self._quality(here),
        )

    def _quality(self, here: Sequence[Track]) -> Tensor | None:
        """(N,) of some tracks; None unless it is known of all."""
        known = [self.verdict(one).quality for one in here]
        return None if None in known else torch.tensor(known)

    def has_faces(self, frame: int) -> bool:
        """Whether a face is to be restored in a frame."""
        return bool(self._here(frame))

    def _here(self, frame: int) -> list[Track]:
        return [one for one in self._chosen if one.first <= frame <= one.last]

    @cached_property
    def _chosen(self) -> list[Track]:
        kept = set(self.kept)
        return [one for one in self.tracks if one.number in kept]

    def _tone(self, frame: int) -> Tone | None:
        """Of the frame before it that was looked at; a film in one tone is so throughout."""
        place = bisect_right(self.tones, frame, key=lambda one: one[0])
        return self.tones[place - 1][1] if place else None

    def save(self, path: Path) -> None:
        """As JSON, exactly."""
        content = {name: getattr(self, name) for name in _PLAIN}
        content["tracks"] = [
            {
                "number": one.number,
                "first": one.first,
                "seen": one.seen,
                **{name: getattr(one, name).tolist() for name in ("boxes", "scores", "landmarks")},
            }
            for one in self.tracks
        ]
        content["verdicts"] = [asdict(one) for one in self.verdicts]
        content["tones"] = [
            [index, None if tone is None else {"curve": _listed(tone.curve)}]
            for index, tone in self.tones
        ]
        write_json(path, content, overwrite=True)

    @classmethod
    def load(cls, path: Path) -> Survey:
        """What `save` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        content["tracks"] = [
            Track(
                number=one["number"],
                first=one["first"],
                seen=one["seen"],
                boxes=torch.tensor(one["boxes"]).view(-1, 4),
                scores=torch.tensor(one["scores"]),
                landmarks=torch.tensor(one["landmarks"]).view(-1, 5, 2),
            )
            for one in content["tracks"]
        ]
        content["verdicts"] = [Verdict(**one) for one in content["verdicts"]]
        content["tones"] = [
            (index, None if tone is None else Tone(_tensor(tone["curve"])))
            for index, tone in content["tones"]
        ]
        return cls(**content)


def _listed(values: Tensor | None) -> list[list[float]] | None:
    return None if values is None else values.tolist()


def _tensor(values: list[list[float]] | None) -> Tensor | None:
    return None if values is None else torch.tensor(values)


def survey(film: Film, run: Run) -> Survey:
    """Look a film through.

    Args:
        film: whose frames are decoded, all of them.
        run: whose detector looks for faces, and whose options say how often, how faces are followed
            and which of them are restored: sorted and kept as the faces of a picture are, by the
            middle of their way. Its hooks are told about the stage "survey".

    Raises:
        InputError: a film without a single frame.
    """
    options = run.options

    judge = Judge(run)

    def find(index: int, images: Tensor) -> Faces:
        faces = detect(images, run.detector, options.detect, run.hooks)
        judge.look(index, images, faces)
        return faces

    watch = _Watch(find, options.track.detect_every)
    times, keys, duration, corrupt, rotation = list[int](), list[int](), 0, 0, 0
    for index, frame in enumerate(film.frames()):
        assert frame.pts is not None
        times.append(frame.pts)
        duration = int(frame.duration or 0)
        corrupt += bool(frame.is_corrupt)
        rotation = frame.rotation
        if frame.key_frame:
            keys.append(index)
        watch.add(index, frame)
        run.hooks.progress("survey", index + 1, max(film.frames_said, index + 1))
    watch.finish()
    if not times:
        raise InputError(f"{shown(film.path)}: not a single frame can be decoded.")
    found = tracks(watch.seen, watch.cuts, float(film.rate), options.track)
    verdicts = [judge.verdict(one) for one in found]
    kept = _kept(found, options.select, watch.size)
    return Survey(
        times=times,
        keys=keys,
        cuts=watch.cuts,
        tracks=found,
        kept=[number for number in kept if verdicts[number].reason is None],
        verdicts=verdicts,
        tones=[(index, faces.tones[0]) for index, faces in sorted(watch.seen.items())],
        looked=len(watch.seen),
        last_duration=duration or (times[-1] - times[-2] if len(times) > 1 else 1),
        rotation=rotation,
        remarks=[f"{corrupt} frames are damaged in the film."] if corrupt else [],
    )


def _kept(found: Sequence[Track], select: SelectOptions, size: tuple[int, int]) -> list[int]:
    """Numbers of the tracks that `sort` and `keep` choose."""
    if not found:
        return []
    middles = [len(one.scores) // 2 for one in found]
    pairs = list(zip(found, middles, strict=True))
    faces = Faces.empty([size]).with_(
        boxes=torch.stack([one.boxes[i] for one, i in pairs]),
        scores=torch.tensor([one.score for one in found]),
        landmarks=torch.stack([one.landmarks[i] for one, i in pairs]),
        source=torch.zeros(len(found), dtype=torch.int64),
    )
    order = sorted_indices(faces, select.sort)
    return [order[place] for place in kept_indices(faces.take(order), select.keep)]


class _Watch:
    """Looks at every n-th frame, and at those between where that does not suffice.

    Attributes:
        seen: the faces of the frames looked at.
        cuts: indices of first frames of scenes.
        size: of the upright picture.
    """

    def __init__(self, find: Callable[[int, Tensor], Faces], every: int) -> None:
        self._find, self._every = find, every
        self._pending: list[tuple[int, av.VideoFrame]] = []
        self._colors: np.ndarray | None = None
        self.seen: dict[int, Faces] = {}
        self.cuts: list[int] = []
        self.size = (1, 1)

    def add(self, index: int, frame: av.VideoFrame) -> None:
        """The next frame."""
        colors = _colors(frame)
        if self._colors is not None and np.minimum(colors, self._colors).sum() < _SAME_SCENE:
            self.finish()
            self.cuts.append(index)
        self._colors = colors
        self._pending.append((index, frame))
        if len(self._pending) == 1 or len(self._pending) > self._every:
            self._settle()

    def finish(self) -> None:
        """No more frames, or none of this scene."""
        self._settle()
        self._pending = []

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


def _colors(frame: av.VideoFrame) -> np.ndarray:
    """A histogram of a small copy's colors, summing to 1."""
    small = frame.reformat(*_THUMBNAIL, "rgb24", interpolation="AREA", threads=1).to_ndarray()
    counts = [np.bincount(one.ravel() // (256 // _BINS), minlength=_BINS) for one in small.T]
    joined = np.concatenate(counts).astype(np.float64)
    return joined / joined.sum()


def times_between(times: Sequence[int], last_duration: int) -> Iterator[int]:
    """How long each frame is shown."""
    for time, following in itertools.pairwise(times):
        yield following - time
    yield last_duration
