"""Which pictures a source means: a folder, a list of paths, object storage."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ..batch.inputs import why_no_input
from ..errors import InputError
from ..files import shown
from ..films.formats import is_film
from ..images.read import read_file
from .store import scheme_of
from .stores import open_store

LISTS = (".txt", ".list", ".csv", ".parquet")
"""Suffixes of files that are lists of paths."""

_COLUMN = "path"


@dataclass(frozen=True, slots=True)
class Item:
    """A picture of a source; as `Task`, without a result."""

    key: str
    place: str
    size: int
    version: str


@dataclass
class Listing:
    """What a source means.

    Attributes:
        items: the pictures, in an order that is always the same.
        skipped: how many files are none, by reason.
    """

    items: list[Item] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)

    def skip(self, reason: str) -> None:
        self.skipped[reason] = self.skipped.get(reason, 0) + 1


def list_source(source: str, films: bool = False) -> Listing:
    """The pictures of a source.

    Args:
        source: a folder; an address such as s3://bucket/folder; or a list: a text file with a path
            or an address a line, or CSV or Parquet with a column `path`. Paths in a list are
            taken from its folder.
        films: whether local films are taken too.

    Raises:
        InputError: it is missing, cannot be read, or names no picture.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.jpg").write_bytes(b"...")
        ...     [item.key for item in list_source(folder).items]
        ['a.jpg']
    """
    if not source.strip():
        raise InputError("The source is empty; give a folder, an address or a list.")
    is_list = PurePosixPath(source).suffix.lower() in LISTS
    if scheme_of(source) not in ("", "file"):
        found = _of_list(source, films) if is_list else _of_store(source, False)
    else:
        path = Path(source.removeprefix("file://")).expanduser()
        if path.is_dir():
            found = _of_store(str(path), films)
        elif not path.exists():
            raise InputError(f"{shown(source)}: no such folder or list; check the path.")
        elif is_list:
            found = _of_list(str(path), films)
        else:
            kinds = ", ".join(LISTS)
            raise InputError(f"{shown(source)} is neither a folder nor a list ({kinds}).")
    if not found.items:
        raise InputError(f"{shown(source)}: there is no picture in it.")
    found.items.sort(key=lambda item: item.key)
    return found


def _of_store(place: str, films: bool) -> Listing:
    store, found = open_store(place), Listing()
    base = store.place.rstrip("/")
    for entry in store.entries():
        reason = _why_not(entry.key, films)
        if reason is None:
            found.items.append(Item(entry.key, f"{base}/{entry.key}", entry.size, entry.version))
        else:
            found.skip(reason)
    return found


def _why_not(key: str, films: bool) -> str | None:
    place = PurePosixPath(key)
    lone = is_film(place) and not films
    return why_no_input(place) or ("a film; films go from folder to folder" if lone else None)


def _of_list(source: str, films: bool) -> Listing:
    found, known = Listing(), set[str]()
    remote = scheme_of(source) not in ("", "file")
    folder = source.rpartition("/")[0] if remote else str(Path(source).resolve().parent)
    for line in _lines(source, remote):
        place, key = _placed(line, folder, source)
        if key in known:
            found.skip("named twice")
        elif (reason := _why_not(key, films and not scheme_of(place))) is not None:
            found.skip(reason)
        else:
            known.add(key)
            found.items.append(_item(key, place))
    return found


def _item(key: str, place: str) -> Item:
    """With size and time where asking costs nothing: of local files."""
    if scheme_of(place):
        return Item(key, place, -1, "")
    try:
        status = Path(place).stat()
    except (OSError, ValueError):
        return Item(key, place, -1, "missing")
    return Item(key, place, status.st_size, f"{status.st_mtime_ns:x}")


def _placed(line: str, folder: str, source: str) -> tuple[str, str]:
    """Where a line of a list leads, and its name in the archive, which depends on it alone.

    A path is named as it is written, an absolute one or an address without its beginning.
    """
    scheme = scheme_of(line)
    if scheme:
        place, key = line, line[len(scheme) + 3 :]
    elif line.startswith("/") or Path(line).is_absolute():
        place, key = line, PurePosixPath(Path(line).as_posix()).as_posix().lstrip("/")
        key = key.replace(":", "")
    else:
        place, key = f"{folder}/{line}", Path(line).as_posix()
    parts = PurePosixPath(key).parts
    if ".." in parts or not parts:
        raise InputError(
            f"{shown(source)}: {shown(line)!r} leads upward; write the whole path without '..'."
        )
    return place, PurePosixPath(*parts).as_posix()


def _lines(source: str, remote: bool) -> Iterator[str]:
    data = open_remote(source) if remote else read_file(Path(source))
    suffix = PurePosixPath(source).suffix.lower()
    if suffix == ".parquet":
        lines: Iterable[Any] = _of_parquet(data, source)
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{shown(source)} is not UTF-8 text; save it as UTF-8.") from error
        lines = _of_csv(text, source) if suffix == ".csv" else text.splitlines()
    return (line.strip() for line in lines if line and line.strip())


def open_remote(place: str) -> bytes:
    """The bytes of a file by its address."""
    from .stores import Reader

    return Reader()(place)


def _of_csv(text: str, source: str) -> Iterator[str]:
    rows = csv.DictReader(io.StringIO(text))
    if _COLUMN not in (rows.fieldnames or []):
        raise InputError(f"{shown(source)} has no column {_COLUMN!r}; name one so.")
    return (row[_COLUMN] or "" for row in rows)


def _of_parquet(data: bytes, source: str) -> list[Any]:
    from .manifest import arrow

    pa = arrow()
    try:
        file = pa.parquet.ParquetFile(io.BytesIO(data))
        if _COLUMN not in file.schema_arrow.names:
            raise InputError(f"{shown(source)} has no column {_COLUMN!r}; name one so.")
        column = file.read(columns=[_COLUMN]).column(_COLUMN)
        return list(column.cast(pa.string()).to_pylist())
    except pa.ArrowException as error:
        raise InputError(f"{shown(source)} is no Parquet file that can be read.") from error
