"""`gpen restore`: pictures in, pictures with restored faces out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, TaskID

from ..errors import InputError
from ..files import shown
from ..hooks import Hooks
from ..images.formats import DEFAULT_QUALITY
from ..options import (
    DETECTORS,
    PRECISIONS,
    DetectOptions,
    FilmOptions,
    MaskOptions,
    Options,
    PasteOptions,
    RestoreOptions,
    SelectOptions,
    TrackOptions,
    default_of,
)
from .arguments import AcceptLicense, Overwrite, WeightsDir, flag, with_options
from .console import bars, say, sentence, terminating
from .memory import return_freed_memory

if TYPE_CHECKING:
    from ..batch.job import Job
    from ..batch.outcome import Outcome
    from ..run import Run, Tools


@with_options(
    DetectOptions,
    SelectOptions,
    RestoreOptions,
    MaskOptions,
    PasteOptions,
    TrackOptions,
    template=True,
)
def restore(
    options: Options,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Pictures, folders, or patterns such as '*.jpg'.", show_default=False),
    ] = None,
    input_: Annotated[
        list[str] | None,
        flag("input", "Pictures to restore, given as an option instead.", "-i", show_default=False),
    ] = None,
    output: Annotated[
        str | None,
        flag("output", "File or folder to write. Default: NAME_restored beside the input.", "-o"),
    ] = None,
    model_path: Annotated[
        str | None, flag("model_path", "Model file or name. Default: the embedded model.", "-m")
    ] = None,
    size: Annotated[
        int | None,
        flag("size", "Expected face size of the model in pixels; stops if the model has another."),
    ] = None,
    face_align: Annotated[
        bool, flag("face_align", "Find and align the faces (the default).")
    ] = False,
    aligned: Annotated[bool, flag("aligned", "The inputs are aligned face crops.")] = False,
    no_check: Annotated[
        bool, flag("no_check", "With --aligned: do not check that each input is one centered face.")
    ] = False,
    background: Annotated[
        Path | None,
        flag("background", "Enlarged picture to paste the faces into, or a folder of them."),
    ] = None,
    user_mask: Annotated[
        Path | None,
        flag(
            "user_mask",
            "Mask of any size: faces are not pasted where it is black. Or a folder of them.",
        ),
    ] = None,
    detector: Annotated[
        str, flag("detector", f"Face detector. One of {', '.join(DETECTORS)}.")
    ] = DETECTORS[0],
    device: Annotated[
        str, flag("device", "Where the networks run: auto, cpu, cuda, cuda:1 or mps.")
    ] = "auto",
    precision: Annotated[
        str, flag("precision", f"Precision of the model. One of {', '.join(PRECISIONS)}.")
    ] = PRECISIONS[0],
    weights_dir: WeightsDir = None,
    accept_license: AcceptLicense = False,
    recursive: Annotated[
        bool, flag("recursive", "Also search subfolders; the output mirrors them.", "-r")
    ] = False,
    suffix: Annotated[
        str | None,
        flag(
            "suffix",
            "Added to the name of each result after '_'. Default: restored, without --output.",
        ),
    ] = None,
    format_: Annotated[
        str | None,
        flag("format", "File format of the results, such as png. Default: that of the input."),
    ] = None,
    quality: Annotated[
        int | None,
        flag(
            "quality",
            f"Quality of JPEG, WebP, AVIF and films. Default: {DEFAULT_QUALITY}; of films a "
            "constant rate factor of 16.",
            min=1,
            max=100,
        ),
    ] = None,
    codec: Annotated[
        str | None,
        flag("codec", "Codec of films: h264, hevc, ffv1 and so on. Default: that of the input."),
    ] = None,
    frames: Annotated[
        str | None, flag("frames", "Frames of a film to restore, such as 100-250. Default: all.")
    ] = None,
    skip_existing: Annotated[
        bool, flag("skip_existing", "Skip pictures whose result exists; use it to resume a folder.")
    ] = False,
    dry_run: Annotated[
        bool, flag("dry_run", "Show what would be written, and write nothing.")
    ] = False,
    compare: Annotated[
        bool, flag("compare", "Also write NAME_compare, before and after side by side.")
    ] = False,
    save_crops: Annotated[
        Path | None,
        flag(
            "save_crops",
            "Folder for the crops of every restored face: NAME_face0_before, NAME_face0_after.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        flag("report", "Write a JSON report: every face found, why some were left alone, seconds."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Restore the faces in pictures."""
    from ..batch.companions import Companions
    from ..batch.job import Job, plan_only
    from ..batch.outcome import exit_code, write_report
    from ..batch.targets import Naming
    from ..run import Run

    _refuse_both(face_align and aligned, "--face_align", "--aligned")
    _refuse_both(options.select.skip_sharp and aligned, "--skip_sharp", "--aligned")
    _refuse_both(save_crops is not None and aligned, "--save_crops", "--aligned")
    _refuse_both(skip_existing and overwrite, "--skip_existing", "--overwrite")
    _refuse_both(background is not None and options.paste.upscale != 1, "--background", "--upscale")
    _refuse_without_effect(options)
    if output is not None and not output.strip():
        raise InputError("--output is empty; give a file or a folder.")
    job = Job.plan(
        [*(inputs or []), *(input_ or [])],
        Naming(None if output is None else Path(output), suffix, format_),
        recursive=recursive,
        aligned=aligned,
        check=not no_check,
        background=background and Companions(background, "background"),
        user_mask=user_mask and Companions(user_mask, "user_mask"),
        compare=compare,
        report=report,
        save_crops=save_crops,
        overwrite=overwrite,
        skip_existing=skip_existing,
        quality=quality,
        film=FilmOptions(codec=codec, quality=quality, frames=_first_and_last(frames)),
    )
    for path, reason in job.skipped:
        say(f"Skipped: {shown(path)} ({reason})")
    if dry_run:
        for outcome in plan_only(job):
            _say(outcome)
        raise typer.Exit
    needed = (detector, options.mask.mask)
    if accept_license:
        from .fetch import fetch_missing

        fetch_missing(needed, weights_dir)
    tools = _load(model_path, (device, precision), needed, weights_dir, accept_license)
    _check_size(tools, size)
    outcomes: list[Outcome] = []
    with terminating():
        try:
            options = replace(options, keep_crops=save_crops is not None)
            _restore_all(job, Run(tools, options), outcomes)
        finally:  # also when it is stopped: what is done is done
            if report is not None:
                write_report(report, outcomes, overwrite=overwrite)
    raise typer.Exit(exit_code(outcomes))


