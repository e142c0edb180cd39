"""`gpen pack-faces`: the faces of a training config in one file, to be carried elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError, MissingDependencyError
from .arguments import Overwrite


def pack_faces(
    config: Annotated[
        Path, typer.Argument(help="Training config; its data section chooses the faces.")
    ],
    output: Annotated[Path, typer.Argument(help="File to write, such as faces.safetensors.")],
    overwrite: Overwrite = False,
) -> None:
    """Put the faces of a training config into one file.

    Training then reads that file: data.root: faces.safetensors. Needs: pip install 'gpen[train]'
    """
    try:
        from ..training.config import read_config
    except ImportError as error:
        raise MissingDependencyError(
            f"Packing needs the package {error.name!r}; install it with: pip install 'gpen[train]'"
        ) from error
    from ..dataset.sources import pack

    if output.exists() and not overwrite:
        raise InputError(f"{output} exists already; give another name or --overwrite.")
    count, size = pack(read_config(config).data.selection(), output)
    typer.echo(f"Written: {output} ({count} faces, {size / 1e6:.1f} MB)")
