"""Which faces may be used: a manifest or a plain folder, who is held out, what is refused."""

from __future__ import annotations

import csv
import io
import itertools
import logging
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from ..errors import InputError
from ..images.formats import READABLE
from ..options import TEMPLATES
from .pack import read_index, read_span, write_pack

log = logging.getLogger(__name__)
MANIFEST = "manifest.csv"
MANIFEST_RIM = 0.1
_FIRST_LINE = 2  # below the heads


@dataclass(frozen=True)
class Selection:
    """Which faces of a folder of aligned, square pictures.

    Attributes:
        root: the folder, with a `manifest.csv` or without.
        template: how the faces lie in their pictures, the rim not counted: "gpen" or "ffhq".
        rim: share of a picture's side, on each side, that lies outside the template's square, 0 to
            0.5; None is 0.1 with a manifest (a canvas of 320 px around 256) and 0 without.
        strict_only: with a manifest, take only the rows whose `strict` is 1.
        also: sources taken although their rows are not marked strict.
        exclude: sources left out.
        weights: how often a picture of a source is drawn; 1 unless named.
        holdout: share of each source kept for validation: its last people, or its last files.
        max_validation: at most so many faces are held out for validation, spread over all; None
            keeps them all.

    Raises:
        InputError: an unknown template, or a rim that leaves nothing.

    Example:
        >>> Selection(Path("faces"), exclude=("street",), holdout=0.1).template
        'ffhq'
    """

    root: Path
    template: str = "ffhq"
    rim: float | None = None
    strict_only: bool = True
    also: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    holdout: float = 0.06
    max_validation: int | None = 64

    def __post_init__(self) -> None:
        if self.template not in TEMPLATES:
            raise InputError(
                f"There is no template {self.template!r}; choose {' or '.join(TEMPLATES)}."
            )
        if self.rim is not None and not 0 <= self.rim < 0.5:
            raise InputError(f"The rim is a share of the side below 0.5, not {self.rim}.")


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
        pack: the pack that holds the file, see `pack.py`, and `path` is inside; None on a disk.
        span: where in the pack its bytes lie.

    Example:
        >>> Face(Path("faces/one.png"), "studio", person="Ada").inside
        1.0
    """

    path: Path
    source: str
    inside: float = 1.0
    person: str = ""
    template: str = "ffhq"
    rim: float = MANIFEST_RIM
    pack: Path | None = None
    span: tuple[int, int] | None = None

    def open(self) -> Image.Image:
        """The picture, not decoded yet.

        Raises:
            OSError: it is missing or cannot be read.
        """
        if self.pack is None or self.span is None:
            return Image.open(self.path)
        return Image.open(io.BytesIO(read_span(self.pack, self.span)))


def read_faces(chosen: Selection) -> list[Face]:
    """The faces of a manifest or a pack, in their order, or of a folder without one, by name.

    Raises:
        InputError: no folder, a manifest without what it needs, or no face is left.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (256, 256)).save(f"{folder}/one.png")
        ...     [face.path.name for face in read_faces(Selection(Path(folder)))]
        ['one.png']
    """
    manifest = chosen.root / MANIFEST
    if chosen.root.is_file():
        faces = _from_pack(chosen)
    elif not chosen.root.is_dir():
        raise InputError(f"The folder of faces {chosen.root} does not exist.")
    elif manifest.is_file():
        faces = _from_manifest(manifest, chosen)
    else:
        faces = _from_folder(chosen)
    sources = {face.source for face in faces}
    unknown = sorted((set(chosen.weights) | set(chosen.also)) - sources - set(chosen.exclude))
    if unknown:
        raise InputError(
            f"weights or also names the source {unknown[0]!r}, but no face of it is left; "
            f"there are {', '.join(sorted(sources))}."
        )
    if not any(chosen.weights.get(source, 1.0) for source in sources):
        raise InputError("weights gives every source the weight 0; nothing could be drawn.")
    return faces


def pack(chosen: Selection, path: Path) -> tuple[int, int]:
    """Put the chosen faces of a folder with a manifest into one file, see `pack.py`.

    A selection with the pack as its root finds the same faces, and holds out the same.

    Returns:
        How many they are, and the file's size in bytes.

    Raises:
        InputError: there is no manifest, or a picture cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (320, 320)).save(f"{folder}/one.png")
        ...     _ = Path(folder, MANIFEST).write_text("file,source,strict\\none.png,studio,1\\n")
        ...     count, size = pack(Selection(Path(folder)), Path(folder, "faces.safetensors"))
        >>> count
        1
    """
    manifest = chosen.root / MANIFEST
    if not manifest.is_file():
        raise InputError(f"{chosen.root} has no {MANIFEST}, which a pack is made from.")
    rows = [row for _, row in chosen_rows(manifest, chosen)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    size = write_pack([chosen.root / row["file"] for row in rows], text.getvalue(), path)
    return len(rows), size


def split(faces: Sequence[Face], chosen: Selection) -> tuple[list[Face], list[Face]]:
    """(training, validation): the last share of every source is held out, whole people at a time.

    Where a manifest names the person, all pictures of a held-out person leave the training set,
    whatever their source. Without names the last files rather than random ones are taken: a source
    keeps the shots of one person together, so a person is on one side, but for the one at the
    boundary.

    Raises:
        InputError: nothing is left to train on.

    Example:
        >>> faces = [Face(Path(f"{number}.png"), "studio") for number in range(10)]
        >>> training, validation = split(faces, Selection(Path("faces"), holdout=0.2))
        >>> len(training), len(validation)
        (8, 2)
    """
    by_source: dict[str, list[Face]] = defaultdict(list)
    for face in faces:
        by_source[face.source].append(face)
    held: set[Face] = set()
    for group in by_source.values():
        held |= _last_people(group, max(1, round(chosen.holdout * len(group))))
    people = {face.person for face in held if face.person}
    training = [face for face in faces if face not in held and face.person not in people]
    validation = [face for face in faces if face in held or face.person in people]
    if not training:
        raise InputError("There are too few faces: everything fell into the validation set.")
    most = chosen.max_validation or len(validation)
    stride = max(1, math.ceil(len(validation) / most))
    return training, validation[::stride]


def check_pictures(faces: Sequence[Face], least: int, *, decode: bool) -> None:
    """Look at every picture before the first step.

    Args:
        faces: what to look at.
        least: least side in pixels, the rim not counted.
        decode: read all of each file; otherwise only its header, which misses torn files.

    Raises:
        InputError: a picture is missing, unreadable, not square, or too small; the first is named.

    Example:
        >>> check_pictures([Face(Path("missing.png"), "studio")], 256, decode=False)
        Traceback (most recent call last):
        gpen_core.errors.InputError: The manifest names a picture that is missing: missing.png.
    """
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for problem in pool.map(lambda face: _problem(face, least, decode), faces):
            if problem:
                pool.shutdown(cancel_futures=True)
                raise InputError(problem)


def _problem(face: Face, least: int, decode: bool) -> str | None:
    """What is wrong with a picture, as a sentence."""
    try:
        with face.open() as image:
            width, height = image.size
            if decode:
                image.draft("RGB", (width // 8, height // 8))  # an eighth: torn files show it too
                image.load()
    except FileNotFoundError:
        return f"The manifest names a picture that is missing: {face.path}."
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"The picture {face.path} cannot be read: {error}."
    if width != height:
        return f"The picture {face.path} must be square, not {width} x {height}."
    core = round(width * (1 - 2 * face.rim))
    if core < least:
        return (
            f"The picture {face.path} has {core} px of face, fewer than {least}; take "
            f"larger pictures, train a smaller model, or allow enlarging by a smaller min_size."
        )
    return None


def _from_manifest(manifest: Path, chosen: Selection) -> list[Face]:
    return [_row(manifest, number, row, chosen) for number, row in chosen_rows(manifest, chosen)]


def _from_pack(chosen: Selection) -> list[Face]:
    """Pictures in a pack lie one after the other, in the order of its manifest."""
    text, ends = read_index(chosen.root)
    spans = list(itertools.pairwise([0, *ends]))
    rows = _take(chosen.root, text, chosen)
    return [
        replace(
            _row(chosen.root, number, row, chosen),
            pack=chosen.root,
            span=spans[number - _FIRST_LINE],
        )
        for number, row in rows
    ]


def chosen_rows(manifest: Path, chosen: Selection) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and rows of a manifest that a selection takes."""
    try:
        text = manifest.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The manifest {manifest} cannot be read: {error}.") from error
    return _take(manifest, text, chosen)


