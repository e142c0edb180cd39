"""`gpen archive`: very many pictures, on one machine or a cluster, taken up again at any point."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from ..errors import InputError
from ..files import shown
from ..images.formats import DEFAULT_QUALITY
from ..options import DETECTORS, PRECISIONS, GateOptions, Options, TrackOptions
from ..text import counted
from .arguments import (
    OF_PICTURES,
    AcceptLicense,
    DetectorName,
    EmbedderFile,
    Format,
    ModelPath,
    NotPerson,
    Person,
    Precision,
    WeightsDir,
    flag,
    refuse_without_effect,
    with_options,
)
from .console import bars, console, say, terminating

if TYPE_CHECKING:
    from ..archive.job import Archive
    from ..archive.summary import Summary

# A line for logs where nobody watches bars.
_SECONDS = 60.0


class _Default(TyperGroup):
    """`gpen archive SOURCE TARGET` is `gpen archive run SOURCE TARGET`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Default,
    no_args_is_help=True,
    help="Restore a million pictures: once each, on every core or GPU, and go on after any stop.",
)

Target = Annotated[str, typer.Argument(help="The folder or address of the results.")]


@with_options(*OF_PICTURES, GateOptions, TrackOptions, template=True)
def run(
    options: Options,
    source: Annotated[
        str,
        typer.Argument(
            help="A folder, an address such as s3://bucket/folder, or a list of paths "
            "(.txt, .csv, .parquet)."
        ),
    ],
    target: Target,
    model_path: ModelPath = None,
    person: Person = None,
    not_person: NotPerson = None,
    embedder: EmbedderFile = None,
    detector: DetectorName = DETECTORS[0],
    device: Annotated[str, flag("device", "Where the networks run: auto, cpu or cuda.")] = "auto",
    precision: Precision = PRECISIONS[0],
    weights_dir: WeightsDir = None,
    accept_license: AcceptLicense = False,
    suffix: Annotated[str, flag("suffix", "Added to the name of each result after '_'.")] = "",
    format_: Format = None,
    quality: Annotated[
        int | None,
        flag(
            "quality",
            f"Quality of JPEG, WebP and AVIF. Default: {DEFAULT_QUALITY}.",
            min=1,
            max=100,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        flag("workers", "Processes. Default: as many as cores, GPUs and memory allow.", min=1),
    ] = None,
    gpus_per_worker: Annotated[
        float,
        flag(
            "gpus_per_worker",
            "Share of a GPU for each worker, 0.25 for four on one.",
            min=0.01,
            max=8,
        ),
    ] = 0.5,
    threads: Annotated[
        int | None, flag("threads", "Cores of each worker. Default: the cores divided.", min=1)
    ] = None,
    pictures_at_once: Annotated[
        int | None,
        flag(
            "pictures_at_once",
            "Pictures whose faces go through the network together. Default: 8 on a GPU, else 1.",
            min=1,
            max=64,
        ),
    ] = None,
    address: Annotated[
        str | None,
        flag("address", "Address of a Ray cluster, or auto. Default: this machine alone."),
    ] = None,
    retry_failed: Annotated[
        bool, flag("retry_failed", "Also try again what has failed before.")
    ] = False,
    overwrite: Annotated[
        bool,
        flag("overwrite", "Replace results of other options, and files that are in the way."),
    ] = False,
    dry_run: Annotated[
        bool,
        flag("dry_run", "Count, restore 20 samples without writing them, and say what all takes."),
    ] = False,
) -> None:
    """Restore the faces of every picture of SOURCE into TARGET, or go on doing so."""
    from ..archive.crew import choose_crew
    from ..archive.engine import ray_data
    from ..archive.job import Archive
    from ..archive.named import Named
    from ..archive.plan import Wishes
    from ..archive.recipe import Recipe
    from ..archive.store import FOLDER
    from ..faces.detector import load_detector
    from ..run import Tools
    from .fetch import fetch_missing, find_model
    from .people import People, with_people

    refuse_without_effect(options)
    ray_data()
    if accept_license:
        fetch_missing((detector, options.mask.mask), weights_dir)
    model = find_model(model_path, accept_license)
    people = People(person or (), not_person or (), embedder)
    looks = people.are_told_apart(options)
    looking = Tools(detector=load_detector(detector, weights_dir=weights_dir) if looks else None)
    looking = with_people(looking, options, people)
    crew, chosen = choose_crew(device, address, workers, gpus_per_worker, threads)
    recipe = Recipe.of(
        target if "://" in target else str(Path(target).expanduser().absolute()),
        options,
        model=None if model is None else os.fspath(model),
        people=Named.of(looking.wanted, looking.embedder, embedder),
        detector=detector,
        device=chosen,
        precision=precision,
        weights_dir=None if weights_dir is None else str(weights_dir.absolute()),
        suffix=suffix,
        format=format_,
        quality=quality,
        at_once=pictures_at_once or (8 if crew.gpus else 1),
        threads=int(crew.cpus),
    )
    archive = Archive(source, recipe, Wishes(retry_failed, overwrite), crew)
    archive.look()
    _say_plan(archive)
    if dry_run:
        _rehearse(archive)
        raise typer.Exit
    with terminating():
        _work(archive)
    total = archive.conclude()
    _show(total)
    say(f"Summary, sheet and manifest: {shown(target.rstrip('/'))}/{FOLDER}/")
    raise typer.Exit(_exit_code(total))


def _exit_code(total: Summary) -> int:
    """0 all done, 1 some failed, 2 nothing was done as asked."""
    if not total.failed and not total.left:
        return 0
    return 1 if total.restored + total.unchanged else 2


def _say_plan(archive: Archive) -> None:
    plan, skipped = archive.plan, archive.listing.skipped
    for reason, count in sorted(skipped.items()):
        say(f"Left out: {counted(count, 'file')} ({reason})")
    why = ", ".join(f"{count} {name}" for name, count in plan.why.items())
    say(
        f"{counted(len(archive.listing.items), 'picture')}: {len(plan.done)} done, "
        f"{len(plan.tasks)} to do{f' ({why})' if why else ''}"
    )
    if plan.failed:
        say(f"{len(plan.failed)} failed before; add --retry_failed to try them again.")


def _work(archive: Archive) -> None:
    """Every picture that is to be done, with a bar or, where nobody watches, a line a minute."""
    from ..archive.summary import Summary

    summary = Summary(len(archive.plan.tasks))
    started = told = time.monotonic()
    with bars() as progress:
        bar = progress.add_task("pictures", total=summary.pictures)
        for rows in archive.run():
            for row in rows:
                summary.add(row)
                if not row.done:
                    say(f"Failed: {row.error}")
            line = _line(summary, time.monotonic() - started)
            progress.update(bar, completed=summary.counted, description=line)
            if not console.is_terminal and time.monotonic() - told > _SECONDS:
                say(line)
                told = time.monotonic()


def _line(summary: Summary, elapsed: float) -> str:
    rate = summary.counted / max(elapsed, 1e-3)
    left = _span(summary.left / rate) if rate else "?"
    return (
        f"{summary.counted:,} of {counted(summary.pictures, 'picture')}, "
        f"{counted(summary.faces, 'face')}, {summary.failed} failed, {60 * rate:.1f} a minute, "
        f"{left} left"
    )


def _span(seconds: float) -> str:
    """`90 s`, `12 min`, `7.5 h`, `3.1 days`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 360_000 else f"{seconds / 86400:.1f} days"


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _show(summary: Summary, where: Console | None = None) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    facts = {
        "pictures": f"{summary.pictures:,}",
        "restored": f"{summary.restored:,}",
        "unchanged": f"{summary.unchanged:,}",
        "failed": f"{summary.failed:,}",
        "left": f"{summary.left:,}",
        "faces": f"{summary.faces:,} of {summary.found:,} found",
        "read": _bytes(summary.read),
        "written": _bytes(summary.written),
        "work": _span(summary.seconds),
    }
    for name, value in facts.items():
        table.add_row(name, value)
    (where or console).print(table)
    for event, count in list(summary.notes.items())[:10]:
        say(f"In {counted(count, 'picture')}: {event}")
    for error in list(summary.failures.values())[:10]:
        say(f"Failed: {error}")
    if len(summary.failures) > 10:
        say("More failures are in the summary.")


def _rehearse(archive: Archive) -> None:
    from ..archive.estimate import estimate

    if not archive.plan.tasks:
        say("There is nothing to do.")
        return
    guess = estimate(archive.plan.tasks, archive.recipe, archive.crew)
    say(
        f"{counted(guess.tried, 'sample')}: {guess.seconds:.2f} s a picture on average, "
        f"{guess.failed} failed."
    )
    say(
        f"All {guess.pictures:,} with {counted(guess.workers, 'worker')}: {_span(guess.low)} to "
        f"{_span(guess.high)}; reads {_bytes(guess.read)}, writes {_bytes(guess.written)}."
    )


@app.command()
def status(
    target: Target,
    json_: Annotated[bool, flag("json", "Print JSON.")] = False,
) -> None:
    """How far an archive is; also while it is being made."""
    from ..archive.job import known_rows
    from ..archive.manifest import Manifest
    from ..archive.stores import open_store
    from ..archive.summary import Summary

    manifest = Manifest(open_store(target))
    settings = manifest.settings()
    if settings is None:
        raise InputError(f"{shown(target)} holds no archive; check the path.")
    total = Summary.of(known_rows(manifest).values(), int(settings.get("pictures", 0)))
    if json_:
        typer.echo(json.dumps(total.facts(), indent=2, ensure_ascii=False))
    else:
        _show(total, Console())


app.command(name="run")(run)
