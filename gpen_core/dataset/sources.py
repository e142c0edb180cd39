"""Which faces a run may use: a manifest or a plain folder, who is held out, what is refused."""

from __future__ import annotations

import csv
import logging
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import InputError
from ..images.files import READABLE
from ..training.config import Data

log = logging.getLogger(__name__)
MANIFEST_RIM = 0.1


@dataclass(frozen=True)
class Face:
    """One aligned picture.

    Attributes:
        path: the file.
        source: where it comes from.
        inside: share of the picture that lies inside the photograph it was cut from, 0..1.
        person: who it shows; empty where nobody knows.
        template: how the face lies in the picture, "gpen" or "ffhq".
        rim: share of the side, on each side, that lies outside the template's square.
    """

    path: Path
    source: str
    inside: float = 1.0
    person: str = ""
    template: str = "ffhq"
    rim: float = MANIFEST_RIM


def read_faces(data: Data) -> list[Face]:
    """The faces of a manifest, in its order, or of a folder without one, by name.

    Raises:
        InputError: no folder, a manifest without what it needs, or no face is left.
    """
    if not data.root.is_dir():
        raise InputError(f"The training data's folder {data.root} does not exist; set data.root.")
    manifest = data.root / "manifest.csv"
    faces = _from_manifest(manifest, data) if manifest.is_file() else _from_folder(data)
    sources = {face.source for face in faces}
    unknown = sorted((set(data.weights) | set(data.also)) - sources - set(data.exclude))
    if unknown:
        raise InputError(
            f"data.weights or data.also names the source {unknown[0]!r}, of which no face is left; "
            f"there are {', '.join(sorted(sources))}."
        )
    if not any(data.weights.get(source, 1.0) for source in sources):
        raise InputError("data.weights gives every source the weight 0; nothing could be drawn.")
    return faces


def split(faces: Sequence[Face], data: Data) -> tuple[list[Face], list[Face]]:
    """(training, validation): the last share of every source is held out, whole people at a time.

    Where a manifest names the person, all pictures of a held-out person leave the training set,
    whatever their source. Without names the last files rather than random ones are taken: a source
    keeps the shots of one person together, so a person is on one side, but for the one at the
    boundary.

    Raises:
        InputError: nothing is left to train on.
    """
    by_source: dict[str, list[Face]] = defaultdict(list)
    for face in faces:
        by_source[face.source].append(face)
    held: set[Face] = set()
    for group in by_source.values():
        held |= _last_people(group, max(1, round(data.holdout * len(group))))
    people = {face.person for face in held if face.person}
    training = [face for face in faces if face not in held and face.person not in people]
    validation = [face for face in faces if face in held or face.person in people]
    if not training:
        raise InputError("The training data are too few: everything fell into the validation set.")
    stride = max(1, math.ceil(len(validation) / data.max_validation))
    return training, validation[::stride]


def check_pictures(faces: Sequence[Face], least: int, *, decode: bool) -> None:
    """Look at every picture before the first step.

    Args:
        faces: what to look at.
        least: least side in pixels, the rim not counted.
        decode: read all of each file; otherwise only its header, which misses torn files.

    Raises:
        InputError: a picture is missing, unreadable, not square, or too small; the first is named.
    """
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for problem in pool.map(lambda face: _problem(face, least, decode), faces):
            if problem:
                pool.shutdown(cancel_futures=True)
                raise InputError(problem)


def _problem(face: Face, least: int, decode: bool) -> str | None:
    """What is wrong with a picture, as a sentence."""
    try:
        with Image.open(face.path) as image:
            width, height = image.size
            if decode:
                image.draft("RGB", (width // 8, height // 8))  # an eighth: torn files show it too
                image.load()
    except FileNotFoundError:
        return f"The training data name a picture that is missing: {face.path}."
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"The training picture {face.path} cannot be read: {error}."
    if width != height:
        return f"The training picture {face.path} must be square, not {width} x {height}."
    core = round(width * (1 - 2 * face.rim))
    if core < least:
        return (
            f"The training picture {face.path} has {core} px of face, fewer than {least}; take "
            f"larger pictures, a smaller model.size, or set data.min_size to allow enlarging."
        )
    return None


def _from_manifest(manifest: Path, data: Data) -> list[Face]:
    try:
        with manifest.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The manifest {manifest} cannot be read: {error}.") from error
    needed = {"file", "source"} | ({"strict"} if data.strict_only else set())
    missing = needed - set(rows[0] if rows else ())
    if missing:
        raise InputError(
            f"{manifest} lacks the columns {', '.join(sorted(missing))}"
            + ("; strict is only needed with data.strict_only." if "strict" in missing else ".")
        )
    faces = [
        _row(manifest, number, row, data)
        for number, row in enumerate(rows, start=2)
        if row["source"] not in data.exclude
        and (not data.strict_only or row["strict"] == "1" or row["source"] in data.also)
    ]
    if not faces:
        raise InputError(f"{manifest} leaves no face to train on; loosen strict_only or exclude.")
    return faces


def _row(manifest: Path, line: int, row: dict[str, str], data: Data) -> Face:
    try:
        inside = float(row.get("inside") or 1)
    except ValueError as error:
        raise InputError(
            f"{manifest} line {line}: inside must be a number from 0 to 1, not {row['inside']!r}."
        ) from error
    return Face(
        path=data.root / row["file"],
        source=row["source"],
        inside=min(max(inside, 0.0), 1.0),
        person=(row.get("person") or "").strip(),
        template=data.template,
        rim=MANIFEST_RIM if data.rim is None else data.rim,
    )


def _from_folder(data: Data) -> list[Face]:
    paths = sorted(
        path
        for path in data.root.rglob("*")
        if path.suffix.lower() in READABLE and not path.name.startswith(".")
    )
    faces = []
    for path in paths:
        parts = path.relative_to(data.root).parts
        source = parts[0] if len(parts) > 1 else data.root.name
        if source not in data.exclude:
            faces.append(Face(path, source, template=data.template, rim=data.rim or 0.0))
    if not faces:
        raise InputError(
            f"{data.root} has no picture to train on ({', '.join(READABLE)}) and no manifest.csv."
        )
    log.info("%s has no manifest; its %d pictures are taken", data.root, len(faces))
    return faces


def _last_people(group: Sequence[Face], wanted: int) -> set[Face]:
    """The last people of a source, or the last files where nobody is named: `wanted` or more."""
    held: set[Face] = set()
    for people in _backwards(group):
        if len(held) >= wanted:
            break
        held |= set(people)
    return held


def _backwards(group: Sequence[Face]) -> Iterator[list[Face]]:
    """All faces of a person at once, a nameless face alone, from the last to the first."""
    by_person: dict[str, list[Face]] = defaultdict(list)
    for face in group:
        by_person[face.person].append(face)
    seen: set[str] = set()
    for face in reversed(group):
        if not face.person:
            yield [face]
        elif face.person not in seen:
            seen.add(face.person)
            yield by_person[face.person]
