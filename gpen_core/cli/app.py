"""The command `gpen`, and `run_gpen.py`: one module for each command, joined here.

Exit codes: 0 everything done, 1 some pictures failed, 2 nothing could be done as asked.
"""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer
from rich.logging import RichHandler

from ..errors import GPENError, InputError, OutOfMemory
from ..files import shown
from ..memory.process import prepare_memory
from ..memory.shortage import is_out_of_memory
from .archive import app as archive
from .bench import SpacedValues, bench
from .colorize import colorize
from .console import complain, console, say
from .convert import convert
from .evaluate import evaluate
from .export import export
from .faces import faces
from .inpaint import inpaint
from .inspect import inspect
from .models import app as models
from .pack_faces import pack_faces
from .paint import paint
from .restore import restore
from .train import train

log = logging.getLogger(__name__)

_INTERRUPTED = 130  # what shells report for Ctrl-C

app = typer.Typer(
    name="gpen",
    help="Restore faces in photographs with GPEN.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _configure(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print what is done in more detail.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=console, show_time=False, show_path=False)],
        force=True,
    )


_PICTURES = (restore, colorize, inpaint, paint, faces)
_MODELS = (inspect, convert, export, train, evaluate)

for command in (*_PICTURES, *_MODELS):
    app.command()(command)
app.command(name="pack-faces")(pack_faces)
app.command(cls=SpacedValues)(bench)
app.add_typer(archive, name="archive")
app.add_typer(models, name="models")


def run(arguments: list[str]) -> int:
    """Run the command; a user's error is one line and exit code 2."""
    try:
        app(arguments)
    except SystemExit as stop:  # how click reports usage errors, and how typer ends a command
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except GPENError as error:
        complain(error)
        return 2
    except OSError as error:
        log.debug("The file system refused.", exc_info=True)
        complain(_of_the_file_system(error))
        return 2
    except KeyboardInterrupt:
        say("Stopped.")
        return _INTERRUPTED
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        complain(OutOfMemory("Not enough memory; use less at once, or close other programs."))
        return 2
    return 0


def _of_the_file_system(error: OSError) -> InputError:
    """A name that is too long, a folder that may not be read, a disk that is gone."""
    name = "" if error.filename is None else f"{shown(str(error.filename))[:200]}: "
    return InputError(f"{name}{error.strerror or error}; give another path.")


def main() -> None:
    """The installed command `gpen`."""
    prepare_memory()
    sys.exit(run(sys.argv[1:]))


def run_gpen(arguments: list[str] | None = None) -> int:
    """`run_gpen.py`: `gpen restore`, for ready crops unless `--face_align` is given."""
    if arguments is None:
        prepare_memory()
        arguments = sys.argv[1:]
    arguments = list(arguments)
    aligning = {"--face_align", "--face-align", "--aligned", "--help", "-h"}
    if not aligning.intersection(arguments):
        arguments.append("--aligned")
    return run(["restore", *arguments])
