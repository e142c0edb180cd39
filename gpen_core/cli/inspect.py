"""`gpen inspect`: what a model file is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def inspect(file: Annotated[Path, typer.Argument(help="A model file of any kind.")]) -> None:
    """Show what a model file is.

    Format, architecture, task, size, width, number of parameters, template and license.
    """
    from ..models.convert import inspect as inspect_file

    typer.echo(str(inspect_file(file)))
