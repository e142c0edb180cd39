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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import filelock

from .. import __version__
from ..errors import InputError
from ..faces.embed import origin_of
from ..faces.person import Wanted
from ..files import locked, make_folder, shown, write_json
from ..hooks import Hooks
from ..options import FilmOptions
from ..run import Run
from .film import Film
from .output import FilmOutput, FrameOutput, Output
from .part import PartMaker
from .samples import with_samples
from .section import Section
from .survey import Survey, survey

log = logging.getLogger(__name__)

# Frames of a part: it ends at the first frame from `_SHORTEST` on at which decoding can start.
_SHORTEST, _LONGEST = 96, 240


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
        target: written when all is done, atomically; a folder where `every_frame_as` asks for
            pictures.
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
    if run.options.purpose != "restore":
        raise InputError(f"Films can only be restored; {run.options.purpose} works on pictures.")
    run.check_task()
    if run.options.paste.upscale != 1:
        raise InputError("Films are not enlarged; leave it at 1.", option="upscale")
    film = Film.open(source)
    if target.exists() and target.samefile(source):
        raise InputError(f"{shown(target)} is the film itself; name another file.")
    output = _output(film, options, target)
    report = FilmReport(events=list(output.remarks))
    for remark in report.events:
        run.hooks.event(remark)
    with _Work.on(target, output.suffix) as work:
        work.prepare(_plan(film, output, run, options), run.hooks)
        known = report.survey = work.survey(Section(film, options), run)
        parts = _parts(known)
        maker = PartMaker(film, output, _without_identity(run), known)
        for number, frames in enumerate(parts):
            try:
                work.part(number, functools.partial(maker.make, frames))
            except KeyboardInterrupt:
                _say_what_is_done(output, work.paths(number), frames.start, known, target)
                raise
            run.hooks.progress("film", frames.stop, len(known.times))
        report.frames = len(known.times)
        lying = known.rotation % 180 != 0
        report.size = film.size[::-1] if lying else film.size
        report.touched = sum(map(known.has_faces, range(report.frames)))
        remarks = output.join(work.paths(len(parts)), report.frames, known, target)
        report.events += [*known.remarks, *remarks]
        work.finish()
    return report


def _without_identity(run: Run) -> Run:
    """The run for the frames: the identity of each track was compared before."""
    if run.options.gate.resolved.identity is None:
        return run
    gate = replace(run.options.gate.resolved, identity=None)
    tools = replace(run.tools, detector=run.detector)
    return Run(tools, replace(run.options, gate=gate), run.hooks)


def _output(film: Film, options: FilmOptions, target: Path) -> Output:
    if options.every_frame_as is None:
        return FilmOutput(film, options, target)
    return FrameOutput(film, options, target)


def _parts(known: Survey) -> list[range]:
    """The frames in parts that start, if they can, where decoding can."""
    keys, count = set(known.keys), len(known.times)
    parts, start = [], 0
    for index in range(count):
        length = index - start
        if length >= _LONGEST or (length >= _SHORTEST and index in keys):
            parts.append(range(start, index))
            start = index
    return [*parts, range(start, count)]


def _say_what_is_done(
    output: Output, parts: Sequence[Path], count: int, known: Survey, target: Path
) -> None:
    if parts:
        where = output.so_far(parts, count, known, target)
        log.warning("Stopped; what is done is in %s, the next run goes on.", shown(where))


# --- the folder in which a film is made ----------------------------------------------------------


def _plan(film: Film, output: Output, run: Run, options: FilmOptions) -> dict[str, object]:
    """Everything that decides what the parts are; another plan needs other parts."""
    stat = film.path.stat()
    plan = {
        "version": __version__,
        "source": [film.path.name, stat.st_size, stat.st_mtime_ns],
        "output": output.plan(),
        "options": asdict(run.options),
        "film": asdict(options),
        "model": _fingerprint(run),
        "detector": run.detector.name,
        "wanted": _listed(run.tools.wanted),
        "embedder": str(origin_of(run.tools.embedder)),
    }
    # As it is read back, to be compared with what is there.
    found: dict[str, object] = json.loads(json.dumps(plan, default=str))
    return found


def _listed(wanted: Wanted | None) -> list[Any]:
    """Who is looked for, as numbers."""
    vectors = (None, None) if wanted is None else (wanted.person, wanted.others)
    return [None if one is None else one.tolist() for one in vectors]


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

    def __init__(self, folder: Path, suffix: str) -> None:
        self.folder, self._suffix = folder, suffix

    @classmethod
    @contextmanager
    def on(cls, target: Path, suffix: str) -> Iterator[_Work]:
        """The folder beside `target`, for one process at a time.

        Raises:
            InputError: another process is at work on the same result.
        """
        folder = target.with_name(f".{target.name}.gpen")
        make_folder(folder.parent)
        try:
            with locked(folder, patience=0):
                yield cls(folder, suffix)
        except filelock.Timeout as error:
            raise InputError(
                f"{shown(target)} is being made by another run; wait for it or name another file."
            ) from error

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

    def survey(self, section: Section, run: Run) -> Survey:
        path = self.folder / "survey.json"
        if not path.exists():
            with_samples(survey(section, run), section.film, run).save(path)
        return Survey.load(path)

    def paths(self, count: int) -> list[Path]:
        """Of the first parts."""
        return [self.folder / f"part-{number:05}{self._suffix}" for number in range(count)]

    def part(self, number: int, make: Callable[[Path], None]) -> None:
        path = self.paths(number + 1)[-1]
        if not path.exists():
            make(path)

    def finish(self) -> None:
        shutil.rmtree(self.folder)
