"""`gpen export`: a model as an ONNX file."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .arguments import Overwrite


class ExportPrecision(str, Enum):
    fp32 = "fp32"
    fp16 = "fp16"


def export(
    model: Annotated[str, typer.Argument(help="Model file or name.")],
    target: Annotated[Path, typer.Argument(help="The .onnx file to write.")],
    precision: Annotated[
        ExportPrecision, typer.Option("--precision", help="Precision of the convolutions.")
    ] = ExportPrecision.fp32,
    batch: Annotated[
        str, typer.Option("--batch", help="Faces per call: a number, or dynamic for any number.")
    ] = "dynamic",
    overwrite: Overwrite = False,
) -> None:
    """Write a GPEN model as an ONNX file.

    The file is kept only if it gives what PyTorch gives. Needs: pip install 'gpen[onnx]'
    """
    from ..models.load import load_model
    from ..onnx.export import export as export_file

    if batch != "dynamic" and not batch.isdigit():
        raise InputError(f"--batch is a number or 'dynamic', not {batch!r}.")
    count = None if batch == "dynamic" else int(batch)
    written = export_file(load_model(model), target, precision.value, count, overwrite=overwrite)
    typer.echo(f"Written: {written.path} ({written.bytes / 1e6:.1f} MB)")
    typer.echo(f"Largest difference to PyTorch: {written.difference:.1e}")
