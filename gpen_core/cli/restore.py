"""`gpen restore` and `gpen faces`: files in, pictures and a report out."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..batch import files as batch
from ..errors import GPENError, InputError
from ..faces.aligned import check_aligned, restore_aligned
from ..faces.color import keep_gray
from ..faces.detect import DetectOptions, Detector, detect, load_detector
from ..faces.draw import draw_faces
from ..faces.mask import MaskOptions
from ..faces.parse import Parser, load_parser
from ..faces.paste import PasteOptions
from ..faces.restore import Monitor, RestoreOptions
from ..faces.select import select
from ..images.files import Picture, check_writable, read_picture, write_picture
from ..images.layouts import resize
from ..models.device import resolve_device
from ..models.load import load_model
from ..models.model import Model
from ..run import Options, restore_images
from .fetch import fetch_missing, find_model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What `gpen restore` was asked to do with which files."""

    inputs: list[str]
    output: Path | None
    model: str | None
    size: int | None
    aligned: bool
    check: bool
    background: Path | None
    user_mask: Path | None
    device: str
    precision: str
    detector: str
    weights_dir: Path | None
    accept_license: bool
    compare: bool
    report: Path | None
    overwrite: bool


def build_options(
    detect: dict[str, Any],
    sort: str,
    keep: str,
    template: str | None,
    restore: dict[str, Any],
    mask: dict[str, Any],
    paste: dict[str, Any],
) -> Options:
    """`Options` of the command line's values; None leaves a default in place."""
    excluded = mask.pop("exclude")
    if excluded is not None:
        mask["exclude"] = tuple(name.strip() for name in excluded.split(",") if name.strip())
    return Options(
        detect=DetectOptions(**_given(detect)),
        sort=sort,
        keep=keep,
        template=template,
        restore=RestoreOptions(**_given(restore)),
        mask=MaskOptions(**_given(mask)),
        paste=PasteOptions(**_given(paste)),
    )


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def run(request: Request, options: Options, console: Console) -> int:
    """Restore every input; 0 when all went well, 1 when some failed, 2 when all did.

    Raises:
        GPENError: nothing can be done at all (no input, no model, bad options).
    """
    from .app import write_report

    if not request.inputs:
        raise InputError("No picture given; name files, folders or globs with --input.")
    inputs = batch.find_inputs(request.inputs)
    many = len(inputs) > 1 or any(Path(name).is_dir() for name in request.inputs)
    outputs = batch.plan_outputs(inputs, request.output, many)
    if request.report is not None and request.report.exists() and not request.overwrite:
        raise InputError(f"{request.report} exists already; give another name or --overwrite.")
    worker = _Worker.prepare(request, options)
    outcomes = _run_all(worker, inputs, outputs, console)
    if request.report is not None:
        content = [outcome.as_dict() for outcome in outcomes]
        write_report(request.report, content, request.overwrite)
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    return 0 if failed == 0 else 2 if failed == len(outcomes) else 1


def _run_all(
    worker: _Worker, inputs: list[Path], outputs: list[Path], console: Console
) -> list[batch.Outcome]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    outcomes = []
    with Progress(*columns, console=console, transient=True) as progress:
        pictures = progress.add_task("pictures", total=len(inputs))
        people = progress.add_task("faces", total=0)
        worker.on_found = lambda n: progress.update(
            people, total=(progress.tasks[people].total or 0) + n
        )
        worker.on_done = lambda n: progress.advance(people, n)
        for source, target in zip(inputs, outputs, strict=True):
            outcome = worker.run(source, target)
            outcomes.append(outcome)
            progress.advance(pictures)
            _say(console, outcome)
    return outcomes


def _say(console: Console, outcome: batch.Outcome) -> None:
    if outcome.error:
        console.print(f"Failed: {outcome.error}", markup=False, soft_wrap=True)
        return
    restored = sum(face.restored for face in outcome.faces)
    what = {
        "restored": f"{restored} of {len(outcome.faces)} face(s) restored",
        "aligned": "crop restored",
        "unchanged": "no face restored, picture unchanged",
    }[outcome.status]
    console.print(
        f"{outcome.input}: {what} -> {outcome.output} ({sum(outcome.seconds.values()):.1f} s)",
        markup=False,
        soft_wrap=True,
    )


