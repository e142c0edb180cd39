"""Files put in place whole or not at all, told apart by their hash, found inside wheels."""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import json
import logging
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from .errors import GPENError, InputError

log = logging.getLogger(__name__)

_BLOCK = 1 << 20
_PREFIX, _SUFFIX = ".gpen-", ".part"  # of scratch files
# What a library's own words for a failed write may hold.
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG, errno.EIO, errno.EROFS)


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
def replacing(path: Path, *, new: bool = False) -> Iterator[Path]:
    """A scratch file beside `path` that takes its place when the block ends without an error.

    Whoever reads `path` meanwhile sees the old file or none, never half of the new one. A link is
    followed: what it points to is replaced, the link stays. A file that is replaced hands its
    permissions on. What was written is on the disk before it takes the name.

    Args:
        path: the file.
        new: it must not be there yet; what others put there meanwhile stays.

    Raises:
        InputError: the folder cannot be made or written, the disk is full, or `path` is taken.

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
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=_PREFIX, suffix=_SUFFIX)
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
        _sync(scratch)
        _take_name(scratch, target, new)
    except GPENError:
        raise
    except Exception as error:
        reason = _why_unwritten(error)
        if reason is None:
            raise
        raise _unwritten(path, reason) from error
    finally:
        _discard(scratch)


def _take_name(scratch: Path, target: Path, new: bool) -> None:
    if new:
        try:
            os.link(scratch, target)  # fails where the name is taken, which renaming does not
            return
        except FileExistsError as error:
            raise InputError(
                f"{shown(target)} exists already; give another name.", remedy="overwrite"
            ) from error
        except OSError as error:  # file systems without hard links
            log.debug("%s: %s", target, error)
            if target.exists():
                raise InputError(
                    f"{shown(target)} exists already; give another name.", remedy="overwrite"
                ) from error
    scratch.replace(target)


def _sync(path: Path) -> None:
    """Bytes first, name second: neither a crash nor a late error may leave a name without them."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _discard(scratch: Path) -> None:
    try:
        scratch.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s could not be removed (%s).", shown(scratch), error.strerror)


def _unwritten(path: Path, reason: str | None) -> InputError:
    return InputError(
        f"{shown(path)}: could not be written ({reason}); free space or choose another folder."
    )


def _why_unwritten(error: BaseException) -> str | None:
    """The system's reason in an error, in one that it came from, or in what a library says."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        if number := re.search(r"os error (\d+)", str(cause)):  # as Rust says it
            return os.strerror(int(number[1]))
        for code in _FULL:
            if os.strerror(code) in str(cause):
                return os.strerror(code)
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    return None


def remove_torn(folder: Path) -> None:
    """Remove scratch files that a killed process left; nobody else may write there meanwhile.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, ".gpen-x.part").touch()
        ...     remove_torn(Path(folder))
        ...     list(Path(folder).iterdir())
        []
    """
    for torn in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        _discard(torn)


def make_folder(folder: Path) -> Path:
    """The folder, made with its parents where it is missing.

    Raises:
        InputError: it cannot be.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     make_folder(Path(folder, "a", "b")).is_dir()
        True
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no folder can have this name"
        raise InputError(
            f"{shown(folder)}: the folder cannot be made ({reason}); choose another."
        ) from error
    return folder


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, all of it or nothing.

    Raises:
        InputError: it cannot be written.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     append_line(Path(folder, "log"), "one")
        ...     Path(folder, "log").read_text()
        'one\\n'
    """
    try:
        with path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                if file.write(data := (line + "\n").encode()) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                file.truncate(before)
                raise
    except OSError as error:
        raise _unwritten(path, error.strerror) from error


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
