"""A folder of a file system, with journals in place of receipts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..errors import InputError
from ..files import make_folder, replacing, shown
from ..images.read import read_file
from .rows import Row
from .store import FOLDER, Entry, Taken

JOURNALS = f"{FOLDER}/journal"
FILMS = f"{FOLDER}/films"
"""Where films are made, before they take their names."""


class Folder:
    """A folder.

    A result takes its name only when its receipt is on the disk: a line in the writer's journal. A
    receipt without a result of its size means nothing.

    Args:
        root: the folder; made when something is written.
        writer: names the journal; one process at a time.
    """

    def __init__(self, root: Path, writer: str = "") -> None:
        self.root, self.place = root, str(root)
        self._writer = writer or "own"
        self._journal: int | None = None
        self._receipts: dict[str, Row] = {}
        self._read: dict[str, int] = {}

    def entries(self, below: str = "") -> Iterator[Entry]:
        start = self.root / below
        for folder, folders, names in os.walk(start):
            folders[:] = sorted(f for f in folders if below or not self._own(folder, f))
            for name in sorted(names):
                path = Path(folder, name)
                with suppress(OSError):  # gone meanwhile, or a link that leads nowhere
                    status = path.stat()
                    key = path.relative_to(self.root).as_posix()
                    yield Entry(key, status.st_size, f"{status.st_mtime_ns:x}")

    def _own(self, folder: str, name: str) -> bool:
        return name == FOLDER and Path(folder) == self.root

    def read(self, key: str) -> bytes:
        return read_file(self.root / key)

    def put(self, key: str, data: bytes, receipt: Row | None = None, *, replace: bool) -> None:
        path = self.root / key
        if not replace and path.exists():
            raise _taken(path)
        try:
            with replacing(path, new=not replace) as scratch:
                scratch.write_bytes(data)
                if scratch.read_bytes() != data:
                    raise InputError(f"{shown(path)}: the disk gave back other bytes; check it.")
                if receipt is not None:
                    self._note(receipt)
        except InputError as error:
            if error.remedy != "overwrite":
                raise
            raise _taken(path) from error

    def take(self, key: str, made: Path, receipt: Row, *, replace: bool) -> None:
        """Give a file that is whole, in this folder, its name; otherwise as `put`."""
        path = self.root / key
        if not replace and path.exists():
            raise _taken(path)
        make_folder(path.parent)
        self._note(receipt)
        made.replace(path)

    def _note(self, receipt: Row) -> None:
        """Put a line into the journal, on the disk before the result has its name."""
        if self._journal is None:
            folder = make_folder(self.root / JOURNALS)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._journal = os.open(folder / f"{self._writer}.jsonl", flags, 0o666)
        # A line of its own, whatever a full disk left of the last one.
        line = f"\n{receipt.text()}\n".encode()
        if os.write(self._journal, line) < len(line):
            raise InputError(f"{shown(self.place)}: the journal could not be written; free space.")
        os.fsync(self._journal)

    def size_of(self, key: str) -> int | None:
        try:
            return (self.root / key).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def receipt(self, key: str) -> Row | None:
        row = self.receipts().get(key)
        return row if row is not None and row.result_size == self.size_of(key) else None

    def receipts(self) -> dict[str, Row]:
        """What the journals say, by results' names; they are read on from where they were left."""
        for path in sorted((self.root / JOURNALS).glob("*.jsonl")):
            with suppress(FileNotFoundError), path.open("rb") as file:
                file.seek(self._read.get(path.name, 0))
                data = file.read()
                whole = data.rfind(b"\n") + 1
                self._read[path.name] = self._read.get(path.name, 0) + whole
                for line in data[:whole].decode("ascii", "replace").splitlines():
                    row = Row.of_text(line) if line else None
                    if row is not None:
                        self._receipts[row.result] = row
        return self._receipts

    def remove(self, key: str) -> None:
        (self.root / key).unlink(missing_ok=True)


def _taken(path: Path) -> Taken:
    return Taken(f"{shown(path)} exists already; give another name.", remedy="overwrite")
