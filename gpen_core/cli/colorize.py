"""`gpen colorize`: gray pictures in, pictures with colored faces out."""

from __future__ import annotations

from dataclasses import replace

from ..options import CHANGED, Options
from .arguments import OF_PICTURES, with_fields, with_options
from .work import Special, Work, do


@with_options(
    *OF_PICTURES,
    template=True,
    leave_out=("skip_sharp", "color_match", "small_face_filter", "grain"),
    changed=CHANGED["colorize"],
)
@with_fields(Work, "work")
def colorize(work: Work, options: Options) -> None:
    """Color the faces in pictures.

    Brightness stays that of the picture, at its full size; what lies around the faces stays gray,
    or, with --background, has the colors of a picture that was colored by other means.
    """
    do(work, replace(options, purpose="colorize"), Special())
