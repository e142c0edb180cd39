"""Many files through one run: each is read, restored and written, and fails for itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import GPENError, InputError
from ..faces.paste import Surface
from ..images.files import Picture, check_writable, read_picture, write_picture
from ..images.layouts import resize
from ..run import Restored, Run
from .inputs import find_inputs
from .outcome import Outcome
from .targets import plan_outputs, sibling

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """Which files go where, and what is done with each.

    Attributes:
        tasks: (input, output) of every picture.
        aligned: they are ready face crops.
        check: look first whether they are.
        background: the picture already enlarged, to paste into.
        user_mask: picture whose black parts are left alone.
        compare: write before | after beside each result.
        overwrite: replace files that exist.
    """

    tasks: tuple[tuple[Path, Path], ...]
    aligned: bool = False
    check: bool = True
    background: Path | None = None
    user_mask: Path | None = None
    compare: bool = False
    overwrite: bool = False

    @classmethod
    def plan(
        cls,
        inputs: Sequence[str],
        output: Path | None,
        *,
        report: Path | None = None,
        **rest: Any,
    ) -> Job:
        """The job of files, folders and globs, checked as far as it can be before the work.

        Args:
            inputs: names of pictures, folders, or globs.
            output: file or folder for the results; None: beside the inputs.
            report: the file that will be written at the end.
            rest: fields of `Job`.

        Raises:
            InputError: nothing to do, or results that cannot be written.
        """
        if not inputs:
            raise InputError("No picture was given; name files, folders or globs.")
        found = find_inputs(inputs)
        many = len(found) > 1 or any(Path(name).is_dir() for name in inputs)
        job = cls(tuple(zip(found, plan_outputs(found, output, many), strict=True)), **rest)
        if report is not None and report.exists() and not job.overwrite:
            raise InputError(f"{report} exists already; give another name.", remedy="overwrite")
        return job


def restore_files(
    job: Job, run: Run, explain: Callable[[GPENError], str] = str
) -> Iterator[Outcome]:
    """Every file of a job, one after the other; what goes wrong with one stops no other.

    Args:
        job: the files.
        run: the networks and options.
        explain: an error in the caller's terms.
    """
    for source, target in job.tasks:
        outcome = Outcome(input=str(source))
        try:
            _restore_file(job, run, (source, target), outcome)
        except GPENError as error:
            outcome.status, outcome.error = "failed", _with_source(explain(error), source)
        outcome.seconds = {name: round(value, 4) for name, value in outcome.seconds.items()}
        yield outcome


def _restore_file(job: Job, run: Run, task: tuple[Path, Path], outcome: Outcome) -> None:
    source, target = task
    start = time.perf_counter()
    # Before the work: a result that cannot be written should not cost minutes first.
    check_writable(target, job.overwrite)
    if job.compare:
        check_writable(sibling(target, "compare"), job.overwrite)
    picture = read_picture(source)
    outcome.size = [picture.size[1], picture.size[0]]
    outcome.seconds["read"] = time.perf_counter() - start
    result = _run(job, run, picture)
    outcome.faces, outcome.events = result.report.faces, result.report.events
    outcome.seconds |= result.report.seconds
    outcome.status = _status(job, result, source)
    start = time.perf_counter()
    restored = picture.with_pixels(result.images[0].cpu())
    write_picture(target, restored, overwrite=job.overwrite)
    outcome.output = str(target)
    if job.compare:
        write_picture(
            sibling(target, "compare"), _side_by_side(picture, restored), overwrite=job.overwrite
        )
    outcome.seconds["write"] = time.perf_counter() - start


def _run(job: Job, run: Run, picture: Picture) -> Restored:
    if job.aligned:
        return run.crops(picture.pixels[None], check=job.check)
    background = None if job.background is None else read_picture(job.background).pixels[None]
    return run.restored(Surface(picture.pixels[None], background, _user_mask(job)))


def _status(job: Job, result: Restored, source: Path) -> str:
    if job.aligned:
        return "aligned"
    if result.report.restored:
        return "restored"
    why = "no face is selected" if result.report.found else "no face was found"
    log.warning("%s: %s; the picture is unchanged.", source, why)
    return "unchanged"


def _user_mask(job: Job) -> Tensor | None:
    """(1, 1, h, w), of any size."""
    return None if job.user_mask is None else read_picture(job.user_mask).pixels[None, :1]


def _side_by_side(before: Picture, after: Picture) -> Picture:
    height = after.size[0]
    width = round(before.size[1] * height / before.size[0])
    left = resize(before.pixels[None], (height, width))[0]
    return Picture(torch.cat([left, after.pixels], dim=-1), gray=before.gray)


def _with_source(text: str, source: Path) -> str:
    return text if str(source) in text else f"{source}: {text}"
