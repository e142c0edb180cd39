"""What the commands that work on pictures share: their arguments, and the work itself."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, TaskID

from ..errors import GPENError, InputError
from ..files import shown
from ..hooks import Hooks
from ..images.formats import DEFAULT_QUALITY
from ..memory.process import return_freed_memory
from ..options import DETECTORS, PRECISIONS, FilmOptions, Options
from .arguments import (
    AcceptLicense,
    DetectorName,
    Device,
    Format,
    ModelPath,
    Overwrite,
    Precision,
    WeightsDir,
    flag,
    refuse_without_effect,
)
from .console import bars, say, sentence, terminating
from .people import People, with_people

if TYPE_CHECKING:
    from ..batch.job import Job
    from ..batch.outcome import Outcome
    from ..run import Run, Tools


@dataclass(frozen=True)
class Work:
    """Which pictures, which model, where the results go.

    The fields are the commands' arguments, see `arguments.with_fields`.
    """

    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Pictures, folders, or patterns such as '*.jpg'.", show_default=False),
    ] = None
    input_: Annotated[
        list[str] | None,
        flag("input", "Pictures to work on, given as an option instead.", "-i", show_default=False),
    ] = None
    output: Annotated[
        str | None,
        flag(
            "output",
            "File or folder to write. Default: beside the input, with the suffix added.",
            "-o",
        ),
    ] = None
    model_path: ModelPath = None
    aligned: Annotated[bool, flag("aligned", "The inputs are aligned face crops.")] = False
    no_check: Annotated[
        bool, flag("no_check", "With --aligned: do not check that each input is one centered face.")
    ] = False
    background: Annotated[
        Path | None,
        flag("background", "Enlarged picture to paste the faces into, or a folder of them."),
    ] = None
    detector: DetectorName = DETECTORS[0]
    device: Device = "auto"
    precision: Precision = PRECISIONS[0]
    weights_dir: WeightsDir = None
    accept_license: AcceptLicense = False
    recursive: Annotated[
        bool, flag("recursive", "Also search subfolders; the output mirrors them.", "-r")
    ] = False
    suffix: Annotated[
        str | None,
        flag(
            "suffix",
            "Added to the name of each result after '_'. Default, without --output: restored, "
            "colorized, inpainted or painted.",
        ),
    ] = None
    format_: Format = None
    quality: Annotated[
        int | None,
        flag(
            "quality",
            f"Quality of JPEG, WebP, AVIF and films. Default: {DEFAULT_QUALITY}; of films a "
            "constant rate factor of 16.",
            min=1,
            max=100,
        ),
    ] = None
    skip_existing: Annotated[
        bool, flag("skip_existing", "Skip pictures whose result exists; use it to resume a folder.")
    ] = False
    dry_run: Annotated[bool, flag("dry_run", "Show what would be written, and write nothing.")] = (
        False
    )
    compare: Annotated[
        bool, flag("compare", "Also write NAME_compare, before and after side by side.")
    ] = False
    save_crops: Annotated[
        Path | None,
        flag(
            "save_crops",
            "Folder for the crops of every restored face: NAME_face0_before, NAME_face0_after.",
        ),
    ] = None
    report: Annotated[
        Path | None,
        flag("report", "Write a JSON report: every face found, why some were left alone, seconds."),
    ] = None
    overwrite: Overwrite = False


@dataclass(frozen=True)
class Special:
    """What only some of the commands are told.

    Attributes:
        mask: file or folder of masks, and the option that named it.
        film: how films are written; None: this command takes none.
        size: face size in pixels that the model has to have.
        people: who alone is restored, and who is not.
        choices: file of faces chosen on a page.
    """

    mask: tuple[Path, str] | None = None
    film: FilmOptions | None = None
    size: int | None = None
    people: People = field(default_factory=People)
    choices: Path | None = None


def do(work: Work, options: Options, special: Special) -> None:
    """Plan, load, work on every picture, report.

    Raises:
        InputError: before any work, where it cannot be done as asked.
        typer.Exit: at the end, with the exit code.
    """
    from ..batch.choices import Choices
    from ..batch.companions import Companions
    from ..batch.job import Job, plan_only
    from ..batch.outcome import exit_code, write_report
    from ..batch.targets import SUFFIXES, Naming
    from ..run import Run

    _refuse_contradictions(work, options)
    naming = Naming(
        None if work.output is None else Path(work.output),
        work.suffix if work.suffix is not None or work.output else SUFFIXES[options.purpose],
        work.format_,
        special.film is not None and special.film.every_frame_as is not None,
    )
    job = Job.plan(
        [*(work.inputs or []), *(work.input_ or [])],
        naming,
        recursive=work.recursive,
        aligned=work.aligned,
        check=not work.no_check,
        background=work.background and Companions(work.background, "background"),
        user_mask=special.mask and Companions(*special.mask),
        compare=work.compare,
        report=work.report,
        save_crops=work.save_crops,
        overwrite=work.overwrite,
        skip_existing=work.skip_existing,
        quality=work.quality,
        film=special.film,
        choices=special.choices and Choices.read(special.choices),
    )
    for path, reason in job.skipped:
        say(f"Skipped: {shown(path)} ({reason})")
    if work.dry_run:
        for outcome in plan_only(job):
            _say(outcome, options.purpose)
        raise typer.Exit
    run = Run(_tools(work, options), replace(options, keep_crops=work.save_crops is not None))
    run.check_task()
    _check_size(run.tools, special.size)
    run.tools = with_people(run.tools, options, special.people, work.device)
    outcomes: list[Outcome] = []
    with terminating():
        try:
            _restore_all(job, run, outcomes)
        finally:  # also when it is stopped: what is done is done
            if work.report is not None:
                write_report(work.report, outcomes, overwrite=work.overwrite)
    raise typer.Exit(exit_code(outcomes))


def _tools(work: Work, options: Options) -> Tools:
    from ..run import Tools
    from .fetch import fetch_missing, find_model

    needed = (work.detector, options.mask.mask)
    if work.accept_license:
        fetch_missing(needed, work.weights_dir)
    name = work.model_path
    if name is None:
        from ..weights.locate import embedded

        name = str(embedded(options.purpose))
    model = find_model(name, work.accept_license)
    return Tools.load(model, work.device, work.precision, needed, work.weights_dir)


def _refuse_contradictions(work: Work, options: Options) -> None:
    refuse_both(work.save_crops is not None and work.aligned, "--save_crops", "--aligned")
    refuse_both(work.skip_existing and work.overwrite, "--skip_existing", "--overwrite")
    enlarges = work.background is not None and options.paste.upscale != 1
    refuse_both(enlarges, "--background", "--upscale")
    refuse_without_effect(options)
    if work.output is not None and not work.output.strip():
        raise InputError("--output is empty; give a file or a folder.")


def refuse_both(given: bool, first: str, second: str) -> None:
    """Refuse two flags together.

    Raises:
        InputError: where both are `given`.
    """
    if given:
        raise InputError(f"{first} and {second} cannot be combined; give one of them.")


def _restore_all(job: Job, run: Run, outcomes: list[Outcome]) -> None:
    """Every picture of a job, said as it is done and added to `outcomes`."""
    from ..batch.files import restore_files

    def explain(error: GPENError) -> str:
        text = sentence(error)
        if run.options.purpose != "restore":  # a flag of that command
            text = text.replace("add --face_align", "leave out --aligned")
        return text

    with bars() as progress:
        run.hooks = _Bars(progress)
        pictures = progress.add_task("pictures", total=len(job.tasks))
        for outcome in restore_files(job, run, explain):
            outcomes.append(outcome)
            return_freed_memory(len(outcomes))
            progress.advance(pictures)
            _say(outcome, run.options.purpose)


def _check_size(tools: Tools, size: int | None) -> None:
    assert tools.model is not None
    if size is not None and size != tools.model.output_size:
        raise InputError(
            f"--size {size} does not fit this model: {tools.model.info.name} makes "
            f"{tools.model.output_size}-px faces; give --size {tools.model.output_size} or another "
            f"model."
        )


_FILM_STAGES = {"survey": "frames looked through", "film": "frames restored"}


class _Bars(Hooks):
    """A bar of faces, filled as they are restored, and one of frames where there is a film."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._faces = progress.add_task("faces", total=0)
        self._before = 0
        self._frames: TaskID | None = None

    def found(self, faces: int) -> None:
        task = self._progress.tasks[self._faces]
        self._before = int(task.completed)
        self._progress.update(self._faces, total=self._before + faces)

    def progress(self, stage: str, done: int, total: int) -> None:
        if stage == "restore":
            self._progress.update(self._faces, completed=self._before + done)
        elif stage in _FILM_STAGES:
            if self._frames is None:
                self._frames = self._progress.add_task("frames", total=total)
            self._progress.update(
                self._frames, description=_FILM_STAGES[stage], completed=done, total=total
            )


# What is said of a picture by what was done to it: to its faces, to a ready crop, not at all.
_DONE = {
    "restore": ("restored", "crop restored"),
    "colorize": ("colored", "crop colored"),
    "inpaint": ("filled", "crop filled"),
    "paint": ("painted", "painted"),
}


def _say(outcome: Outcome, purpose: str) -> None:
    done, crop = _DONE[purpose]
    if outcome.error:
        say(f"Failed: {outcome.error}")
        return
    restored, found = outcome.counts
    kind = "picture" if outcome.frames is None else "film"
    what = {
        "restored": f"{restored} of {found} faces {done}",
        "aligned": crop,
        "unchanged": f"no face {done}, {kind} unchanged",
        "skipped": "skipped, the result exists",
        "planned": f"would be {done}",
    }[outcome.status]
    spent = f" ({sum(outcome.seconds.values()):.1f} s)" if outcome.seconds else ""
    written = "" if outcome.output is None else f" -> {shown(outcome.output)}"
    say(f"{shown(outcome.input)}: {what}{written}{spent}")