class _Worker:
    """The loaded model, detector and parser, applied to one file after the other."""

    def __init__(
        self,
        request: Request,
        options: Options,
        model: Model,
        detector: Detector,
        parser: Parser | None,
    ) -> None:
        self.request, self.options = request, options
        self.model, self.detector, self.parser = model, detector, parser
        self.on_found = lambda faces: None
        self.on_done = lambda faces: None

    @classmethod
    def prepare(cls, request: Request, options: Options) -> _Worker:
        """Load what every picture needs, so that a missing file is said once and at once."""
        device = resolve_device(request.device)
        source = find_model(request.model, request.accept_license)
        model = load_model(source, device=device, precision=request.precision)
        if request.size is not None and request.size != model.output_size:
            raise InputError(
                f"--size {request.size} does not fit this model: {model.info.name} makes "
                f"{model.output_size}-px faces; give --size {model.output_size} or another model."
            )
        if request.accept_license:
            fetch_missing((request.detector, options.mask.kind), request.weights_dir)
        detector = load_detector(request.detector, device=device, weights_dir=request.weights_dir)
        parser = None
        if options.mask.kind == "parsing":
            parser = load_parser(request.weights_dir, device)
        return cls(request, options, model, detector, parser)

    def run(self, source: Path, target: Path) -> batch.Outcome:
        """One file; what goes wrong with it is in the outcome and stops nothing else."""
        outcome = batch.Outcome(input=str(source))
        start = time.perf_counter()
        try:
            self._check_targets(target)
            picture = read_picture(source)
            outcome.size = [picture.size[1], picture.size[0]]
            outcome.seconds["read"] = time.perf_counter() - start
            restored = self._restore(picture, outcome)
            start = time.perf_counter()
            write_picture(target, restored, overwrite=self.request.overwrite)
            outcome.output = str(target)
            if self.request.compare:
                self._compare(picture, restored, batch.sibling(target, "compare"))
            outcome.seconds["write"] = time.perf_counter() - start
        except GPENError as error:
            outcome.status, outcome.error = "failed", _with_source(str(error), source)
        outcome.seconds = {name: round(value, 4) for name, value in outcome.seconds.items()}
        return outcome

    def _check_targets(self, target: Path) -> None:
        """Find out before the work that a result cannot be written."""
        check_writable(target, self.request.overwrite)
        if self.request.compare:
            check_writable(batch.sibling(target, "compare"), self.request.overwrite)

    def _restore(self, picture: Picture, outcome: batch.Outcome) -> Picture:
        monitor = Monitor(progress=self.on_done)
        if self.request.aligned:
            return self._restore_crop(picture, outcome, monitor)
        images, _, _, report = restore_images(
            picture.pixels[None],
            self.model,
            self.options,
            detector=self.detector,
            parser=self.parser,
            background=self._companion(self.request.background),
            user_mask=self._user_mask(picture),
            monitor=monitor,
            found=self.on_found,
        )
        outcome.faces, outcome.events = report.faces, report.events
        outcome.seconds |= report.seconds
        if not any(face.restored for face in report.faces):
            outcome.status = "unchanged"
            log.warning(
                "%s: %s; the picture is unchanged.",
                outcome.input,
                "no face is selected" if report.faces else "no face was found",
            )
        return picture.with_pixels(images[0])

    def _restore_crop(self, picture: Picture, outcome: batch.Outcome, monitor: Monitor) -> Picture:
        start = time.perf_counter()
        template = self.options.template or self.model.info.template
        image = picture.pixels[None]
        if self.request.check:
            check_aligned(image, self.detector, template)
        self.on_found(1)
        restored = restore_aligned(image, self.model, self.options.restore, monitor)
        if picture.gray:
            restored = keep_gray(restored)
        outcome.status, outcome.events = "aligned", monitor.events
        outcome.seconds["restore"] = time.perf_counter() - start
        return picture.with_pixels(restored[0].cpu())

    def _companion(self, path: Path | None) -> torch.Tensor | None:
        return None if path is None else read_picture(path).pixels[None]

    def _user_mask(self, picture: Picture) -> torch.Tensor | None:
        path = self.request.user_mask
        if path is None:
            return None
        mask = read_picture(path).pixels[None, :1]
        if tuple(mask.shape[-2:]) != picture.size:
            raise InputError(
                f"{path} is {mask.shape[-1]}x{mask.shape[-2]} px but the picture is "
                f"{picture.size[1]}x{picture.size[0]}; a mask must have the picture's size."
            )
        return mask

    def _compare(self, before: Picture, after: Picture, path: Path) -> None:
        height = after.size[0]
        width = round(before.size[1] * height / before.size[0])
        left = resize(before.pixels[None], (height, width))[0]
        picture = Picture(torch.cat([left, after.pixels], dim=-1), gray=before.gray)
        write_picture(path, picture, overwrite=self.request.overwrite)


def _with_source(text: str, source: Path) -> str:
    return text if str(source) in text else f"{source}: {text}"


def draw(
    picture: Path,
    output: Path | None,
    detector: str,
    detect_options: dict[str, Any],
    sort: str,
    weights_dir: Path | None,
    accept_license: bool,
    overwrite: bool,
) -> tuple[int, Path]:
    """Write the picture with its faces drawn in; returns their number and the file."""
    target = output or batch.sibling(picture, "faces")
    check_writable(target, overwrite)
    original = read_picture(picture)
    if accept_license:
        fetch_missing((detector,), weights_dir)
    loaded = load_detector(detector, weights_dir=weights_dir)
    found = detect(original.pixels[None], loaded, DetectOptions(**detect_options))
    found = select(found, sort, "all")
    drawn = Picture(draw_faces(original.pixels, found), icc=original.icc)
    write_picture(target, drawn, overwrite=overwrite)
    return len(found), target
