"""`gpen paint`: maps of a face's parts in, faces out."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from ..options import ModelOptions, Options, RestoreOptions
from .arguments import flag, with_fields, with_options
from .work import Special, Work, do

_OF_PHOTOGRAPHS = ("no_check", "background", "detector", "save_crops", "weights_dir")


@with_options(ModelOptions, RestoreOptions, leave_out=("strength",))
@with_fields(Work, "work", leave_out=("aligned", *_OF_PHOTOGRAPHS))
def paint(
    work: Work,
    options: Options,
    aligned: Annotated[
        bool, flag("aligned", "The maps are aligned, as they always have to be here.")
    ] = True,
) -> None:
    """Paint faces from maps of their parts.

    A map is a square picture in the colors of CelebAMask-HQ's demo, such as CC0000 for skin; other
    colors are taken for the nearest part, and counted.
    """
    do(replace(work, aligned=aligned), replace(options, purpose="paint"), Special())
