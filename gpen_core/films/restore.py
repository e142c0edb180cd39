"""A film restored: looked through, its parts one after the other, and joined.

    survey -> for each part: decode -> align -> restore -> hold still -> paste -> encode -> join

A part is some hundred frames that depend on no other part, finished atomically in a folder beside
the result. What is there already is not done again, so a run that was ended in any way goes on
where it stood, and gives the bytes that an unbroken one gives.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import logging
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch

from .. import __version__
from ..errors import InputError
from ..faces.align import estimate_similarity
from ..faces.found import Faces
from ..faces.paste import Surface
from ..faces.restore import at_once
from ..faces.steady import steadied
from ..faces.templates import template as template_points
from ..faces.warp import region_of, square
from ..files import make_folder, replacing, shown, write_json
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
) -> FilmReport:
    """Restore the faces of a film, file to file, in constant memory.

    Everything but the picture is copied packet for packet, every frame keeps its time, and frames
    without a face go to the encoder as they were decoded.

    Args:
        source: the film.
        target: written when all is done, atomically.
        run: networks and options; its hooks are told about the stages "survey" and "film" too, in
            frames.
        options: how the film is written.

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
    options = options or FilmOptions()
    if run.options.paste.upscale != 1:
        raise InputError("Films are not enlarged; leave it at 1.", option="upscale")
    film = Film.open(source)
    encoding = Encoding.choose(
        film.codec, film.pixel_format, asked=options.codec, quality=options.quality
    )
    check_format(target, encoding.codec)
    report = FilmReport(events=list(encoding.remarks))
    for remark in encoding.remarks:
        run.hooks.event(remark)
    work = _Work(target.with_name(f".{target.name}.gpen"))
    work.prepare(_plan(film, encoding, run, options), run.hooks)
    known = report.survey = work.survey(film, run)
    wanted = _wanted(film, known, options)
    parts = _parts(known, wanted)
    maker = _PartMaker(film, encoding, run, known, wanted)
    for number, frames in enumerate(parts):
        try:
            work.part(number, functools.partial(maker.make, frames))
        except KeyboardInterrupt:
            _save_what_is_done(film, work, parts[:number], known, target)
            raise
        run.hooks.progress("film", frames.stop - wanted.start, len(wanted))
    lying = known.rotation % 180 != 0
    report.frames, report.size = len(wanted), film.size[::-1] if lying else film.size
    report.touched = sum(map(known.has_faces, wanted))
    remarks = _join(film, work, parts, known, target)
    report.events += [*known.remarks, *remarks]
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


def _join(
    film: Film, work: _Work, parts: Sequence[range], known: Survey, target: Path
) -> list[str]:
    """Write the film of these parts; what its format could not take."""
    durations = list(times_between(known.times, known.last_duration))
    indices = [index for part in parts for index in part]
    first, last = indices[0], indices[-1]
    whole = (first, last) == (0, len(known.times) - 1)
    end = known.times[last] + durations[last]
    picture = Picture(
        parts=[work.path(number) for number in range(len(parts))],
        times=[known.times[index] for index in indices],
        durations=[durations[index] for index in indices],
        rotation=known.rotation,
        window=None if whole else (known.times[first], end),
    )
    with replacing(target) as scratch:
        return join(film, picture, scratch, target.suffix.lower())


def _save_what_is_done(
    film: Film, work: _Work, parts: Sequence[range], known: Survey, target: Path
) -> None:
    """A film of the parts that are finished, under a name that says so."""
    if not parts:
        return
    partial = target.with_name(f"{target.stem}_partial{target.suffix}")
    _join(film, work, parts, known, partial)
    log.warning("Stopped; what is done is in %s, the next run goes on from there.", shown(partial))


# --- the folder in which a film is made ----------------------------------------------------------


def _plan(film: Film, encoding: Encoding, run: Run, options: FilmOptions) -> dict[str, object]:
    """Everything that decides what the parts are; another plan needs other parts."""
    stat = film.path.stat()
    plan = {
        "version": __version__,
        "source": [film.path.name, stat.st_size, stat.st_mtime_ns],
        "encoding": asdict(encoding),
        "options": asdict(run.options),
        "film": asdict(options),
        "model": _fingerprint(run),
        "detector": run.detector.name,
    }
    # As it is read back, to be compared with what is there.
    found: dict[str, object] = json.loads(json.dumps(plan, default=str))
    return found


def _fingerprint(run: Run) -> str:
    """Of the model's weights: a few of each tensor."""
    digest = hashlib.sha256(json.dumps(run.model.info.lines()).encode())
    for name, value in run.model.network.state_dict().items():
        flat = value.detach().flatten()
        some = flat[:: max(1, len(flat) // 64)].float().cpu().numpy().tobytes()
        digest.update(name.encode() + some)
    return digest.hexdigest()


_PLAN = "plan.json"


class _Work:
    """A folder of parts, kept until the film is finished."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self, plan: dict[str, object], hooks: Hooks) -> None:
        """Keep the parts made so far by the same plan; those of another are thrown away."""
        if self.folder.exists():
            if not self.folder.is_dir():
                raise InputError(
                    f"{shown(self.folder)} is in the way of the film's parts; remove it."
                )
            if self._plan() == plan:
                return
            hooks.event("Parts made with other options or of another file are made anew.")
            shutil.rmtree(self.folder)
        write_json(make_folder(self.folder) / _PLAN, plan)

    def _plan(self) -> object:
        """By which the parts were made, None where that cannot be read."""
        try:
            return json.loads((self.folder / _PLAN).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def survey(self, film: Film, run: Run) -> Survey:
        path = self.folder / "survey.json"
        if not path.exists():
            survey(film, run).save(path)
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
        self, film: Film, encoding: Encoding, run: Run, known: Survey, wanted: range
    ) -> None:
        self.film, self.encoding, self.run = film, encoding, run
        self.known, self.wanted = known, wanted

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
                for shot in itertools.chain([first], restored):
                    if shot.index in frames:
                        behind.put(self._pasted(shot))
                        done = shot.index - self.wanted.start + 1
                        self.run.hooks.progress("film", done, len(self.wanted))

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
        regions = [region_of(torch.linalg.inv(square(one)), (side, side)) for one in matrices]
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
        most, waiting = at_once(self.run.model, self.run.options.restore), 0
        for shot in shots:
            if len(shot.faces):
                images = shot.planes.rgb(shot.box)
                shot = replace(shot, faces=self.run.align(images, shot.faces))
            group.append(shot)
            waiting += len(shot.faces)
            if waiting >= most or not waiting:
                yield from self._together(group)
                group, waiting = [], 0
        yield from self._together(group)

    def _together(self, group: Sequence[_Shot]) -> Iterator[_Shot]:
        if not any(len(shot.faces) for shot in group):
            yield from group
            return
        restored = self.run.restore(Faces.concat([shot.faces for shot in group]))
        restored = self.run.look(restored)
        for place, shot in enumerate(group):
            yield replace(shot, faces=restored.of_images(slice(place, place + 1)))

    def _steadied(self, shots: Iterable[_Shot], radius: int) -> Iterator[_Shot]:
        """Each averaged with its neighbors in time."""
        window: deque[_Shot | None] = deque(maxlen=2 * radius + 1)
        for shot in itertools.chain(shots, itertools.repeat(None, radius)):
            window.append(shot)
            center = len(window) - 1 - radius
            middle = window[center] if center >= 0 else None
            if middle is None:  # the first frames are not there yet
                continue
            if len(middle.faces):
                around = [one.faces for one in window if one is not None]
                middle = replace(middle, faces=steadied(around, center))
            yield middle

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
