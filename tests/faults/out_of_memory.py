"""Memory that runs out anywhere: `python tests/faults/out_of_memory.py [--each 12] [--seed 0]`.

Two pictures go through the real job, and in the first one an allocation fails:

*operation*: the n-th operation of PyTorch in a stage raises, once or until the picture is given up,
what PyTorch raises on a GPU, what its CPU allocator raises, and what Python raises. *library*: the
same in NumPy and Pillow. *limit*: the process may really have no more than so many MB
(RLIMIT_AS, Linux).

Clean is: what failed once is done all the same, to the pixel, and the report says so; what goes on
failing ends in one sentence for that picture; the other picture is done; nothing half-written lies
about.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import logging
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent), str(ROOT / "tests" / "fuzz")]

from small_models import first_version
from tally import Tally

from gpen_core import options
from gpen_core.batch import files
from gpen_core.batch.job import Job
from gpen_core.batch.outcome import Outcome
from gpen_core.batch.targets import Naming
from gpen_core.faces.detector import load_detector
from gpen_core.models.load import load_model
from gpen_core.run import Run, Tools, steps

ERRORS: dict[str, Callable[[], Exception]] = {
    "GPU": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB."),
    "CPU": lambda: RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"
    ),
    "Python": MemoryError,
}
STAGES = ("read", "detect", "align", "restore", "mask", "paste", "write")
LIBRARY = {
    "numpy.ascontiguousarray": (np, "ascontiguousarray"),
    "Pillow's load": (Image.Image, "load"),
    "Pillow's save": (Image.Image, "save"),
    "Pillow's fromarray": (Image, "fromarray"),
    "read_bytes": (Path, "read_bytes"),
    "write_bytes": (Path, "write_bytes"),
}
MEGABYTES = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512)


# --- the work ------------------------------------------------------------------------------------


@dataclass
class Scene:
    """Two pictures, the networks, and what comes of them when nothing fails.

    Attributes:
        folder: holds one.png, with a face, and two.png, the same mirrored.
        run: networks and options.
        meant: the results' pixels.
    """

    folder: Path
    run: Run
    meant: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, side: int = 120, model: object = None) -> Scene:
        face = Image.open(ROOT / "docs" / "samples" / "astronaut-damaged.jpg").convert("RGB")
        face = face.resize((side, side), Image.Resampling.BICUBIC)
        face.save(folder / "one.png")
        face.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "two.png")
        chosen = options.Options.of(mask="hull", color_match=0.5, upscale=2, strength=0.8)
        tools = Tools(load_model(model or first_version()), load_detector())
        scene = cls(folder, Run(tools, chosen))
        outcomes = scene.outcomes(folder / "meant")
        assert [each.status for each in outcomes] == ["restored", "restored"], outcomes
        scene.meant = pixels(folder / "meant")
        return scene

    def outcomes(self, target: Path) -> list[Outcome]:
        names = [str(self.folder / "one.png"), str(self.folder / "two.png")]
        planned = Job.plan(names, Naming(target), compare=True, overwrite=True)
        return list(files.restore_files(planned, self.run))


def pixels(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))}


# --- what fails ----------------------------------------------------------------------------------


class Fault(TorchDispatchMode):
    """Fails at one of the operations of a stage, while the first picture is worked on.

    Attributes:
        counts: operations seen, by stage.
        raised: how often it failed.
    """

    def __init__(
        self,
        stage: str = "",
        number: int = -1,
        error: Callable = MemoryError,
        lasting: bool = False,
    ) -> None:
        super().__init__()
        self.stage, self.number, self.error, self.lasting = stage, number, error, lasting
        self.counts = dict.fromkeys(STAGES, 0)
        self.now, self.pictures, self.raised = "", 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count()
        return func(*args, **(kwargs or {}))

    def count(self) -> None:
        """One more allocation."""
        if self.pictures > 1 or not self.now:
            return
        number, self.counts[self.now] = self.counts[self.now], self.counts[self.now] + 1
        here = self.now == self.stage
        if here and (number == self.number or (self.lasting and number > self.number >= 0)):
            self.raised += 1
            raise self.error()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The stages are known by the functions that the job and the run call."""
        with ExitStack() as stack:
            for stage, place, name in (
                ("read", files, "read_picture"),
                ("write", files, "write_picture"),
                ("detect", steps, "detect"),
                ("align", steps, "align"),
                ("restore", steps, "restore"),
                ("mask", steps, "crop_masks"),
                ("paste", steps.Canvas, "__init__"),
                ("paste", steps.Canvas, "add"),
            ):
                stack.enter_context(
                    mock.patch.object(place, name, self._within(stage, getattr(place, name)))
                )
            with self:
                yield

    def _within(self, stage: str, function: Callable) -> Callable:
        @functools.wraps(function)
        def inside(*args, **kwargs):
            self.pictures += stage == "read"
            before, self.now = self.now, stage
            try:
                return function(*args, **kwargs)
            finally:
                self.now = before

        return inside


@contextmanager
def failing_call(where: tuple[object, str], number: int, lasting: bool) -> Iterator[list[int]]:
    """The n-th call of a function, and those behind it, raise MemoryError during picture one."""
    place, name = where
    function, seen, pictures = getattr(place, name), [0, 0], [0]

    def call(*args, **kwargs):
        if pictures[0] == 1:
            seen[0] += 1
            if seen[0] - 1 == number or (lasting and seen[0] - 1 > number):
                seen[1] += 1
                raise MemoryError
        return function(*args, **kwargs)

    read = files.read_picture

    def counted(*args, **kwargs):
        pictures[0] += 1
        return read(*args, **kwargs)

    with mock.patch.object(place, name, call), mock.patch.object(files, "read_picture", counted):
        yield seen


