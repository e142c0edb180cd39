"""Stores: which one a path or an address means."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..images.read import read_file
from .folder import Folder
from .objects import Objects
from .other import Other
from .store import Store, scheme_of

_OBJECTS = frozenset(["s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl"])


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
        return Folder(Path(place.removeprefix("file://")).expanduser(), writer)
    if scheme in _OBJECTS:
        return Objects(place)
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
            return read_file(Path(place.removeprefix("file://")))
        root, _, key = place.removeprefix(f"{place[: len(scheme)]}://").partition("/")
        root = f"{scheme}://{root}"
        if root not in self._stores:
            self._stores[root] = open_store(root)
        return self._stores[root].read(key)
