"""`gpen faces`: a picture with the faces found drawn in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..files import shown
from ..options import DETECTORS, DetectOptions, Options, SelectOptions
from ..text import counted
from .arguments import AcceptLicense, Overwrite, WeightsDir, flag, with_options


@with_options(DetectOptions, SelectOptions, leave_out=("keep", "skip_sharp"))
def faces(
    picture: Annotated[Path, typer.Argument(help="The picture to search.")],
    options: Options,
    output: Annotated[
        Path | None, flag("output", "File to write. Default: NAME_faces beside the picture.", "-o")
    ] = None,
    detector: Annotated[
        str, flag("detector", f"Face detector. One of {', '.join(DETECTORS)}.")
    ] = DETECTORS[0],
    weights_dir: WeightsDir = None,
    accept_license: AcceptLicense = False,
    overwrite: Overwrite = False,
) -> None:
    """Draw the faces found, with their numbers.

    The numbers are those that `gpen restore --keep` takes.
    """
    from ..batch.targets import FACES, sibling
    from ..faces.detect import load_detector
    from ..faces.draw import draw_faces
    from ..images.picture import Picture
    from ..images.read import read_picture
    from ..images.write import check_writable, write_picture
    from ..run import Run, Tools
    from .fetch import fetch_missing

    target = check_writable(output or sibling(picture, FACES), overwrite)
    original = read_picture(picture)
    if accept_license:
        fetch_missing((detector,), weights_dir)
    run = Run(Tools(detector=load_detector(detector, weights_dir=weights_dir)), options)
    found = run.find(original.pixels[None]).everyone
    drawn = Picture(draw_faces(original.pixels, found), icc=original.icc)
    write_picture(target, drawn, overwrite=overwrite)
    typer.echo(f"{counted(len(found), 'face')}: {shown(target)}")