# --- what is clean -------------------------------------------------------------------------------


def problems(scene: Scene, target: Path, outcomes: list[Outcome], *, may_fail: bool) -> list[str]:
    """What is wrong with the end of a run in which the first picture met a shortage."""
    found = []
    first, second = outcomes
    if second.status != "restored":
        found.append(f"the other picture: {second.status}, {second.error}")
    if first.status == "failed":
        text = first.error or ""
        if not may_fail:
            found.append(f"a single failure ended the picture: {text}")
        if "ot enough memory" not in text or "unexpected" in text or "\n" in text:
            found.append(f"no sentence: {text!r}")
    elif not any("ut of memory" in event for event in first.events):
        found.append("nothing was said")
    for name, got in pixels(target).items():
        if not np.array_equal(got, scene.meant[name]):
            found.append(f"{name}: other pixels")
    found += [f"left behind: {path.name}" for path in target.glob(".*")]
    return found


def try_operations(scene: Scene, tally: Tally, each: int, dice: random.Random) -> None:
    """Every stage, every error, once and lasting."""
    seen = Fault()
    with seen.watching(), tempfile.TemporaryDirectory() as out:
        scene.outcomes(Path(out))
    for stage in STAGES:
        for number in _spread(seen.counts[stage], each, dice):
            for name, lasting in itertools.product(ERRORS, (False, True)):
                bad = operation_problems(scene, Fault(stage, number, ERRORS[name], lasting))
                how = "for good" if lasting else "once"
                case = f"operation {number} of {seen.counts[stage]}, {name}, {how}"
                tally.add(f"operation, {stage}", bad, case)


def operation_problems(scene: Scene, fault: Fault) -> list[str]:
    """What is wrong with the end of a run with this fault."""
    with tempfile.TemporaryDirectory() as out:
        with fault.watching():
            outcomes = scene.outcomes(Path(out))
        bad = problems(scene, Path(out), outcomes, may_fail=fault.lasting)
    return bad if fault.raised else [*bad, "the fault was never met"]


def _spread(count: int, each: int, dice: random.Random) -> list[int]:
    """The first, the last and some between."""
    if count <= each:
        return list(range(count))
    return sorted({0, count - 1, *dice.sample(range(count), max(each - 2, 0))})


def try_library(scene: Scene, tally: Tally, calls: int = 8) -> None:
    """NumPy's and Pillow's allocations, as Python reports them."""
    for name, where in LIBRARY.items():
        for number in range(calls):
            for lasting in (False, True):
                with tempfile.TemporaryDirectory() as out:
                    with failing_call(where, number, lasting) as seen:
                        outcomes = scene.outcomes(Path(out))
                    if seen[1]:
                        bad = problems(scene, Path(out), outcomes, may_fail=lasting)
                        tally.add(f"library, {name}", bad, f"call {number}")


def try_limits(tally: Tally, limits: tuple[int, ...] = MEGABYTES) -> None:
    """Real limits, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene.make(Path(folder), side=700)
        for megabytes in limits:
            out = Path(folder) / f"out{megabytes}"
            command = [sys.executable, __file__, "--limited", str(megabytes), folder, str(out)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
            tally.add("limit", _limit_problems(scene, out, done), f"{megabytes} MB")


def _limit_problems(scene: Scene, out: Path, done: subprocess.CompletedProcess) -> list[str]:
    found = []
    if done.returncode != 0 or "Traceback" in done.stderr:
        return [f"ended with {done.returncode}: {done.stderr.strip()[-300:]}"]
    for entry in json.loads(done.stdout.splitlines()[-1]):
        text = entry["error"] or ""
        if entry["status"] == "failed" and ("ot enough memory" not in text or "\n" in text):
            found.append(f"no sentence: {text!r}")
    for name, got in pixels(out).items():
        if not np.array_equal(got, scene.meant[name]):
            found.append(f"{name}: other pixels")
    return found + [f"left behind: {path.name}" for path in out.glob(".*")]


def limited(megabytes: int, folder: Path, out: Path) -> None:
    """The job with no more than so many MB above what the loaded networks take."""
    with tempfile.TemporaryDirectory() as other:
        scene = Scene.make(Path(other))  # what is made once, such as threads, is there then
    scene.folder = folder
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + (megabytes << 20), hard))
    outcomes = scene.outcomes(out)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    print(json.dumps([{"status": one.status, "error": one.error} for one in outcomes]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=12, help="operations tried in every stage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limited", nargs=3, metavar=("MB", "FOLDER", "OUT"), help="one limit")
    options_ = parser.parse_args()
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    if options_.limited:
        megabytes, folder, out = options_.limited
        limited(int(megabytes), Path(folder), Path(out))
        return 0
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene.make(Path(folder))
        try_operations(scene, tally, options_.each, random.Random(options_.seed))
        try_library(scene, tally)
    if sys.platform == "linux":
        try_limits(tally)
    print(tally.table())
    return min(len(tally.findings), 1)


if __name__ == "__main__":
    sys.exit(main())
