"""A film restored: looked through, its parts one after the other, and joined.

    survey -> for each part: decode -> align -> restore -> hold still -> paste -> encode -> join

A part is some hundred frames that depend on no other part, finished atomically in a folder beside
the result. What is there already is not done again, so a run that was ended in any way goes on
where it stood, and gives the bytes that an unbroken one gives.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from .. import __version__
from ..errors import InputError
from ..faces.align import estimate_similarity
from ..faces.detect import detect
from ..faces.found import Faces
from ..faces.paste import Surface
from ..faces.restore import at_once
from ..faces.steady import steadied
from ..faces.templates import template as template_points
from ..faces.warp import region_of
from ..files import replacing, shown, write_json
from ..hooks import Hooks
from ..options import FilmOptions
from ..run import Run
from .ahead import Behind, ahead
from .encoder import Encoding, Part, Timing
from .film import Film
from .join import Picture, check_format, join
from .planes import Box, Planes
from .survey import Survey, survey, times_between

log = logging.getLogger(__name__)

# Frames of a part: it ends at the first frame from `_SHORTEST` on at which decoding can start.
_SHORTEST, _LONGEST = 96, 240
# Pixels around a face's crop that are read too, for its interpolation.
_MARGIN = 8


@dataclass
class FilmReport:
    """What became of a film.

    Attributes:
        frames: how many the result has.
        size: (height, width) of the film, upright.
        touched: in how many of them a face was restored.
        survey: scenes and tracks.
        events: a sentence each.
    """

    frames: int = 0
    size: tuple[int, int] = (0, 0)
    touched: int = 0
    survey: Survey = field(default_factory=lambda: Survey([]))
    events: list[str] = field(default_factory=list)


def restore_film(
    source: Path,
    target: Path,
    run: Run,
    options: FilmOptions | None = None,
    hooks: Hooks | None = None,
) -> FilmReport:
    """Restore the faces of a film, file to file, in constant memory.

    Everything but the picture is copied packet for packet, every frame keeps its time, and frames
    without a face go to the encoder as they were decoded.

    Args:
        source: the film.
        target: written when all is done, atomically.
        run: networks and options; `run.hooks` are those of its steps.
        options: how faces are followed, and how the film is written.
        hooks: told about the stages "survey" and "film", in frames.

    Raises:
        GPENError: no film, or one that cannot be written in this format.

    Example:
        >>> import av, tempfile
        >>> from gpen_core.models.load import load_model
        >>> from gpen_core.run import Tools
        >>> from gpen_core.films.encoder import Encoding, Part
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     source, target = Path(folder, "film.mkv"), Path(folder, "restored.mkv")
        ...     frame = av.VideoFrame(64, 48)
        ...     with Part.writing(source, Encoding.choose("ffv1", "yuv420p"), frame) as part:
        ...         part.add(frame, 0)
        ...     restore_film(source, target, Run(Tools(load_model()))).frames
        1
    """
    options, hooks = options or FilmOptions(), hooks or run.hooks
    if run.options.paste.upscale != 1:
        raise InputError("Films are not enlarged; leave it at 1.", option="upscale")
    film = Film.open(source)
    encoding = Encoding.choose(
        film.codec, film.pixel_format, asked=options.codec, quality=options.quality
    )
    check_format(target, encoding.codec)
    report = FilmReport(events=list(encoding.remarks))
    for remark in encoding.remarks:
        hooks.event(remark)
    folder = target.with_name(f".{target.name}.gpen")
    with _Work.of(folder, _plan(film, encoding, run, options), hooks) as work:
        report.survey = work.survey(film, run, hooks)
        wanted = _wanted(film, report.survey, options)
        parts = _parts(report.survey, wanted)
        maker = _PartMaker(film, encoding, run, options, report.survey)
        done = 0
        for number, frames in enumerate(parts):
            maker.hooks, maker.done, maker.total = hooks, done, len(wanted)
            try:
                work.part(number, functools.partial(maker.make, frames))
            except KeyboardInterrupt:
                _save_what_is_done(film, work, parts[:number], report.survey, target)
                raise
            done += len(frames)
            hooks.progress("film", done, len(wanted))
        lying = report.survey.rotation % 180 != 0
        report.frames, report.size = len(wanted), film.size[::-1] if lying else film.size
        report.touched = sum(bool(len(report.survey.faces_of(i, (1, 1)))) for i in wanted)
        with replacing(target) as scratch:
            remarks = join(
                film, _picture(film, work, parts, report.survey), scratch, target.suffix.lower()
            )
        report.events += [*report.survey.remarks, *remarks]
        work.finish()
    return report


def _wanted(film: Film, known: Survey, options: FilmOptions) -> range:
    """Indices of the frames that the result has."""
    count, frames = len(known.times), options.frames
    if options.window is not None:
        return _in_window(film, known, options.window)
    if frames is None:
        return range(count)
    if frames[0] >= count:
        raise InputError(
            f"The film has {count} frames, 0 to {count - 1}; frame {frames[0]} is not one of them.",
            option="frames",
        )
    return range(frames[0], min(frames[1] + 1, count))


def _in_window(film: Film, known: Survey, window: tuple[float, float]) -> range:
    start, length = window
    times = [float(time * film.time_base) for time in known.times]
    # A hundredth of a frame is rounding.
    slack = 0.01 / float(film.rate)
    end = start + length if length else float("inf")
    inside = [i for i, time in enumerate(times) if start - slack <= time < end - slack]
    if not inside:
        raise InputError(
            f"{shown(film.path)}: no frame from {start:g} s on; the last is at {times[-1]:g} s."
        )
    return range(inside[0], inside[-1] + 1)


def _parts(known: Survey, wanted: range) -> list[range]:
    """The wanted frames in parts that start, if they can, where decoding can."""
    keys = set(known.keys)
    parts, start = [], wanted.start
    for index in wanted:
        length = index - start
        if length >= _LONGEST or (length >= _SHORTEST and index in keys):
            parts.append(range(start, index))
            start = index
    return [*parts, range(start, wanted.stop)]


def _picture(film: Film, work: _Work, parts: Sequence[range], known: Survey) -> Picture:
    durations = list(times_between(known.times, known.last_duration))
    indices = [index for part in parts for index in part]
    first, last = indices[0], indices[-1]
    whole = (first, last) == (0, len(known.times) - 1)
    end = known.times[last] + durations[last]
    return Picture(
        parts=[work.path(number) for number in range(len(parts))],
        times=[known.times[index] for index in indices],
        durations=[durations[index] for index in indices],
        rotation=known.rotation,
        window=None if whole else (known.times[first], end),
    )


def _save_what_is_done(
    film: Film, work: _Work, parts: Sequence[range], known: Survey, target: Path
) -> None:
    """A film of the parts that are finished, under a name that says so."""
    if not parts:
        return
    partial = target.with_name(f"{target.stem}_partial{target.suffix}")
    with replacing(partial) as scratch:
        join(film, _picture(film, work, parts, known), scratch, target.suffix.lower())
    log.warning("Stopped; what is done is in %s, the next run goes on from there.", shown(partial))


# --- the folder in which a film is made ----------------------------------------------------------


def _plan(film: Film, encoding: Encoding, run: Run, options: FilmOptions) -> dict[str, object]:
    """Everything that decides what the parts are; another plan needs other parts."""
    stat = film.path.stat()
    return {
        "version": __version__,
        "source": [film.path.name, stat.st_size, stat.st_mtime_ns],
        "encoding": asdict(encoding),
        "options": json.loads(json.dumps(asdict(run.options), default=str)),
        "film": json.loads(json.dumps(asdict(options), default=str)),
        "model": _fingerprint(run),
        "detector": run.detector.name,
    }


def _fingerprint(run: Run) -> str:
    """Of the model's weights: a few of each tensor."""
    digest = hashlib.sha256(json.dumps(run.model.info.lines()).encode())
    for name, value in run.model.network.state_dict().items():
        flat = value.detach().flatten()
        some = flat[:: max(1, len(flat) // 64)].float().cpu().numpy().tobytes()
        digest.update(name.encode() + some)
    return digest.hexdigest()


class _Work:
    """A folder of parts, kept until the film is finished."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    @contextmanager
    def of(cls, folder: Path, plan: dict[str, object], hooks: Hooks) -> Iterator[_Work]:
        """The parts made so far by the same plan; those of another are thrown away."""
        known = folder / "plan.json"
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{shown(folder)} is in the way of the film's parts; remove it.")
        if folder.exists():
            try:
                same = json.loads(known.read_text(encoding="utf-8")) == json.loads(json.dumps(plan))
            except (OSError, ValueError):
                same = False
            if not same:
                hooks.event("Parts made with other options or of another file are made anew.")
                shutil.rmtree(folder)
        if not folder.exists():
            folder.mkdir(parents=True)
            write_json(known, plan)
        yield cls(folder)

    def survey(self, film: Film, run: Run, hooks: Hooks) -> Survey:
        path = self.folder / "survey.json"
        if not path.exists():

            def find(images: Tensor) -> Faces:
                return detect(images, run.detector, run.options.detect, hooks)

            survey(film, find, run.options, hooks).save(path)
        return Survey.load(path)

    def path(self, number: int) -> Path:
        return self.folder / f"part-{number:05}.mkv"

    def part(self, number: int, make: Callable[[Path], None]) -> None:
        path = self.path(number)
        if path.exists():
            return
        with replacing(path) as scratch:
            make(scratch)

    def finish(self) -> None:
        shutil.rmtree(self.folder)


# --- a part --------------------------------------------------------------------------------------


@dataclass
class _Shot:
    """One frame under work: its planes, which part of it is needed, and its faces."""

    index: int
    planes: Planes
    box: Box | None
    faces: Faces


class _PartMaker:
    """Makes the frames of a part: what the network is to see in groups, the rest as it is."""

    def __init__(
        self, film: Film, encoding: Encoding, run: Run, options: FilmOptions, known: Survey
    ) -> None:
        self.film, self.encoding, self.run = film, encoding, run
        self.options, self.known = options, known
        self.hooks = Hooks()
        self.done, self.total = 0, 1

    def make(self, frames: range, path: Path) -> None:
        """Encode these frames into `path`."""
        radius = self.run.options.track.steadiness
        around = range(
            max(frames.start - radius, 0), min(frames.stop + radius, len(self.known.times))
        )
        timing = Timing(self.film.time_base, self.film.rate, self.film.sample_aspect)
        with closing(ahead(self._read(around))) as shots:
            restored = self._steadied(self._restored(shots), radius)
            first = next(shot for shot in restored if shot.index in frames)
            with (
                Part.writing(path, self.encoding, first.planes.frame, timing) as part,
                Behind.feeding(functools.partial(self._write, part)) as behind,
            ):
                behind.put(self._pasted(first))
                for number, shot in enumerate(restored, start=2):
                    if shot.index not in frames:
                        continue
                    behind.put(self._pasted(shot))
                    self.hooks.progress("film", self.done + number, self.total)

    def _write(self, part: Part, shot: _Shot) -> None:
        part.add(shot.planes.frame, self.known.times[shot.index])

    def _read(self, frames: range) -> Generator[_Shot]:
        """The frames, with the faces that the survey knows."""
        stored = self.film.frames_at(self.known.times[frames.start : frames.stop])
        with closing(stored):
            for index, frame in zip(frames, stored, strict=True):
                planes = Planes(frame)
                faces = self.known.faces_of(index, planes.size)
                box = self._region(faces, planes.size) if len(faces) else None
                yield _Shot(index, planes, box, faces if box is None else _shifted(faces, box))

    def _region(self, faces: Faces, size: tuple[int, int]) -> Box:
        """What the crops of some faces cover of a picture, with a margin."""
        side = self.run.model.input_size
        matrices = estimate_similarity(faces.landmarks, template_points(self.run.template, side))
        square = matrices.new_tensor([[0.0, 0.0, 1.0]]).expand(len(faces), 1, 3)
        back = torch.linalg.inv(torch.cat([matrices, square], 1))
        regions = [region_of(one, (side, side)) for one in back]
        height, width = size
        x0 = max(int(min(one[0] for one in regions)) - _MARGIN, 0)
        y0 = max(int(min(one[1] for one in regions)) - _MARGIN, 0)
        x1 = min(int(max(one[2] for one in regions)) + _MARGIN + 1, width)
        y1 = min(int(max(one[3] for one in regions)) + _MARGIN + 1, height)
        if x1 <= x0 or y1 <= y0:  # outside of the picture
            return (0, 0, width, height)
        return (x0, y0, x1, y1)

    def _restored(self, shots: Iterable[_Shot]) -> Iterator[_Shot]:
        """With restored faces; those of neighboring frames go through the network together."""
        group: list[_Shot] = []
        most = at_once(self.run.model, self.run.options.restore)
        waiting = 0
        for shot in shots:
            if len(shot.faces):
                images = shot.planes.rgb(shot.box)
                shot = replace(shot, faces=self.run.align(images, shot.faces))
            group.append(shot)
            waiting += len(shot.faces)
            if waiting >= most or (not waiting and len(group)):
                yield from self._together(group)
                group, waiting = [], 0
        yield from self._together(group)

    def _together(self, group: Sequence[_Shot]) -> Iterator[_Shot]:
        faces = Faces.concat([shot.faces for shot in group]) if group else None
        if faces is None or not len(faces):
            yield from group
            return
        restored = self.run.restore(faces)
        for place, shot in enumerate(group):
            yield replace(shot, faces=restored.of_images(slice(place, place + 1)))

    def _steadied(self, shots: Iterable[_Shot], radius: int) -> Iterator[_Shot]:
        """Each averaged with its neighbors in time."""
        window: deque[_Shot] = deque()
        center = 0
        for shot in shots:
            window.append(shot)
            if len(window) - center > radius:
                yield self._middle(window, center)
                center += 1
                if center > radius:
                    window.popleft()
                    center -= 1
        while center < len(window):
            yield self._middle(window, center)
            center += 1
            if center > radius:
                window.popleft()
                center -= 1

    def _middle(self, window: Sequence[_Shot], center: int) -> _Shot:
        shot = window[center]
        if not len(shot.faces):
            return shot
        return replace(shot, faces=steadied([one.faces for one in window], center))

    def _pasted(self, shot: _Shot) -> _Shot:
        """With the faces in the frame's own samples."""
        if len(shot.faces):
            before = shot.planes.rgb(shot.box)
            canvas = self.run.canvas(Surface(before))
            canvas.add(shot.faces, self.run.masks(shot.faces))
            shot.planes.add(before, canvas.images, canvas.mask, shot.box)
        return shot


def _shifted(faces: Faces, box: Box) -> Faces:
    """Faces of a picture as those of a part of it."""
    x0, y0, x1, y1 = box
    offset = torch.tensor([x0, y0], dtype=torch.float32)
    return faces.with_(
        boxes=faces.boxes - offset.repeat(2),
        landmarks=faces.landmarks - offset,
        image_sizes=((y1 - y0, x1 - x0),),
    )