def _restore_all(job: Job, run: Run, outcomes: list[Outcome]) -> None:
    """Every picture of a job, said as it is done and added to `outcomes`."""
    from ..batch.job import restore_files

    with bars() as progress:
        run.hooks = _Bars(progress)
        pictures = progress.add_task("pictures", total=len(job.tasks))
        for outcome in restore_files(job, run, sentence):
            outcomes.append(outcome)
            return_freed_memory(len(outcomes))
            progress.advance(pictures)
            _say(outcome)


def _first_and_last(frames: str | None) -> tuple[int, int] | None:
    """`100-250` as numbers."""
    if frames is None:
        return None
    first, dash, last = frames.partition("-")
    if not (first.isascii() and first.isdigit() and dash and last.isascii() and last.isdigit()):
        raise InputError(f"--frames must be two numbers such as 100-250, not {shown(frames)!r}.")
    if int(first) > int(last):
        raise InputError(f"--frames {frames} ends before it begins; swap the numbers.")
    return int(first), int(last)


def _refuse_without_effect(options: Options) -> None:
    excludes = options.mask.exclude != default_of(MaskOptions, "exclude")
    if excludes and options.mask.mask != "parsing":
        raise InputError("--exclude only works with the parsing mask; add --mask parsing.")
    grows = options.mask.grow != default_of(MaskOptions, "grow")
    if grows and not options.mask.needs_mesh:
        raise InputError("--grow only works with --mask face or --parts; add one of them.")


def _refuse_both(given: bool, first: str, second: str) -> None:
    if given:
        raise InputError(f"{first} and {second} cannot be combined; give one of them.")


def _load(
    model: str | None,
    place: tuple[str, str],
    needed: tuple[str, str],
    weights_dir: Path | None,
    accept_license: bool,
) -> Tools:
    """Load what every picture needs, so that a missing file is said once and at once."""
    from ..faces.detect import load_detector
    from ..faces.parse import load_parser
    from ..models.device import resolve_device
    from ..models.load import load_model
    from ..run import Tools
    from .fetch import find_model

    device = resolve_device(place[0])
    loaded = load_model(find_model(model, accept_license), device=device, precision=place[1])
    detector, mask = needed
    return Tools(
        loaded,
        load_detector(detector, device=device, weights_dir=weights_dir),
        load_parser(weights_dir, device) if mask == "parsing" else None,
    )


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


def _say(outcome: Outcome) -> None:
    if outcome.error:
        say(f"Failed: {outcome.error}")
        return
    restored, found = outcome.counts
    kind = "picture" if outcome.frames is None else "film"
    what = {
        "restored": f"{restored} of {found} faces restored",
        "aligned": "crop restored",
        "unchanged": f"no face restored, {kind} unchanged",
        "skipped": "skipped, the result exists",
        "planned": "would be restored",
    }[outcome.status]
    spent = f" ({sum(outcome.seconds.values()):.1f} s)" if outcome.seconds else ""
    written = "" if outcome.output is None else f" -> {shown(outcome.output)}"
    say(f"{shown(outcome.input)}: {what}{written}{spent}")
