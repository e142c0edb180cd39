"""Which pictures and films names mean: files, folders, globs; what is passed over, and why."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from ..errors import InputError
from ..films.formats import FORMATS, is_film
from ..images.formats import READABLE
from .crops import is_crop
from .source import Source
from .targets import LABELS


@dataclass
class Inputs:
    """What the inputs mean.

    Attributes:
        sources: pictures and films, in order, each once.
        skipped: files of the folders that are no inputs, with the reason.
    """

    sources: list[Source] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)


def find_inputs(patterns: Sequence[str], *, recursive: bool = False) -> Inputs:
    """The pictures and films that files, folders and globs name.

    Of a folder every picture is taken except results of earlier runs (`NAME_restored`,
    `NAME_compare`, `NAME_faces`) and hidden files.

    Args:
        patterns: names; `~` is the home folder.
        recursive: look into the subfolders too.

    Raises:
        InputError: a name matches nothing, or a folder holds no picture.

    Example:
        >>> find_inputs(["no-such-picture.jpg"])
        Traceback (most recent call last):
        gpen_core.errors.InputError: no-such-picture.jpg: nothing of this name was found; check ...
    """
    found, known = Inputs(), set[Path]()
    for pattern in patterns:
        for source in _matches(pattern, recursive, found):
            if source.path not in known:
                known.add(source.path)
                found.sources.append(source)
    return found


def _matches(pattern: str, recursive: bool, found: Inputs) -> Iterable[Source]:
    if not pattern.strip():
        raise InputError("An input is empty; give a file, a folder or a glob.")
    path = _expanded(pattern)
    if path.is_dir():
        sources = list(_of_folder(path, recursive, found))
        if not sources:
            where = "" if recursive else " (subfolders are not searched)"
            raise InputError(
                f"{path}: no pictures in this folder{where}; formats: "
                f"{', '.join((*READABLE, *FORMATS))}."
            )
        return sources
    if path.exists() or path.is_symlink():
        return [Source(path, path.parent)]
    matches = sorted(Path(p) for p in glob.glob(str(path), recursive=True))  # noqa: PTH207
    sources = [Source(p, p.parent) for p in matches if p.is_file()]
    if not sources:
        raise InputError(f"{pattern}: nothing of this name was found; check the path.")
    return sources


def _expanded(pattern: str) -> Path:
    try:
        path = Path(pattern).expanduser()
        path.exists()
    except RuntimeError as error:  # `~nobody`
        raise InputError(f"{pattern}: there is no such user; give the whole path.") from error
    except (OSError, ValueError) as error:  # too long, or a NUL in it
        raise InputError(f"{pattern[:80]!r} is not a valid path: {error}.") from error
    return path


def _of_folder(folder: Path, recursive: bool, found: Inputs) -> Iterator[Source]:
    for path in sorted(folder.rglob("*") if recursive else folder.iterdir()):
        if path.is_dir():
            continue
        reason = _why_not(path.relative_to(folder), path)
        if reason is None:
            yield Source(path, folder)
        else:
            found.skipped.append((path, reason))


def _why_not(place: Path, path: Path) -> str | None:
    """Why a file of a folder is no input."""
    reason = why_no_input(place)
    return "not a regular file" if reason is None and not path.is_file() else reason


def why_no_input(place: PurePath) -> str | None:
    """Why a file of a folder is no input, by its name.

    Args:
        place: its path below the folder.

    Example:
        >>> why_no_input(PurePath("album/one.jpg")), why_no_input(PurePath(".thumbnails/one.jpg"))
        (None, 'hidden')
    """
    if any(part.startswith(".") for part in place.parts):
        return "hidden"
    if place.suffix.lower() not in READABLE and not is_film(place):
        return "neither a picture nor a film"
    if place.stem.rpartition("_")[2] in LABELS or is_crop(place):
        return "result of an earlier run"
    return None
