"""Catalogue entries to verified files on disk; nothing is fetched that nobody asked for.

A download happens in NAME.part beside the target and is renamed only when size and hash agree. A
file that is already there is verified (see `verify.py`) and never replaced.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import filelock

from ..errors import CheckpointError, GPENError
from ..files import locked
from .catalogue import Entry, show
from .locate import download_folder
from .transfer import DownloadError, Policy, ProgressCallback, Wanted, fetch
from .verify import check, pin, pinned

log = logging.getLogger(__name__)

OFFLINE_VARIABLE = "GPEN_OFFLINE"
_LOCK_PATIENCE = 6 * 3600.0


class LicenseError(GPENError):
    """The license of a file was not accepted; the text states it and says how to."""


class OfflineError(DownloadError):
    """Downloads are switched off; the text says what to fetch by hand and where to put it."""


@dataclass(frozen=True)
class Downloaded:
    """A verified file.

    Attributes:
        path: where it is.
        sha256: its hash.
        pinned: whether the hash was compared with nothing and is now remembered.
        fetched: False where the file was there already.

    Example:
        >>> Downloaded(Path("mine.pth"), 64 * "0", pinned=True, fetched=True).path.name
        'mine.pth'
    """

    path: Path
    sha256: str
    pinned: bool
    fetched: bool


def download(
    name: str,
    folder: Path | None = None,
    *,
    accept_license: bool = False,
    progress: ProgressCallback | None = None,
) -> Downloaded:
    """Fetch a file of the catalogue, or verify it where it is there already.

    Args:
        name: see `catalogue.show`; a menu's label will do.
        folder: where to; default `locate.download_folder()`.
        accept_license: required for non-commercial weights.
        progress: called after every block with a `Progress`; may raise to stop.

    Raises:
        InputError: no such entry.
        LicenseError: the license has to be accepted first.
        CheckpointError: a file of that name is there with another hash; it is left alone.
        OfflineError, DownloadError: it could not be fetched; names the file, folder and addresses.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     download("GPEN-BFR-512", Path(folder))
        Traceback (most recent call last):
        gpen_core.weights.download.LicenseError: GPEN-BFR-512 is licensed for ...
    """
    target = download_folder() if folder is None else folder
    return download_entry(show(name), target, accept_license=accept_license, progress=progress)


def download_entry(
    entry: Entry,
    folder: Path,
    *,
    accept_license: bool = False,
    progress: ProgressCallback | None = None,
    policy: Policy | None = None,
) -> Downloaded:
    """`download` for an entry that need not be in the catalogue; `policy` is for tests.

    Example:
        >>> import tempfile
        >>> entry = Entry("mine", "gpen-pth", "mine.pth", ())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "mine.pth").write_bytes(b"put here by hand")
        ...     done = download_entry(entry, Path(folder))
        >>> done.fetched, done.pinned
        (False, True)
    """
    path = folder / entry.filename
    if path.exists():
        return _present(entry, path)
    if entry.is_restricted and not accept_license:
        raise LicenseError(
            f"{entry.name} is licensed for non-commercial use only: {entry.terms} To "
            f"download it, accept this license first.",
            remedy="license",
        )
    if not entry.urls:
        raise DownloadError(
            f"No address is known for {entry.name}; put the file into {folder} as {entry.filename}."
        )
    if os.environ.get(OFFLINE_VARIABLE, "0").lower() not in ("", "0", "false", "no"):
        raise OfflineError(
            f"{OFFLINE_VARIABLE} is set, so nothing is downloaded; {_by_hand(entry, folder)}."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(path, _LOCK_PATIENCE, lambda: _say_waiting(path)):
            if path.exists():  # another process was faster
                return _present(entry, path)
            return _fetch(entry, path, progress, policy)
    except filelock.Timeout as error:
        raise DownloadError(
            f"{path}: another process has been downloading it for hours."
        ) from error
    except OSError as error:
        raise DownloadError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another folder."
        ) from error


def _present(entry: Entry, path: Path) -> Downloaded:
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file; move it away, {entry.name} belongs there.")
    checked = check(entry, path).refuse_wrong()
    return Downloaded(path, checked.sha256, pinned=checked.pin_unknown(), fetched=False)


def _fetch(
    entry: Entry, path: Path, progress: ProgressCallback | None, policy: Policy | None
) -> Downloaded:
    # A hash seen before holds even if the file has been deleted since.
    expected = entry.sha256 or pinned(path)
    wanted = Wanted(entry.filename, entry.urls, entry.bytes, expected)
    part = path.with_name(path.name + ".part")
    try:
        digest = fetch(wanted, part, progress, policy)
    except DownloadError as error:
        text = str(error).rstrip(".")
        raise DownloadError(
            f"{entry.name} could not be downloaded: {text}. To go without: "
            f"{_by_hand(entry, path.parent)}."
        ) from error
    if expected is None:
        pin(path, digest)
        log.warning(
            "%s: no hash is published for it; SHA-256 %s is pinned from now on.", path, digest
        )
    _sync(part)
    if path.exists():  # put there by hand in the meantime
        part.unlink()
        return _present(entry, path)
    part.replace(path)
    return Downloaded(path, digest, pinned=expected is None, fetched=True)


def _by_hand(entry: Entry, folder: Path) -> str:
    return f"fetch {' or '.join(entry.urls)} and put it into {folder} as {entry.filename}"


def _say_waiting(path: Path) -> None:
    log.warning("Another process is downloading %s; waiting for it.", path.name)


def _sync(path: Path) -> None:
    """Bytes first, name second: a crash must not leave a good name with empty blocks."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
