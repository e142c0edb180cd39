"""A film looked through once before anything is restored: its frames' times, its scenes, its faces.

So that a face's whole way is known when its first frame is restored: false faces that flicker up
are gone, gaps are closed, landmarks are smoothed without lag. It also makes every part of a film
independent of the others.
"""

from __future__ import annotations

import itertools
import json
import statistics
from bisect import bisect_right
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
import torch
from torch import Tensor

from ..faces.detect import detect
from ..faces.found import Faces
from ..faces.track import Track, chosen_tracks, faces_at, tracks
from ..files import write_json
from ..images.fade import Fade
from ..images.monochrome import Tone
from ..memory.process import return_freed_memory
from ..run import Run
from .ahead import ahead
from .film import time_of
from .judge import Judge, Verdict
from .section import Section
from .watch import Watch, small

# What is numbers and text already.
_PLAIN = (
    "times",
    "passed",
    "whole",
    "keys",
    "cuts",
    "kept",
    "looked",
    "last_duration",
    "rotation",
    "remarks",
)
_UNKNOWN = Verdict()
# Frames decoded ahead of those that are looked at; of huge ones a single one.
_WAITING = 4

T = TypeVar("T")


@dataclass(frozen=True)
class Scene:
    """A scene: what its pictures have in common.

    Attributes:
        first: index of its first frame.
        tone: of the scene, None where it has colors.
        fade: of the scene, None where it is not faded.
    """

    first: int
    tone: Tone | None = None
    fade: Fade | None = None


