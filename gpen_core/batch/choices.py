"""Choices: which faces of which pictures somebody has chosen, as a file.

`gpen faces` makes a page to choose on; what is saved there comes back here. Pictures are known by
their name and content, faces by where they are, so numbers may change with other options.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..faces.boxes import overlaps
from ..files import sha256, shown
from ..run import Found

KIND, VERSION = "gpen choices", 1
"""What such a file says of itself."""

NOT_CHOSEN = "not chosen"
"""Why a face is left as it is."""

# Boxes of two searches that share so much are one face.
_SAME = 0.5
_LARGEST = 64 << 20

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Chosen:
    """The choice in one picture.

    Attributes:
        name: of the file, without its folder.
        sha256: of the file.
        boxes: of the faces to restore, `x0, y0, x1, y1` in pixels.

    Example:
        >>> Chosen("one.jpg", "0" * 64, ((8.0, 8.0, 40.0, 48.0),)).name
        'one.jpg'
    """

    name: str
    sha256: str
    boxes: tuple[Box, ...] = ()

    def applied(self, found: Found) -> tuple[Found, int]:
        """What was found in the picture, the others left alone; and how many are not there.

        Args:
            found: in this picture alone.
        """
        everyone = found.everyone.boxes.cpu()
        wanted = torch.tensor(self.boxes).view(-1, 4)
        shared = overlaps(torch.cat([wanted, everyone]))[: len(wanted), len(wanted) :]
        taken, missing = set[int](), 0
        for row in shared:
            face = int(row.argmax()) if len(row) else -1
            if face < 0 or float(row[face]) < _SAME:
                missing += 1
            else:
                taken.add(face)
        chosen = [face for face in found.chosen if face in taken]
        left = dict(found.left) | {face: NOT_CHOSEN for face in found.chosen if face not in taken}
        return replace(found, chosen=chosen, left=left), missing


@dataclass(frozen=True)
class Choices:
    """A file of choices.

    Attributes:
        path: of the file.
        pictures: by their names; several may have one.

    Example:
        >>> Choices(Path("choices.json")).of(Path("one.jpg"))
        Traceback (most recent call last):
        gpen_core.errors.InputError: one.jpg is not in choices.json; make the page again with it.
    """

    path: Path
    pictures: dict[str, tuple[Chosen, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Choices:
        """From a file that the page saved.

        Raises:
            InputError: it cannot be read, or is no such file.
        """
        try:
            if path.stat().st_size > _LARGEST:
                raise InputError(f"{shown(path)} is too large for a file of choices.")
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            reason = error.strerror or "no such file"
            raise InputError(
                f"{shown(path)} cannot be read: {reason}.", option="choices"
            ) from error
        except (ValueError, RecursionError) as error:
            raise _wrong(path, "it is no JSON") from error
        if not isinstance(content, dict) or content.get("kind") != KIND:
            raise _wrong(path, "save it on the page that gpen faces makes")
        if content.get("version") != VERSION:
            raise _wrong(path, f"its version is {content.get('version')!r}, not {VERSION}")
        listed = content.get("pictures")
        if not isinstance(listed, list):
            raise _wrong(path, "it lists no pictures")
        pictures: dict[str, tuple[Chosen, ...]] = {}
        for one in (_chosen(path, entry) for entry in listed):
            pictures[one.name] = (*pictures.get(one.name, ()), one)
        return cls(path, pictures)

    def of(self, picture: Path) -> Chosen:
        """The choice in a picture.

        Raises:
            InputError: it is not among the pictures chosen from, or has changed since.
        """
        named = self.pictures.get(picture.name, ())
        if not named:
            raise InputError(
                f"{shown(picture.name)} is not in {shown(self.path.name)}; make the page again "
                f"with it.",
                option="choices",
            )
        found = sha256(picture)
        for one in named:
            if one.sha256 == found:
                return one
        raise InputError(
            f"{shown(picture.name)} has changed since its faces were chosen; make the page again.",
            option="choices",
        )


def _chosen(path: Path, entry: Any) -> Chosen:
    """One picture of the file."""
    if not isinstance(entry, dict):
        raise _wrong(path, "a picture is no object")
    name, digest, boxes = (entry.get(key) for key in ("name", "sha256", "faces"))
    if not isinstance(name, str) or not isinstance(digest, str) or not isinstance(boxes, list):
        raise _wrong(path, "a picture lacks its name, sha256 or faces")
    return Chosen(name, digest, tuple(_box(path, box) for box in boxes))


def _box(path: Path, box: Any) -> Box:
    numbers = isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))
    if not numbers:
        raise _wrong(path, "a face is not a box of four numbers")
    x0, y0, x1, y1 = map(float, box)
    return x0, y0, x1, y1


def _is_number(value: Any) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and abs(value) < 1e7  # and no NaN


def _wrong(path: Path, why: str) -> InputError:
    return InputError(f"{shown(path)} is no file of choices: {why}.", option="choices")
