"""Where bytes come from and go: folders, object storage, and whatever else fsspec reads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from ..errors import InputError
from .rows import Row

FOLDER = "gpen-archive"
"""The folder in a target that holds the manifest and everything else that is no result."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_OBJECTS = frozenset(["s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl"])


class Entry(NamedTuple):
    """A file of a store: its name below the store, bytes, and what changes with it."""

    key: str
    size: int
    version: str


class Store(Protocol):
    """A folder or a part of a bucket."""

    place: str

    def entries(self, below: str = "") -> Iterator[Entry]:
        """Every file, or those below a folder of it, in any order."""

    def read(self, key: str) -> bytes:
        """The bytes of a file.

        Raises:
            InputError: it is missing or cannot be read.
        """

    def put(self, key: str, data: bytes, receipt: Row | None = None, *, replace: bool) -> None:
        """Write a file whole or not at all, with a receipt that is there as soon as it is.

        Raises:
            Taken: the name is, and `replace` is not set.
            InputError: it cannot be written.
        """

    def size_of(self, key: str) -> int | None:
        """Bytes of a file, None if there is none."""

    def receipt(self, key: str) -> Row | None:
        """The receipt of a file, None where it has none."""

    def remove(self, key: str) -> None:
        """Remove a file; it may be gone."""


class Taken(InputError):
    """Something has the name already."""


def scheme_of(place: str) -> str:
    """That of an address, lower case; empty for a path.

    >>> scheme_of("s3://plates/1927"), scheme_of("C:/plates")
    ('s3', '')
    """
    match = _SCHEME.match(place)
    return match[1].lower() if match else ""


def join(place: str, key: str) -> str:
    """A file's place from its store's and its name.

    >>> join("s3://plates/", "1927/a.jpg")
    's3://plates/1927/a.jpg'
    """
    return f"{place.rstrip('/')}/{key}" if scheme_of(place) else os.path.join(place, key)  # noqa: PTH118


def open_store(place: str, writer: str = "") -> Store:
    """The store that a path or an address means.

    Args:
        place: a folder, or an address such as s3://bucket/folder.
        writer: who writes there; names the journal of a folder.

    Raises:
        InputError: an address of a kind that is not known.
        MissingDependencyError: the package for it is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = open_store(folder)
        ...     store.put("a.txt", b"whole", replace=False)
        ...     [entry.key for entry in store.entries()]
        ['a.txt']
    """
    if not place.strip():
        raise InputError("A source or a target is empty; give a folder or an address.")
    scheme = scheme_of(place)
    if not scheme or scheme == "file":
        from .folder import Folder

        return Folder(Path(place.removeprefix("file://")).expanduser(), writer)
    if scheme in _OBJECTS:
        from .objects import Objects

        return Objects(place)
    from .other import Other

    return Other(place)


class Reader:
    """Reads files by their places; keeps the stores they are in."""

    def __init__(self) -> None:
        self._stores: dict[str, Store] = {}

    def __call__(self, place: str) -> bytes:
        """The bytes at a path or an address.

        Raises:
            InputError: missing or unreadable.
        """
        scheme = scheme_of(place)
        if not scheme or scheme == "file":
            from ..images.read import read_file

            return read_file(Path(place.removeprefix("file://")))
        root, _, key = place.removeprefix(f"{place[: len(scheme)]}://").partition("/")
        root = f"{scheme}://{root}"
        if root not in self._stores:
            self._stores[root] = open_store(root)
        return self._stores[root].read(key)
