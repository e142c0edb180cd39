"""`gpen restore`: pictures in, pictures with restored faces out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ..errors import InputError
from ..files import shown
from ..options import (
    DetectOptions,
    FilmOptions,
    GateOptions,
    MaskOptions,
    ModelOptions,
    Options,
    PasteOptions,
    RestoreOptions,
    SelectOptions,
    TrackOptions,
)
from .arguments import EmbedderFile, NotPerson, Person, flag, with_fields, with_options
from .people import People
from .work import Special, Work, do, refuse_both


@with_options(
    ModelOptions,
    DetectOptions,
    SelectOptions,
    GateOptions,
    RestoreOptions,
    MaskOptions,
    PasteOptions,
    TrackOptions,
    template=True,
)
@with_fields(Work, "work")
def restore(
    work: Work,
    options: Options,
    size: Annotated[
        int | None,
        flag("size", "Expected face size of the model in pixels; stops if the model has another."),
    ] = None,
    face_align: Annotated[
        bool, flag("face_align", "Find and align the faces (the default).")
    ] = False,
    user_mask: Annotated[
        Path | None,
        flag(
            "user_mask",
            "Mask of any size: faces are not pasted where it is black. Or a folder of them.",
        ),
    ] = None,
    choices: Annotated[
        Path | None,
        flag("choices", "Restore the faces chosen on the page that gpen faces makes; its file."),
    ] = None,
    person: Person = None,
    not_person: NotPerson = None,
    embedder: EmbedderFile = None,
    codec: Annotated[
        str | None,
        flag("codec", "Codec of films: h264, hevc, ffv1 and so on. Default: that of the input."),
    ] = None,
    frames: Annotated[
        str | None, flag("frames", "Frames of a film to restore, such as 100-250. Default: all.")
    ] = None,
    every_frame_as: Annotated[
        str | None,
        flag(
            "every_frame_as",
            "Write each frame of a film as a picture (png, tif or jpg), into a folder.",
        ),
    ] = None,
) -> None:
    """Restore the faces in pictures."""
    refuse_both(face_align and work.aligned, "--face_align", "--aligned")
    refuse_both(options.select.skip_sharp and work.aligned, "--skip_sharp", "--aligned")
    refuse_both(codec is not None and every_frame_as is not None, "--codec", "--every_frame_as")
    people = People(person or (), not_person or (), embedder)
    _refuse_for_crops(options, work, people=bool(people), choices=choices is not None)
    film = FilmOptions(every_frame_as, codec, work.quality, _first_and_last(frames))
    mask = None if user_mask is None else (user_mask, "user_mask")
    do(work, options, Special(mask, film, size, people, choices))


def _first_and_last(frames: str | None) -> tuple[int, int] | None:
    """`100-250` as numbers."""
    if frames is None:
        return None
    first, dash, last = frames.partition("-")
    if not (first.isascii() and first.isdigit() and dash and last.isascii() and last.isdigit()):
        raise InputError(f"--frames must be two numbers such as 100-250, not {shown(frames)!r}.")
    if int(first) > int(last):
        raise InputError(f"--frames {frames} ends before it begins; swap the numbers.")
    return int(first), int(last)


def _refuse_for_crops(options: Options, work: Work, *, people: bool, choices: bool) -> None:
    """What chooses among the faces of a picture has none to choose from in a ready crop."""
    refuse_both(options.gate.only_below is not None and work.aligned, "--only_below", "--aligned")
    refuse_both(options.gate.careful and work.aligned, "--careful", "--aligned")
    refuse_both(people and work.aligned, "--person", "--aligned")
    refuse_both(choices and work.aligned, "--choices", "--aligned")
