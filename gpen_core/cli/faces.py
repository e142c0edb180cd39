"""`gpen faces`: a picture with the faces found drawn in, or a page of all faces to choose on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from ..files import shown
from ..options import DETECTORS, DetectOptions, GateOptions, Options, SelectOptions
from ..text import counted
from .arguments import (
    AcceptLicense,
    DetectorName,
    EmbedderFile,
    NotPerson,
    Overwrite,
    Person,
    WeightsDir,
    flag,
    with_options,
)
from .console import say

if TYPE_CHECKING:
    from ..run import Run

_PAGES = (".html", ".htm")


@with_options(
    DetectOptions,
    SelectOptions,
    GateOptions,
    leave_out=("keep", "skip_sharp", "identity", "careful"),
)
def faces(
    inputs: Annotated[
        list[str], typer.Argument(help="The picture to search; for a page, several, or folders.")
    ],
    options: Options,
    output: Annotated[
        Path | None,
        flag(
            "output",
            "File to write; with .html, a page of all faces to choose on. Default: NAME_faces "
            "beside the picture.",
            "-o",
        ),
    ] = None,
    model_path: Annotated[
        str | None,
        flag("model_path", "Model file or name: the page also shows the faces restored.", "-m"),
    ] = None,
    person: Person = None,
    not_person: NotPerson = None,
    embedder: EmbedderFile = None,
    detector: DetectorName = DETECTORS[0],
    weights_dir: WeightsDir = None,
    accept_license: AcceptLicense = False,
    recursive: Annotated[
        bool, flag("recursive", "For a page: also search subfolders.", "-r")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Draw the faces found, with their numbers, or make a page to choose on.

    The numbers are those that `gpen restore --keep` takes; what is saved on the page is for
    `gpen restore --choices`.
    """
    from ..faces.detector import load_detector
    from ..models.load import load_model
    from ..run import Run, Tools
    from .fetch import fetch_missing, find_model
    from .people import People, with_people

    page = output is not None and output.suffix.lower() in _PAGES
    _refuse_without_page(page, inputs, model_path=model_path, recursive=recursive or None)
    if accept_license:
        fetch_missing((detector,), weights_dir)
    model = None if model_path is None else load_model(find_model(model_path, accept_license))
    tools = Tools(model, load_detector(detector, weights_dir=weights_dir))
    people = People(person or (), not_person or (), embedder)
    tools = with_people(tools, options, people)
    run = Run(tools, options)
    if page:
        assert output is not None
        _write_page(inputs, output, run, recursive=recursive, overwrite=overwrite)
    else:
        _draw(Path(inputs[0]), output, run, overwrite=overwrite)


def _refuse_without_page(page: bool, inputs: list[str], **given: object) -> None:
    if page:
        return
    if len(inputs) > 1 or Path(inputs[0]).is_dir():
        raise InputError("Several pictures need a page: give --output NAME.html.")
    for name, value in given.items():
        if value is not None:
            raise InputError(f"--{name} is for a page; give --output NAME.html.")


def _draw(picture: Path, output: Path | None, run: Run, *, overwrite: bool) -> None:
    """One picture with its faces drawn in."""
    from ..batch.targets import FACES, sibling
    from ..faces.draw import draw_faces
    from ..images.picture import Picture
    from ..images.read import read_picture
    from ..images.write import check_writable, write_picture

    target = check_writable(output or sibling(picture, FACES), overwrite)
    original = read_picture(picture)
    found = run.find(original.pixels[None]).everyone
    drawn = Picture(draw_faces(original.pixels, found), icc=original.icc)
    write_picture(target, drawn, overwrite=overwrite)
    typer.echo(f"{counted(len(found), 'face')}: {shown(target)}")


def _write_page(
    inputs: list[str], output: Path, run: Run, *, recursive: bool, overwrite: bool
) -> None:
    """All faces of some pictures on one page."""
    from ..batch.inputs import find_inputs
    from ..batch.page import sections_of, write_page
    from ..films.formats import is_film
    from ..images.write import check_place

    check_place(output, overwrite)
    found = find_inputs(inputs, recursive=recursive)
    skipped = [*found.skipped]
    skipped += [(one.path, "a film") for one in found.sources if is_film(one.path)]
    for path, reason in skipped:
        say(f"Skipped: {shown(path)} ({reason})")
    paths = [one.path for one in found.sources if not is_film(one.path)]
    sections = []
    for section in sections_of(paths, run):
        said = section.error or f"{shown(section.path)}: {counted(len(section.rows), 'face')}"
        say(said if section.error is None else f"Failed: {said}")
        sections.append(section)
    hint = "Then: gpen restore PICTURES --choices choices.json"
    write_page(output, sections, hint=hint, overwrite=overwrite)
    total = sum(len(section.rows) for section in sections)
    typer.echo(f"{counted(total, 'face')}: {shown(output)}")
    if sections and all(section.error for section in sections):
        raise typer.Exit(2)
    if any(section.error for section in sections):
        raise typer.Exit(1)
