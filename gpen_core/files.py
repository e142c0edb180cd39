"""Files put in place whole or not at all, told apart by their hash, found inside wheels."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from .errors import InputError

_BLOCK = 1 << 20


def shown(text: str | os.PathLike[str]) -> str:
    """A path or a text as messages may show it: control characters and stray bytes are escaped.

    >>> shown("a\\x1b[31m.png")
    'a\\\\x1b[31m.png'
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in os.fspath(text)
    )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A scratch file beside `path` that takes its place when the block ends without an error.

    Whoever reads `path` meanwhile sees the old file or none, never half of the new one. A link is
    followed: what it points to is replaced, the link stays. A file that is replaced hands its
    permissions on.

    Raises:
        InputError: the folder cannot be made or written, or the disk is full.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder, "new.txt")) as scratch:
        ...         _ = scratch.write_text("whole")
        ...     Path(folder, "new.txt").read_text()
        'whole'
    """
    try:
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        # A short name of its own: that of the target may already be as long as one can be.
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".gpen-", suffix=".part")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no file can have this name"
        raise InputError(
            f"{shown(path)}: the folder cannot be written ({reason}); choose another."
        ) from error
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        scratch.chmod(_permissions(target))
        scratch.replace(target)
    except OSError as error:
        raise InputError(
            f"{shown(path)}: could not be written ({error.strerror}); "
            "free space or choose another folder."
        ) from error
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def locked(
    path: Path, patience: float, waiting: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """One process at a time for what is done to `path`; nothing is left in its folder.

    The system frees the lock when a process dies; the file of its lock goes with the next holder.

    Args:
        path: need not exist; its folder does.
        patience: seconds to wait for another process.
        waiting: called when that is necessary.

    Raises:
        filelock.Timeout: the other process took longer.
        OSError: the folder cannot be written.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with locked(Path(folder, "weights.pth"), patience=1):
        ...         during = os.listdir(folder)
        ...     during, os.listdir(folder)
        (['.weights.pth.lock'], [])
    """
    file = path.with_name(f".{path.name}.lock")
    lock = filelock.FileLock(file)
    while True:
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            waiting()
            lock.acquire(timeout=patience)
        if file.exists():
            break
        # Whoever had it before has removed the file between our opening and our locking it.
        lock.release()
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file; there the lock itself does
            file.unlink()
        lock.release()


def _permissions(target: Path) -> int:
    """Those of the file that is replaced, or of any new file; mkstemp makes private ones."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def write_json(path: Path, content: object, *, overwrite: bool = False) -> None:
    """Write JSON atomically.

    Raises:
        InputError: the file exists (without `overwrite`) or cannot be written.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder, "report.json"), {"faces": 2})
        ...     json.loads(Path(folder, "report.json").read_text())
        {'faces': 2}
    """
    if path.exists() and not overwrite:
        raise InputError(f"{shown(path)} exists already; give another name.", remedy="overwrite")
    with replacing(path) as scratch:
        text = json.dumps(content, indent=2, ensure_ascii=False)
        scratch.write_text(text + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "empty").write_bytes(b"")
        ...     sha256(Path(folder, "empty"))[:16]
        'e3b0c44298fc1c14'
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def wheel_file(package: str, end: str) -> Path | None:
    """The file of an installed package whose path ends with `end`; nothing of it is imported.

    Raises:
        importlib.metadata.PackageNotFoundError: the package is not installed.

    Example:
        >>> wheel_file("numpy", "numpy/__init__.py").name
        '__init__.py'
    """
    for file in importlib.metadata.files(package) or []:
        if file.as_posix().endswith(end):
            path = Path(str(file.locate()))
            if path.is_file():
                return path
    return None
