"""What an archive will take, from a few samples that are restored and thrown away."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ..errors import InputError
from ..films.formats import is_film
from .engine import Crew
from .recipe import Recipe
from .rows import Task

SAMPLES = 20
_SEED = 0


@dataclass(frozen=True)
class Estimate:
    """What it will take.

    Attributes:
        pictures: how many.
        workers: that share the work.
        tried, failed: samples.
        seconds: of work for a picture, on average.
        low, high: seconds for all; the average of all lies between in 95 of 100 cases, if the
            samples are like the rest.
        read, written: bytes of all.
    """

    pictures: int
    workers: int
    tried: int
    failed: int
    seconds: float
    low: float
    high: float
    read: float
    written: float


def estimate(tasks: Sequence[Task], recipe: Recipe, crew: Crew) -> Estimate:
    """Restore samples here, in this process, and multiply.

    Args:
        tasks: the pictures; films among them are not counted.
        recipe: how.
        crew: among whom the work is divided; each is taken to be as fast as this process.

    Raises:
        GPENError: the networks cannot be loaded, or there are only films.

    Example:
        >>> import tempfile
        >>> from gpen_core.options import Options
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tasks = [Task("a.jpg", f"{folder}/a.jpg", 0, "", "a.jpg")]
        ...     estimate(tasks, Recipe.of(folder, Options()), Crew(workers=1)).failed
        1
    """
    import torch

    from .maker import Maker

    tasks = [task for task in tasks if not is_film(PurePosixPath(task.key))]
    if not tasks:
        raise InputError("There are only films; what they take is not estimated.")
    chosen = random.Random(_SEED).sample(tasks, min(SAMPLES, len(tasks)))
    before = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        maker = Maker(recipe)
        maker.trial(chosen[0])  # what is only done once is not counted
        seconds, sizes, failed = [], [], 0
        for task in chosen:
            start = time.perf_counter()
            row, size = maker.trial(task)
            seconds.append(time.perf_counter() - start)
            sizes.append((max(task.size, 0), size))
            failed += not row.done
    finally:
        torch.set_num_threads(before)
    mean, spread = statistics.fmean(seconds), 0.0
    if len(seconds) > 1:
        spread = 1.96 * statistics.stdev(seconds) / math.sqrt(len(seconds))
    workers = max(crew.workers, 1)
    share = len(tasks) / workers
    known = [task.size for task in tasks if task.size >= 0]
    return Estimate(
        pictures=len(tasks),
        workers=workers,
        tried=len(chosen),
        failed=failed,
        seconds=mean,
        low=share * max(mean - spread, min(seconds)),
        high=share * (mean + spread),
        read=sum(known) / max(len(known), 1) * len(tasks),
        written=statistics.fmean(size for _, size in sizes) * len(tasks),
    )
