"""The aligned crops of a picture's faces, before and after, as files of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath

from ..errors import InputError
from ..files import shown
from ..images.layouts import from_network
from ..images.picture import Picture
from ..images.write import check_writable, write_picture
from ..run import Restored

_STEM = re.compile(r".*_face\d+_(before|after)", re.DOTALL)


@dataclass(frozen=True)
class SavedCrops:
    """Where the crops of one face are; one entry of the report.

    Attributes:
        face: its index in the report.
        before: file of what the network got.
        after: file of what it made.
    """

    face: int
    before: str
    after: str


def is_crop(path: PurePath) -> bool:
    """Whether a file is named as a crop of an earlier run.

    Example:
        >>> is_crop(Path("one_face0_before.png")), is_crop(Path("face_before.png"))
        (True, False)
    """
    return _STEM.fullmatch(path.stem) is not None


def crop_files(base: Path, face: int) -> tuple[Path, Path]:
    """`folder/one.png`, 2 -> `folder/one_face2_before.png` and `folder/one_face2_after.png`."""
    return tuple(  # type: ignore[return-value]
        base.with_name(f"{base.stem}_face{face}_{which}{base.suffix}")
        for which in ("before", "after")
    )


def check_crops(base: Path, faces: list[int], *, overwrite: bool) -> None:
    """Refuse before anything is written what would replace a file.

    Raises:
        InputError: a crop's file exists (without `overwrite`) or cannot be written.
    """
    for face in faces:
        for path in crop_files(base, face):
            check_writable(path, overwrite)


def save_crops(
    result: Restored, picture: Picture, base: Path, *, overwrite: bool, quality: int | None
) -> list[SavedCrops]:
    """Write the crops of every face restored, in the order of their indices.

    Args:
        result: with its crops kept.
        picture: of the faces; gray, color profile and depth are its own.
        base: names the files, see `crop_files`.
        overwrite: replace files that exist.
        quality: of JPEG, WebP and AVIF.

    Raises:
        InputError: the crops were not kept, or a file cannot be written.
    """
    faces = result.faces
    if len(faces) and (faces.crops is None or faces.restored is None):
        raise InputError(f"The crops of {shown(base)} were not kept; set keep_crops.")
    check_crops(base, list(result.indices), overwrite=overwrite)
    saved = []
    for place, face in sorted(enumerate(result.indices), key=lambda pair: pair[1]):
        files = crop_files(base, face)
        for path, crops in zip(files, (faces.crops, faces.restored), strict=True):
            assert crops is not None
            pixels = from_network(crops[place : place + 1].float().cpu())[0]
            crop = Picture(pixels, gray=picture.gray, bits=picture.bits, icc=picture.icc)
            write_picture(path, crop, overwrite=overwrite, quality=quality)
        saved.append(SavedCrops(face, *(str(path) for path in files)))
    return saved
