"""Sources of any other kind that fsspec reads: sftp://, hdfs://, https:// and so on."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import InputError, MissingDependencyError
from ..files import shown
from ..text import first_line
from .rows import Row
from .store import Entry, join


class Other:
    """A file system of fsspec's, for reading.

    Args:
        place: an address.
    """

    def __init__(self, place: str) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise MissingDependencyError(
                f'{shown(place)}: pip install "gpen[archive]" to read this.'
            ) from error
        self.place = place
        try:
            self._files, self._root = fsspec.core.url_to_fs(place)
        except (ValueError, ImportError, OSError) as error:
            raise InputError(f"{shown(place)}: {first_line(error)}.") from error

    def entries(self, below: str = "") -> Iterator[Entry]:
        root = f"{self._root.rstrip('/')}/{below}".rstrip("/")
        try:
            found = self._files.find(root, detail=True)
        except OSError as error:
            raise InputError(f"{shown(self.place)}: {first_line(error)}.") from error
        for path in sorted(found):
            about = found[path]
            changed = about.get("ETag") or about.get("mtime") or about.get("created") or ""
            key = path.removeprefix(self._root).lstrip("/")
            yield Entry(key, int(about.get("size") or -1), str(changed))

    def read(self, key: str) -> bytes:
        try:
            return bytes(self._files.cat_file(f"{self._root.rstrip('/')}/{key}"))
        except OSError as error:
            raise InputError(f"{shown(join(self.place, key))}: {first_line(error)}.") from error

    def put(self, key: str, data: bytes, receipt: Row | None = None, *, replace: bool) -> None:
        raise InputError(
            f"{shown(self.place)}: results are written to folders and to s3, gs and az addresses."
        )

    def size_of(self, key: str) -> int | None:
        raise InputError(f"{shown(self.place)}: this kind of storage is only read.")

    def receipt(self, key: str) -> Row | None:
        return None

    def remove(self, key: str) -> None:
        raise InputError(f"{shown(self.place)}: this kind of storage is only read.")
