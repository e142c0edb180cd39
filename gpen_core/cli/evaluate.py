"""`gpen evaluate`: a model's figures on faces with a known answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..errors import InputError, MissingDependencyError
from ..options import TEMPLATES
from .arguments import Device, Overwrite, Precision, flag
from .console import bars

if TYPE_CHECKING:
    from ..dataset.sources import Face, Selection
    from ..evaluation.compare import Figures, Options
    from ..metrics.catalogue import Measure
    from ..models.model import Model

_WIDTH = 110  # of the tables, where no terminal says its own


def evaluate(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] FOLDER",
            help="A model (the embedded one unless given) and a folder of aligned faces.",
        ),
    ],
    preset: Annotated[
        list[str] | None,
        flag(
            "preset",
            "Kinds of damage, separated by commas: mild, medium, severe, old-photo, wild, "
            "reposted, old-print. Default: medium.",
            "-p",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        flag(
            "metrics",
            "Metrics, separated by commas: psnr, ssim, ... Default: all whose files are here.",
        ),
    ] = None,
    seed: Annotated[int, flag("seed", "Seed of the damage.")] = 0,
    limit: Annotated[
        int | None, flag("limit", "Use at most this many faces, spread evenly over all.", "-n")
    ] = None,
    holdout: Annotated[
        bool, flag("holdout", "Use only the faces that training keeps for validation.")
    ] = False,
    config: Annotated[
        Path | None, flag("config", "Training config that chooses the held-out faces.")
    ] = None,
    sources: Annotated[
        list[str] | None, flag("sources", "Use only these sources, separated by commas.")
    ] = None,
    faces: Annotated[str, flag("faces", "Alignment of the pictures: ffhq or gpen.")] = "ffhq",
    rim: Annotated[
        float | None,
        flag(
            "rim",
            "Share of a picture's side that lies outside the template. Default: as in training.",
        ),
    ] = None,
    json_file: Annotated[Path | None, flag("json", "Write the figures to this file.")] = None,
    sheet: Annotated[
        Path | None, flag("sheet", "Write a picture of some faces: degraded, restored, truth.")
    ] = None,
    rows: Annotated[int, flag("rows", "Number of faces on the sheet.")] = 8,
    worst: Annotated[
        Path | None,
        flag("worst", "Write sheets of the ten worst faces by each metric into this folder."),
    ] = None,
    device: Device = "auto",
    precision: Precision = "fp32",
    batch_size: Annotated[int, flag("batch_size", "Faces at a time.")] = 4,
    threads: Annotated[int | None, flag("threads", "CPU threads of PyTorch.")] = None,
    lpips_weights: Annotated[
        Path | None,
        flag("lpips_weights", "File of the LPIPS weights. Default: that of the installed wheel."),
    ] = None,
    identity_weights: Annotated[
        Path | None, flag("identity_weights", "The same for identity.")
    ] = None,
    niqe_weights: Annotated[Path | None, flag("niqe_weights", "The same for NIQE.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure how well a model restores faces.

    Damages good faces, restores them and compares the results with the originals, beside the
    damaged faces as they are and sharpened. LPIPS, identity and NIQE need files of their own, see
    docs/evaluation.md.
    """
    model_name, folder = _paths(paths)
    _check_outputs(json_file, sheet, overwrite)
    if worst is not None and worst.exists() and not overwrite:
        raise InputError(f"{worst} exists already; give another name or --overwrite.")
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    shown = max(1, rows) if sheet is not None else 0
    chosen, options = _asked(
        {
            "folder": folder,
            "template": faces,
            "rim": rim,
            "holdout": holdout,
            "config": config,
            "sources": tuple(_split(sources or [])),
            "limit": limit,
        },
        {"seed": seed, "batch_size": batch_size, "shown": shown},
        _split(preset or ["medium"]),
    )
    from ..evaluation.faces import count_enlarged
    from ..evaluation.report import report
    from ..metrics.catalogue import find_metrics
    from ..models.load import load_model

    model = load_model(model_name, device=device, precision=precision)
    names = None if metrics is None else _split([metrics])
    given = {"lpips": lpips_weights, "identity": identity_weights, "niqe": niqe_weights}
    files = {name: path for name, path in given.items() if path is not None}
    found = find_metrics(names, model.output_size, model.device, files)
    figures = _run(model, chosen, found.measures, options)
    content = report(figures, model, options) | {
        "enlarged": count_enlarged(figures.faces, model.output_size),
        "absent": found.absent,
    }
    _give(content, figures, json_file, sheet)
    if worst is not None:
        _give_worst(figures, model, options, worst)


