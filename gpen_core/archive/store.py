"""Store: where bytes come from and go, a folder or a part of a bucket."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from ..errors import InputError
from .rows import Row

FOLDER = "gpen-archive"
"""The folder in a target that holds the manifest and everything else that is no result."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


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
