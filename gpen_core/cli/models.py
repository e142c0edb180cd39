"""`gpen models`: which weights there are, where they lie, and getting them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bar

from ..weights import catalogue, locate
from ..weights import download as downloads
from ..weights import verify as verification
from ..weights.transfer import Progress

app = typer.Typer(
    help="List, download and verify model files.", no_args_is_help=True, rich_markup_mode=None
)

Folder = Annotated[
    list[Path] | None,
    typer.Option(
        "--folder", "-f", help="Folder to search first; may be repeated.", show_default=False
    ),
]
Name = Annotated[str, typer.Argument(help="Name of a file, see gpen models list.")]


@app.command("list")
def list_(folder: Folder = None) -> None:
    """List the known files and where they are."""
    for listing in catalogue.list_models(tuple(folder or ())):
        entry = listing.entry
        state = "can be downloaded" if entry.urls else "no address known"
        place = str(listing.path) if listing.path else f"({state})"
        typer.echo(f"{entry.name:<30} {entry.size_text:>12}  {entry.license:<15} {place}")


@app.command()
def show(name: Name, folder: Folder = None) -> None:
    """Show all that is known about a file."""
    entry = catalogue.show(name)
    path = catalogue.find_file(entry, tuple(folder or ()))
    source = f" ({entry.sha256_source})" if entry.sha256_source else ""
    facts = {
        "name": entry.name,
        "kind": entry.kind,
        "file": entry.filename,
        "here": str(path) if path else "no",
        "bytes": str(entry.bytes or "not published"),
        "sha256": f"{entry.sha256 or 'not published; pinned at the first use'}{source}",
        "license": f"{entry.license}. {entry.terms}",
        "task": entry.task if entry.kind.startswith("gpen") else "",
        "note": entry.note or "",
        "addresses": "\n              ".join(entry.urls) or "none known",
    }
    for key, value in facts.items():
        if value:
            typer.echo(f"{key:<13} {value}")


@app.command()
def download(
    name: Name,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", "-f", help="Folder to download into.", show_default=False),
    ] = None,
    accept_license: Annotated[
        bool,
        typer.Option(
            "--accept-license", "--accept_license", help="Accept the license of the file."
        ),
    ] = False,
) -> None:
    """Download and verify a file.

    An interrupted download is resumed.
    """
    done = fetch(name, folder, accept_license)
    typer.echo(f"{'Downloaded' if done.fetched else 'Already there'}: {done.path}")
    note = " (no hash is published; this one is pinned)" if done.pinned else ""
    typer.echo(f"SHA-256: {done.sha256}{note}")


def fetch(name: str, folder: Path | None, accept_license: bool) -> downloads.Downloaded:
    """`downloads.download` with a bar on the terminal. Raises as it does."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:

        def tell(progress: Progress) -> None:
            # Made at the first byte: a refusal needs no bar.
            task = bar.task_ids[0] if bar.task_ids else bar.add_task(progress.name)
            bar.update(task, completed=progress.done, total=progress.total)

        return downloads.download(name, folder, accept_license=accept_license, progress=tell)


@app.command()
def verify(
    name: Annotated[
        str | None, typer.Argument(help="Name of a file. Default: all that are found.")
    ] = None,
    folder: Folder = None,
) -> None:
    """Compare files with their known hashes.

    Exit code 1 if a file differs from its published or pinned hash.
    """
    checks = verification.verify(name, tuple(folder or ()))
    for check in checks:
        typer.echo(f"{check.state:<8} {check.path}  {check.sha256}")
    if not checks:
        typer.echo("None of the known files was found.")
    if any(check.state == "wrong" for check in checks):
        raise typer.Exit(1)


@app.command()
def where(folder: Folder = None) -> None:
    """List the folders that are searched.

    In order of the search, and where downloads go.
    """
    for path in locate.searched_folders(tuple(folder or ())):
        typer.echo(f"{path}{'' if path.is_dir() else '  (does not exist)'}")
    typer.echo(f"Downloads go to {locate.download_folder()}")