def _paths(paths: list[str]) -> tuple[str | None, Path]:
    """(model or None, folder)."""
    if len(paths) > 2:
        raise InputError(f"Give a model and a folder, or a folder alone, not {len(paths)} names.")
    return (paths[0] if len(paths) == 2 else None), Path(paths[-1])


def _split(values: list[str]) -> list[str]:
    """`["a,b", "c"]` -> `["a", "b", "c"]`, each once."""
    names = [name.strip() for value in values for name in value.split(",")]
    return list(dict.fromkeys(name for name in names if name))


def _check_outputs(json_file: Path | None, sheet: Path | None, overwrite: bool) -> None:
    """Find out before the work that a result cannot be written."""
    if json_file is not None and json_file.exists() and not overwrite:
        raise InputError(f"{json_file} exists already; give another name or --overwrite.")
    if sheet is not None:
        from ..images.write import check_writable

        check_writable(sheet, overwrite)


def _asked(
    choice: dict[str, Any], options: dict[str, Any], presets: list[str]
) -> tuple[list[Face], Options]:
    """The faces and the options, checked."""
    from ..evaluation.compare import Options
    from ..evaluation.faces import Choice

    if choice["template"] not in TEMPLATES:
        raise InputError(f"--faces is ffhq or gpen, not {choice['template']!r}.")
    rim = choice["rim"]
    if rim is not None and not 0 <= rim < 0.5:
        raise InputError(f"--rim is a share from 0 to 0.5, not {rim}.")
    rule = _rule(choice.pop("config"))
    asked = Options(tuple(presets), **options)
    return Choice(**choice, rule=rule).faces(), asked


def _rule(config: Path | None) -> Selection | None:
    """Which faces a training config selects; reading one needs what training needs."""
    if config is None:
        return None
    try:
        from ..training.config import read_config
    except ImportError as error:
        raise MissingDependencyError(
            f"--config needs the package {error.name!r}; install it with: pip install 'gpen[train]'"
        ) from error
    return read_config(config).data.selection()


def _run(
    model: Model, faces: list[Face], measures: dict[str, Measure], options: Options
) -> Figures:
    from ..evaluation.compare import compare

    with bars() as bar:
        task = bar.add_task("faces", total=len(faces))
        return compare(model, faces, measures, options, lambda done: bar.advance(task, done))


def _give(
    content: dict[str, Any], figures: Figures, json_file: Path | None, sheet: Path | None
) -> None:
    from ..evaluation.sheet import draw_sheet
    from ..files import write_json
    from ..images.picture import Picture
    from ..images.write import write_picture

    _print(content)
    if json_file is not None:
        write_json(json_file, content | {"command": ["gpen", *sys.argv[1:]]}, overwrite=True)
        typer.echo(f"Written: {json_file}")
    if sheet is not None:
        write_picture(sheet, Picture(draw_sheet(figures.shown)), overwrite=True)
        typer.echo(f"Written: {sheet}")


def _give_worst(figures: Figures, model: Model, options: Options, folder: Path) -> None:
    from ..evaluation.worst import worst_sheets
    from ..files import make_folder
    from ..images.picture import Picture
    from ..images.write import write_picture

    make_folder(folder)
    for (damage, name), picture in worst_sheets(model, figures, options).items():
        write_picture(folder / f"{damage}-{name}.png", Picture(picture), overwrite=True)
    typer.echo(f"Written: {folder}")


def _print(content: dict[str, Any]) -> None:
    from ..evaluation.report import heads, rows, tables

    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    for damage in content["presets"]:
        title = (
            f"{content['model']['name']}, {content['model']['size']} px: {damage}, "
            f"{content['faces']} faces, seed {content['seed']}"
        )
        for names in tables(content):
            table = Table(title=title, title_justify="left")
            for index, head in enumerate(heads(names)):
                table.add_column(head, justify="right" if index else "left")
            lines = rows(content, damage, names)
            for index, row in enumerate(lines):
                table.add_row(*row, end_section=index == len(lines) - 4)
            console.print(table)
    if enlarged := content["enlarged"]:
        size = content["model"]["size"]
        typer.echo(f"{enlarged} of the originals were enlarged to {size} px, so they are soft.")
