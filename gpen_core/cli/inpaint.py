"""`gpen inpaint`: pictures with holes in their faces in, whole ones out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from ..errors import InputError
from ..options import CHANGED, Options
from .arguments import OF_PICTURES, flag, with_fields, with_options
from .work import Special, Work, do


@with_options(
    *OF_PICTURES,
    template=True,
    leave_out=("skip_sharp", "color_match", "small_face_filter"),
    changed=CHANGED["inpaint"],
)
@with_fields(Work, "work")
def inpaint(
    work: Work,
    options: Options,
    hole: Annotated[
        Path | None,
        flag(
            "hole",
            "Mask of the picture, white where it is to be drawn anew. Or a folder of them.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draw what is missing of the faces in pictures.

    Everything outside of the hole stays as it is, bit for bit.
    """
    if hole is None:
        raise InputError("--hole is missing; give a mask, white where the picture is to be filled.")
    do(work, replace(options, purpose="inpaint"), Special((hole, "hole")))
