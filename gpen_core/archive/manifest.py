"""The manifest: what became of every picture, in Parquet."""

from __future__ import annotations

import io
import json
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ..errors import InputError, MissingDependencyError
from ..files import shown
from .rows import Row
from .store import FOLDER, Store, join

PARTS = f"{FOLDER}/manifest"
SETTINGS = f"{FOLDER}/archive.json"

# Rows in a row group: read and written at once.
_GROUP = 50_000


def arrow() -> Any:
    """pyarrow with its Parquet module.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError(
            'Archives need the packages of an extra: pip install "gpen[archive]".'
        ) from error
    return pyarrow


def schema() -> Any:
    """The columns of the manifest."""
    pa = arrow()
    text = pa.string()
    return pa.schema(
        {
            "key": text,
            "place": text,
            "size": pa.int64(),
            "version": text,
            "sha256": text,
            "result": text,
            "result_size": pa.int64(),
            "result_sha256": text,
            "status": text,
            "error": text,
            "found": pa.int32(),
            "restored": pa.int32(),
            "lowest": pa.float32(),
            "box": pa.list_(pa.float32()),
            "seconds": pa.float32(),
            "events": pa.list_(text),
            "made_with": text,
            "model": text,
            "finished": pa.float64(),
            "machine": text,
        }
    )


class Manifest:
    """The manifest of a target: files of rows, of which the last row of a picture counts.

    Args:
        store: the target.

    Example:
        >>> import tempfile
        >>> from gpen_core.archive.stores import open_store
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Manifest(open_store(folder)).rows()
        {}
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def settings(self) -> dict[str, Any] | None:
        """What the archive was begun with; None where there is none.

        Raises:
            InputError: the file is damaged.
        """
        if self.store.size_of(SETTINGS) is None:
            return None
        try:
            return dict(json.loads(self.store.read(SETTINGS)))
        except ValueError as error:
            name = shown(join(self.store.place, SETTINGS))
            raise InputError(f"{name} is damaged; put a copy of it back.") from error

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Write down what the archive is made with."""
        text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
        self.store.put(SETTINGS, text.encode(), replace=True)

    def parts(self) -> list[str]:
        """The names of its files, the oldest first."""
        found = (entry.key for entry in self.store.entries(PARTS))
        return sorted(name for name in found if name.endswith(".parquet"))

    def add(self, rows: Sequence[Row]) -> None:
        """Write rows as one more file; none makes no file."""
        if rows:
            self._write(rows)

    def rows(self, columns: Sequence[str] | None = None) -> dict[str, Row]:
        """The last row of every picture.

        Args:
            columns: only these, and others as if they were empty; None: all.
        """
        latest: dict[str, Row] = {}
        for part in self.parts():
            for row in self._read(part, columns):
                before = latest.get(row.key)
                if before is None or before.finished <= row.finished:
                    latest[row.key] = row
        return latest

    def _read(self, part: str, columns: Sequence[str] | None) -> Iterator[Row]:
        pa = arrow()
        name = shown(join(self.store.place, part))
        try:
            file = pa.parquet.ParquetFile(io.BytesIO(self.store.read(part)))
            for batch in file.iter_batches(columns=list(columns) if columns else None):
                for values in batch.to_pylist():
                    yield _row(values)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{name} is damaged; remove it, and its pictures are done again."
            ) from error

    def compact(self) -> None:
        """All files as one."""
        parts = self.parts()
        if len(parts) > 1:
            rows = self.rows()
            self._write([rows[key] for key in sorted(rows)])
            # Only now: what is in two files is read once, what is in none is lost.
            for part in parts:
                self.store.remove(part)

    def _write(self, rows: Iterable[Row]) -> None:
        pa = arrow()
        buffer = io.BytesIO()
        wanted = schema()
        with pa.parquet.ParquetWriter(buffer, wanted, compression="zstd") as writer:
            group: list[dict[str, Any]] = []
            for row in rows:
                group.append(asdict(row))
                if len(group) == _GROUP:
                    writer.write_table(pa.Table.from_pylist(group, schema=wanted))
                    group = []
            writer.write_table(pa.Table.from_pylist(group, schema=wanted))
        # Names sort by time.
        name = f"{PARTS}/{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.parquet"
        self.store.put(name, buffer.getvalue(), replace=False)


def _row(values: dict[str, Any]) -> Row:
    given = {"place": "", "size": 0, "version": "", "result": ""} | values
    return Row.of({name: value for name, value in given.items() if value is not None})
