"""The command `gpen`, and `run_gpen.py`: thin callers of the pipeline.

Exit codes: 0 everything done, 1 some pictures failed, 2 nothing could be done as asked.
"""

from __future__ import annotations

import json
import logging
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler

from ..errors import GPENError, InputError
from .bench import SpacedValues, bench
from .evaluate import evaluate
from .export import export
from .models import app as models
from .train import train

console = Console(stderr=True)
app = typer.Typer(
    name="gpen",
    help="Restore faces in photographs with GPEN.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Precision(str, Enum):
    auto = "auto"
    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


class Template(str, Enum):
    gpen = "gpen"
    ffhq = "ffhq"


class Sort(str, Enum):
    area = "area"
    confidence = "confidence"
    left_right = "left-right"
    top_bottom = "top-bottom"
    center = "center"


class Mask(str, Enum):
    rectangle = "rectangle"
    ellipse = "ellipse"
    hull = "hull"
    parsing = "parsing"


class DetectorName(str, Enum):
    mtcnn = "mtcnn"
    resnet50 = "retinaface-resnet50"
    mobile = "retinaface-mobile0.25"


def _names(name: str, *more: str) -> list[str]:
    """Both spellings of an option, `--model_path` and `--model-path`."""
    return [f"--{name}", *([f"--{name.replace('_', '-')}"] if "_" in name else []), *more]


def _option(name: str, text: str, *more: str, **keywords: Any) -> Any:
    return typer.Option(*_names(name, *more), help=text, **keywords)


@app.callback()
def _configure(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    handler = RichHandler(console=console, show_time=False, show_path=False)
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(message)s",
        handlers=[handler],
        force=True,
    )
    if version:
        from .. import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command()
def restore(
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Pictures, folders or globs.", show_default=False)
    ] = None,
    input_: Annotated[
        list[str] | None, _option("input", "The same, as an option.", "-i", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, _option("output", "File or folder; default NAME_restored beside it.", "-o")
    ] = None,
    model_path: Annotated[
        str | None, _option("model_path", "Model file or name; default the embedded one.", "-m")
    ] = None,
    size: Annotated[
        int | None, _option("size", "Face size in pixels; must be the model's own.")
    ] = None,
    face_align: Annotated[
        bool, typer.Option(*_names("face_align"), help="Find and align the faces (the default).")
    ] = False,
    aligned: Annotated[bool, _option("aligned", "The pictures are ready face crops.")] = False,
    no_check: Annotated[
        bool, _option("no_check", "Do not check that ready crops are one centerd face.")
    ] = False,
    strength: Annotated[
        float, _option("strength", "0 keeps the input, 1 takes the restored face.")
    ] = 1.0,
    upscale: Annotated[int, _option("upscale", "Enlarge the picture 1, 2 or 4 times.")] = 1,
    background: Annotated[
        Path | None, _option("background", "The picture already enlarged, to paste into.")
    ] = None,
    detector: Annotated[DetectorName, _option("detector", "Face detector.")] = DetectorName.mtcnn,
    confidence: Annotated[float, _option("confidence", "Least confidence of a face, 0..1.")] = 0.9,
    min_size: Annotated[
        float | None, _option("min_size", "Least short side of a face, pixels.")
    ] = None,
    max_size: Annotated[
        float | None, _option("max_size", "Largest short side of a face, pixels.")
    ] = None,
    rotations: Annotated[
        bool, _option("rotations", "Look again in 90-degree turns where nothing was found.")
    ] = False,
    long_side: Annotated[
        int, _option("long_side", "Larger pictures are searched at this size; raise for crowds.")
    ] = 1280,
    sort: Annotated[Sort, _option("sort", "Order of the faces, for --keep.")] = Sort.area,
    keep: Annotated[str, _option("keep", 'Faces to restore: "all", "largest", "0,2".')] = "all",
    template: Annotated[
        Template | None, _option("template", "Alignment; default the model's own.")
    ] = None,
    mask: Annotated[Mask, _option("mask", "Shape of the pasted region.")] = Mask.rectangle,
    exclude: Annotated[
        str | None, _option("exclude", "Parsing classes left as they were: eyes,mouth,glasses,...")
    ] = None,
    feather: Annotated[float | None, _option("feather", "Soft edge, pixels of the crop.")] = None,
    user_mask: Annotated[
        Path | None, _option("user_mask", "Gray picture; black parts stay as they were.")
    ] = None,
    small_face_filter: Annotated[
        bool, _option("small_face_filter", "Smooth faces under 100 px before pasting.")
    ] = False,
    color_match: Annotated[
        float, _option("color_match", "Take the input's broad colors, 0..1.")
    ] = 0.0,
    device: Annotated[str, _option("device", "auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[Precision, _option("precision", "Arithmetic.")] = Precision.auto,
    batch_size: Annotated[int, _option("batch_size", "Faces in one pass of the network.")] = 4,
    seed: Annotated[int, _option("seed", "Noise of super-resolution models.")] = 0,
    weights_dir: Annotated[
        Path | None, _option("weights_dir", "Folder of detector and parser weights.")
    ] = None,
    accept_license: Annotated[
        bool,
        _option("accept_license", "Download weights that are missing, accepting their licenses."),
    ] = False,
    compare: Annotated[
        bool, _option("compare", "Also write NAME_compare: before | after.")
    ] = False,
    report: Annotated[Path | None, _option("report", "Write what happened as JSON.")] = None,
    overwrite: Annotated[bool, _option("overwrite", "Replace files that exist.")] = False,
) -> None:
    """Restore the faces of pictures."""
    from . import restore as cli_restore

    if face_align and aligned:
        raise InputError("--face_align and --aligned exclude each other; give one.")
    request = cli_restore.Request(
        inputs=[*(inputs or []), *(input_ or [])],
        output=output,
        model=model_path,
        size=size,
        aligned=aligned,
        check=not no_check,
        background=background,
        user_mask=user_mask,
        device=device,
        precision=precision.value,
        detector=detector.value,
        weights_dir=weights_dir,
        accept_license=accept_license,
        compare=compare,
        report=report,
        overwrite=overwrite,
    )
    options = cli_restore.build_options(
        detect={
            "confidence": confidence,
            "min_size": min_size,
            "max_size": max_size,
            "rotations": rotations,
            "long_side": long_side,
        },
        sort=sort.value,
        keep=keep,
        template=template.value if template else None,
        restore={"strength": strength, "batch_size": batch_size, "seed": seed},
        mask={"kind": mask.value, "exclude": exclude, "feather": feather},
        paste={
            "upscale": upscale,
            "small_face_filter": small_face_filter,
            "color_match": color_match,
        },
    )
    raise typer.Exit(cli_restore.run(request, options, console))


@app.command()
def faces(
    picture: Annotated[Path, typer.Argument(help="A picture.")],
    output: Annotated[Path | None, _option("output", "Default NAME_faces beside it.", "-o")] = None,
    detector: Annotated[DetectorName, _option("detector", "Face detector.")] = DetectorName.mtcnn,
    confidence: Annotated[float, _option("confidence", "Least confidence of a face, 0..1.")] = 0.9,
    rotations: Annotated[bool, _option("rotations", "Also try 90-degree turns.")] = False,
    sort: Annotated[Sort, _option("sort", "Order of the indices.")] = Sort.area,
    weights_dir: Annotated[
        Path | None, _option("weights_dir", "Folder of detector weights.")
    ] = None,
    accept_license: Annotated[
        bool,
        _option("accept_license", "Download weights that are missing, accepting their licenses."),
    ] = False,
    overwrite: Annotated[bool, _option("overwrite", "Replace a file that exists.")] = False,
) -> None:
    """Draw boxes, landmarks and indices of the faces found."""
    from . import restore as cli_restore

    count, written = cli_restore.draw(
        picture,
        output,
        detector.value,
        {"confidence": confidence, "rotations": rotations},
        sort.value,
        weights_dir,
        accept_license,
        overwrite,
    )
    typer.echo(f"{count} face(s): {written}")


@app.command()
def inspect(file: Annotated[Path, typer.Argument(help="A checkpoint of any kind.")]) -> None:
    """Say what a model file is."""
    from ..models.convert import inspect as inspect_file

    typer.echo(str(inspect_file(file)))


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A .pth, .pt, .onnx or .safetensors file.")],
    target: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    precision: Annotated[
        Precision, _option("precision", "Stored precision; auto keeps the file's.")
    ] = Precision.auto,
    overwrite: Annotated[bool, _option("overwrite", "Replace a file that exists.")] = False,
) -> None:
    """Convert a checkpoint to safetensors with metadata."""
    from ..models.convert import convert as convert_file

    kept = None if precision is Precision.auto else precision.value
    convert_file(source, target, precision=kept, overwrite=overwrite)
    typer.echo(f"Written: {target}")


app.add_typer(models, name="models")
app.command()(export)
app.command()(train)
app.command()(evaluate)
app.command(cls=SpacedValues)(bench)


def _guarded(arguments: list[str]) -> int:
    """Run the command; a user's error is one line and exit code 2."""
    try:
        app(arguments)
    except SystemExit as stop:  # how click reports usage errors, and how typer ends a command
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except GPENError as error:
        console.print(f"[bold red]Error:[/] {_escape(str(error))}", soft_wrap=True)
        return 2
    return 0


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def main() -> None:
    """The installed command `gpen`."""
    sys.exit(_guarded(sys.argv[1:]))


def run_gpen(arguments: list[str] | None = None) -> int:
    """`run_gpen.py`: `gpen restore`, for ready crops unless `--face_align` is given."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    aligning = {"--face_align", "--face-align", "--aligned", "--help"}
    if not aligning.intersection(arguments):
        arguments.append("--aligned")
    return _guarded(["restore", *arguments])


def write_report(path: Path, content: object, overwrite: bool) -> None:
    """Write JSON atomically.

    Raises:
        InputError: the file exists (without `overwrite`) or cannot be written.
    """
    from ..images.files import write_atomically

    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; give another name or --overwrite.")
    write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