@dataclass(frozen=True)
class Survey:
    """What is known of the wanted frames of a film once they have been looked through.

    Indices count these frames, from 0.

    Attributes:
        times: of the frames, in order, in units of the film's time base.
        passed: how many frames of the film come before them, as far as they were counted.
        whole: whether they are all that the film has.
        keys: indices of the frames at which decoding can start.
        cuts: indices of first frames of scenes, without the first.
        tracks: the faces, followed, in the order in which `keep` counts them.
        kept: numbers of the tracks to restore.
        scenes: in order.
        looked: how many frames were searched for faces.
        last_duration: of the last frame.
        rotation: degrees counterclockwise by which frames are shown.
        remarks: a sentence each.
        verdicts: on the tracks, by number.

    Example:
        >>> Survey([0, 40, 80]).has_faces(1)
        False
    """

    times: list[int]
    passed: int = 0
    whole: bool = True
    keys: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    scenes: list[Scene] = field(default_factory=list)
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
        scene = self._scene(frame)
        faces = Faces.empty([size], [scene.tone]).with_(fades=(scene.fade,))
        return self._with_quality(faces_at(frame, self._chosen, faces))

    def _with_quality(self, faces: Faces) -> Faces:
        """That of their tracks; none unless it is known of all."""
        numbers = [] if faces.tracks is None else faces.tracks.tolist()
        known = [self.verdicts[number].quality for number in numbers if self.verdicts]
        if not known or None in known:
            return faces
        return faces.with_(quality=torch.tensor(known))

    def has_faces(self, frame: int) -> bool:
        """Whether a face is to be restored in a frame."""
        return any(one.first <= frame <= one.last for one in self._chosen)

    @cached_property
    def _chosen(self) -> list[Track]:
        kept = set(self.kept)
        return [one for one in self.tracks if one.number in kept]

    def _scene(self, frame: int) -> Scene:
        place = bisect_right(self.scenes, frame, key=lambda one: one.first)
        return self.scenes[place - 1] if place else Scene(0)

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
        content["scenes"] = [
            {
                "first": one.first,
                "tone": None if one.tone is None else {"curve": _listed(one.tone.curve)},
                "fade": None if one.fade is None else asdict(one.fade),
            }
            for one in self.scenes
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
        content["scenes"] = [
            Scene(
                one["first"],
                None if one["tone"] is None else Tone(_tensor(one["tone"]["curve"])),
                None if one["fade"] is None else Fade(**one["fade"]),
            )
            for one in content["scenes"]
        ]
        return cls(**content)


def _listed(values: Tensor | None) -> list[list[float]] | None:
    return None if values is None else values.tolist()


def _tensor(values: list[list[float]] | None) -> Tensor | None:
    return None if values is None else torch.tensor(values)


def survey(section: Section, run: Run) -> Survey:
    """Look through the wanted frames of a film.

    Args:
        section: they are decoded, all of them.
        run: whose detector looks for faces, and whose options say how often, how faces are followed
            and which of them are restored: sorted and kept as the faces of a picture are, by the
            middle of their way. Its hooks are told about the stage "survey".

    Raises:
        InputError: there is no such frame.
    """
    options, film = run.options, section.film

    judge = Judge(run)

    def find(index: int, images: Tensor) -> Faces:
        faces = detect(images, run.detector, options.detect, run.hooks)
        judge.look(index, images, faces)
        return faces

    watch = Watch(find, options.track.detect_every)
    times, keys, kinds, rotation = list[int](), list[int](), Counter[str](), 0
    duration = 0
    waiting = 1 if film.is_huge else _WAITING
    with closing(ahead(_with_colors(section), waiting)) as frames:
        for index, (frame, colors) in enumerate(frames):
            times.append(time_of(frame))
            duration, rotation = int(frame.duration or 0), frame.rotation
            kinds.update(corrupt=frame.is_corrupt, interlaced=frame.interlaced_frame)
            if frame.key_frame:
                keys.append(index)
            watch.add(index, frame, colors)
            if film.is_huge:
                return_freed_memory()
            run.hooks.progress("survey", index + 1, max(section.expected, index + 1))
    watch.finish()
    found = tracks(watch.seen, watch.cuts, float(film.rate), options.track, judge.vectors)
    found, kept = chosen_tracks(found, options.select, watch.size)
    verdicts = [judge.verdict(one) for one in found]
    if section.end is not None:
        duration = section.end - times[-1]
    return Survey(
        times=times,
        passed=section.passed,
        whole=section.is_whole,
        keys=keys,
        cuts=watch.cuts,
        tracks=found,
        kept=[number for number in kept if verdicts[number].reason is None],
        verdicts=verdicts,
        scenes=_scenes(watch),
        looked=len(watch.seen),
        last_duration=duration or (times[-1] - times[-2] if len(times) > 1 else 1),
        rotation=rotation,
        remarks=[*_remarks(kinds, len(times)), *_looked_at(watch, options.track.detect_every)],
    )


def _with_colors(section: Section) -> Generator[tuple[av.VideoFrame, np.ndarray]]:
    """The wanted frames, each with the small copy that scenes are told apart by."""
    with closing(section.frames()) as frames:
        for frame in frames:
            yield frame, small(frame)


def _remarks(kinds: Counter[str], frames: int) -> list[str]:
    remarks = []
    if kinds["corrupt"]:
        remarks.append(f"{kinds['corrupt']} of {frames} frames are damaged in the film.")
    if kinds["interlaced"]:
        remarks.append("The film is interlaced; faces in motion come out better deinterlaced.")
    return remarks


def _looked_at(watch: Watch, asked: int) -> list[str]:
    if watch.every == asked:
        return []
    return [f"Faces were looked for in every {watch.every} frames: more would not fit in memory."]


def _scenes(watch: Watch) -> list[Scene]:
    """What most frames of each scene have, so that nothing flickers."""
    scenes = []
    for first, scene in zip([0, *watch.cuts], watch.scenes(), strict=True):
        faces = [watch.seen[index] for index in scene]
        tone = _most([one.tones[0] for one in faces])
        fade = _most([one.fades[0] for one in faces])
        if fade is not None:
            fades = [one.fades[0] for one in faces if one.fades[0] is not None]
            fade = Fade(
                statistics.median(one.low for one in fades),
                statistics.median(one.high for one in fades),
            )
        scenes.append(Scene(first, tone, fade))
    return scenes


def _most(values: Sequence[T | None]) -> T | None:
    """None if most are; else the one in the middle of the others."""
    given = [one for one in values if one is not None]
    return given[len(given) // 2] if 2 * len(given) > len(values) else None


def times_between(times: Sequence[int], last_duration: int) -> Iterator[int]:
    """How long each frame is shown."""
    for time, following in itertools.pairwise(times):
        yield following - time
    yield last_duration
