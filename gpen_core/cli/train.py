"""`gpen train`: a progress bar around the training loop."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def train(
    config: Annotated[Path, typer.Argument(help="A YAML file; see docs/training.md.")],
) -> None:
    """Train a model on your own faces.

    Needs: pip install 'gpen[train]'

    On several GPUs: accelerate launch -m gpen_core train CONFIG.yaml
    """
    from ..training import train as run_training

    if int(os.environ.get("RANK", "0")):  # one of several processes, and not the main one
        logging.getLogger().setLevel(logging.ERROR)
        run_training(config)
        return
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None, visible=False)

        def watch(step: int, steps: int, losses: dict[str, float]) -> None:
            shown = f"loss {losses['loss']:.4g}" if losses else ""
            bar.update(task, completed=step, total=steps, description=shown, visible=True)

        folder = run_training(config, watch)
    typer.echo(f"Run: {folder}")
