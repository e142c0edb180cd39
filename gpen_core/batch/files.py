"""Many files through one run: each is read, restored and written, and fails for itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..errors import GPENError
from ..faces.embed import origin_of
from ..faces.paste import Surface
from ..films.formats import is_film
from ..hooks import Hooks, Recording
from ..images.layouts import resize
from ..images.picture import Picture
from ..images.read import read_picture
from ..images.write import check_size, check_writable, write_picture
from ..run import Found, Restored, Run
from ..text import counted
from .choices import Chosen
from .companions import read_mask
from .crops import check_crops, save_crops
from .film import restore_one_film
from .job import Job
from .outcome import Outcome
from .steps import reason, status_of
from .targets import COMPARE, sibling

log = logging.getLogger(__name__)


def restore_files(
    job: Job, run: Run, explain: Callable[[GPENError], str] = str
) -> Iterator[Outcome]:
    """Every file of a job, one after the other; what goes wrong with one stops no other.

    Args:
        job: the files.
        run: the networks and options.
        explain: an error in the caller's terms.

    Example:
        >>> import tempfile
        >>> from gpen_core.batch.targets import Naming
        >>> from gpen_core.run import Tools
        >>> from gpen_core.models.load import load_model
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_picture(Path(folder, "nobody.png"), Picture(torch.zeros(3, 48, 64)))
        ...     job = Job.plan([folder], Naming(Path(folder, "restored")))
        ...     [outcome.status for outcome in restore_files(job, Run(Tools(load_model())))]
        ['unchanged']
    """
    for source, target in job.tasks:
        outcome = Outcome(input=str(source), embedder=origin_of(run.tools.embedder))
        if job.skip_existing and target.exists():
            yield replace(outcome, output=str(target), status="skipped")
            continue
        try:
            _restore_file(job, run, (source, target), outcome)
        except Exception as error:
            log.debug("%s", source, exc_info=True)
            outcome.status, outcome.error = "failed", reason(error, source, explain)
        outcome.seconds = {name: round(value, 4) for name, value in outcome.seconds.items()}
        yield outcome


def _restore_file(job: Job, run: Run, task: tuple[Path, Path], outcome: Outcome) -> None:
    source, target = task
    if is_film(source):
        restore_one_film(job, run, task, outcome)
        return
    start = time.perf_counter()
    # Before the work: a result that cannot be written should not cost minutes first.
    check_writable(target, job.overwrite)
    if job.compare:
        check_writable(sibling(target, COMPARE), job.overwrite)
    told = Recording(run.hooks)
    outcome.events = told.events
    base = job.crops.get(target)
    if base is not None:
        check_crops(base, [0], overwrite=job.overwrite)
    picture = read_picture(source, told.event)
    outcome.size = [picture.size[1], picture.size[0]]
    _check_size(job, run, task, picture)
    outcome.seconds["read"] = time.perf_counter() - start
    narrow = None if job.choices is None else _narrowing(job.choices.of(source), told)
    result = _run(job, run, (source, picture), narrow)
    outcome.faces = result.report.faces
    told.events += result.report.events
    outcome.seconds |= result.report.seconds
    outcome.status = "aligned" if job.aligned else status_of(result.report, source)
    start = time.perf_counter()
    restored = picture.with_pixels(result.images[0].cpu())
    if not run.task.keeps_tone:  # colors in a file that was gray
        restored = replace(restored, gray=False)
    if base is not None:
        outcome.crops = save_crops(
            result, restored, base, overwrite=job.overwrite, quality=job.quality
        )
    how: dict[str, Any] = {"overwrite": job.overwrite, "quality": job.quality, "event": told.event}
    write_picture(target, restored, **how)
    outcome.output = str(target)
    if job.compare:
        write_picture(sibling(target, COMPARE), _side_by_side(picture, restored), **how)
    outcome.seconds["write"] = time.perf_counter() - start


def _check_size(job: Job, run: Run, task: tuple[Path, Path], picture: Picture) -> None:
    """Whether the result's format holds a picture of its size."""
    target = task[1]
    height, width = picture.size
    if job.aligned:
        height = width = run.task.size(min(height, width), run.model.output_size)
    elif job.background is None:
        factor = run.options.paste.upscale
        height, width = factor * height, factor * width
    else:
        return  # known when the background is read; writing checks it again
    check_size(target, height, width)
    if job.compare:
        check_size(sibling(target, COMPARE), height, 2 * width)


def _narrowing(chosen: Chosen, hooks: Hooks) -> Callable[[Found], Found]:
    """Leaves out what was not chosen in a picture, and says what is not found again."""

    def narrow(found: Found) -> Found:
        found, missing = chosen.applied(found)
        if missing:
            hooks.event(f"{counted(missing, 'chosen face')} not found again.")
        return found

    return narrow


def _run(
    job: Job, run: Run, read: tuple[Path, Picture], narrow: Callable[[Found], Found] | None
) -> Restored:
    source, picture = read
    images = picture.pixels[None]
    background, mask = job.background, job.user_mask
    if job.aligned:
        holes = None if mask is None else read_mask(mask.of(source))
        return run.crops(images, check=job.check, holes=holes)
    return run.restored(
        Surface(
            images,
            None if background is None else read_picture(background.of(source)).pixels[None],
            None if mask is None else read_mask(mask.of(source)),
        ),
        narrow=narrow,
    )


def _side_by_side(before: Picture, after: Picture) -> Picture:
    height = after.size[0]
    width = round(before.size[1] * height / before.size[0])
    left = resize(before.pixels[None], (height, width))[0]
    return Picture(torch.cat([left, after.pixels], dim=-1), gray=after.gray)
