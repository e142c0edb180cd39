"""Files put in place whole or not at all, told apart by their hash, found inside wheels."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError

_BLOCK = 1 << 20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A scratch file beside `path` that takes its place when the block ends without an error.

    Whoever reads `path` meanwhile sees the old file or none, never half of the new one.

    Raises:
        InputError: the folder cannot be made or written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise InputError(
            f"{path}: the folder cannot be written ({error.strerror}); choose another."
        ) from error
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        # mkstemp makes private files; this one gets the permissions of any new file.
        mask = os.umask(0)
        os.umask(mask)
        scratch.chmod(0o666 & ~mask)
        scratch.replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: could not be written ({error.strerror}); free space or choose another folder."
        ) from error
    finally:
        scratch.unlink(missing_ok=True)


def write_json(path: Path, content: object, *, overwrite: bool = False) -> None:
    """Write JSON atomically.

    Raises:
        InputError: the file exists (without `overwrite`) or cannot be written.
    """
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; give another name.", remedy="overwrite")
    with replacing(path) as scratch:
        text = json.dumps(content, indent=2, ensure_ascii=False)
        scratch.write_text(text + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def wheel_file(package: str, end: str) -> Path | None:
    """The file of an installed package whose path ends with `end`; nothing of it is imported.

    Raises:
        importlib.metadata.PackageNotFoundError: the package is not installed.
    """
    for file in importlib.metadata.files(package) or []:
        if file.as_posix().endswith(end):
            path = Path(str(file.locate()))
            if path.is_file():
                return path
    return None
