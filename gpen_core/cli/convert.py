"""`gpen convert`: a model file as safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import PRECISIONS, TASKS
from .arguments import Overwrite, flag

_AUTO = PRECISIONS[0]
TASK_HELP = (
    f"Written as what the model is for. One of {', '.join(TASKS)}. Default: what is known of it."
)


def convert(
    source: Annotated[Path, typer.Argument(help="A .pth, .pt, .onnx or .safetensors file.")],
    target: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    precision: Annotated[
        str,
        flag(
            "precision", f"Stored precision: {', '.join(PRECISIONS)}. auto keeps that of the file."
        ),
    ] = _AUTO,
    task: Annotated[str | None, flag("task", TASK_HELP)] = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert a model file to safetensors."""
    from ..models.convert import convert as convert_file

    kept = None if precision == _AUTO else precision
    convert_file(source, target, precision=kept, task=task, overwrite=overwrite)
    typer.echo(f"Written: {target}")