def _take(manifest: Path, text: str, chosen: Selection) -> list[tuple[int, dict[str, str]]]:
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise InputError(f"The manifest {manifest} cannot be read: {error}.") from error
    needed = {"file", "source"} | ({"strict"} if chosen.strict_only else set())
    missing = needed - set(rows[0] if rows else ())
    if missing:
        raise InputError(
            f"{manifest} lacks the columns {', '.join(sorted(missing))}"
            + ("; strict is only needed with strict_only." if "strict" in missing else ".")
        )
    taken = [
        (number, row)
        for number, row in enumerate(rows, start=_FIRST_LINE)
        if row["source"] not in chosen.exclude
        and (not chosen.strict_only or row["strict"] == "1" or row["source"] in chosen.also)
    ]
    if not taken:
        raise InputError(f"{manifest} leaves no face; loosen strict_only or exclude.")
    return taken


def _row(manifest: Path, line: int, row: dict[str, str], chosen: Selection) -> Face:
    try:
        inside = float(row.get("inside") or 1)
    except ValueError as error:
        raise InputError(
            f"{manifest} line {line}: inside must be a number from 0 to 1, not {row['inside']!r}."
        ) from error
    return Face(
        path=chosen.root / row["file"],
        source=row["source"],
        inside=min(max(inside, 0.0), 1.0),
        person=(row.get("person") or "").strip(),
        template=chosen.template,
        rim=MANIFEST_RIM if chosen.rim is None else chosen.rim,
    )


def _from_folder(chosen: Selection) -> list[Face]:
    paths = sorted(
        path
        for path in chosen.root.rglob("*")
        if path.suffix.lower() in READABLE and not path.name.startswith(".")
    )
    faces = []
    for path in paths:
        parts = path.relative_to(chosen.root).parts
        source = parts[0] if len(parts) > 1 else chosen.root.name
        if source not in chosen.exclude:
            faces.append(Face(path, source, template=chosen.template, rim=chosen.rim or 0.0))
    if not faces:
        raise InputError(
            f"{chosen.root} has no picture ({', '.join(READABLE)}) and no manifest.csv."
        )
    log.info("%s has no manifest; its %d pictures are taken", chosen.root, len(faces))
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
