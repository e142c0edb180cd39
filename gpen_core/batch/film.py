"""A film among the files of a job."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..films.formats import require_reader
from ..images.write import check_place
from ..run import Run
from .job import Job
from .outcome import Outcome, TrackLine

if TYPE_CHECKING:
    from ..films.judge import Verdict
    from ..films.survey import Survey


def restore_one_film(job: Job, run: Run, task: tuple[Path, Path], outcome: Outcome) -> None:
    """The film of a task restored; what became of it is written into `outcome`.

    Raises:
        GPENError: options that films do not have, and as `films.restore.restore_film`.
    """
    require_reader()
    from ..films.film import Film
    from ..films.restore import restore_film
    from ..films.thumbnail import thumbnails

    source, target = task
    for name, given in (
        ("aligned", job.aligned),
        ("background", job.background is not None),
        ("user_mask", job.user_mask is not None),
        ("compare", job.compare),
        ("save_crops", bool(job.crops)),
        ("choices", job.choices is not None),
    ):
        if given:
            raise InputError("films do not have this option.", option=name)
    if job.film is None:
        raise InputError(f"{source} is a film, and films can only be restored; give pictures.")
    start = time.perf_counter()
    if job.film.every_frame_as is None:
        check_place(target, job.overwrite)
    report = restore_film(source, target, run, job.film)
    outcome.output, outcome.events = str(target), report.events
    outcome.size = [report.size[1], report.size[0]]
    outcome.frames = report.frames
    known = report.survey
    pictures = thumbnails(Film.open(source), known.times, known.tracks)
    outcome.tracks = _lines(known, pictures)
    outcome.status = "restored" if report.touched else "unchanged"
    outcome.seconds = {"film": time.perf_counter() - start}


def _facts(verdict: Verdict) -> dict[str, Any]:
    facts = asdict(verdict)
    del facts["samples"]
    return facts


def _lines(known: Survey, pictures: Sequence[str | None]) -> list[TrackLine]:
    return [
        TrackLine(
            number=one.number,
            first=one.first + known.passed,
            last=one.last + known.passed,
            score=round(one.score, 4),
            seen=one.seen,
            restored=one.number in known.kept,
            **_facts(known.verdict(one)),
            thumbnail=picture,
        )
        for one, picture in zip(known.tracks, pictures, strict=True)
    ]
