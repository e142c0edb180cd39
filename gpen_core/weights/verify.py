"""Files of this machine against the hashes that were published or, failing that, pinned.

Where the catalogue has no hash, that of the first use is remembered in `gpen-pins.json` beside the
file, so that a later change is noticed.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError, GPENError, InputError
from ..files import locked, replacing, sha256
from .catalogue import Entry, find_file, list_entries, show

log = logging.getLogger(__name__)

PINS = "gpen-pins.json"


@dataclass(frozen=True)
class Check:
    """What is known about one file.

    Attributes:
        expected: the hashes it may have; several programs publish files under one name.
        state: "ok", "wrong" or "unknown" (nothing to compare with).

    Example:
        >>> Check(show("ParseNet"), Path("a.pth"), 64 * "0", (64 * "1",)).state
        'wrong'
    """

    entry: Entry
    path: Path
    sha256: str
    expected: tuple[str, ...]

    @property
    def state(self) -> str:
        if not self.expected:
            return "unknown"
        return "ok" if self.sha256 in self.expected else "wrong"

    def refuse_wrong(self) -> Check:
        """Itself, unless the file is not the one it should be.

        Raises:
            CheckpointError: another hash; nothing is done to the file.
        """
        if self.state == "wrong":
            source = "" if self.entry.sha256 else f", pinned in {PINS} at its first use"
            raise CheckpointError(
                f"{self.path} is there already, but its SHA-256 is {self.sha256} instead of "
                f"{' or '.join(self.expected)}{source}; it is left alone: move it away to download "
                f"{self.entry.name} again."
            )
        log.info("%s has SHA-256 %s (%s).", self.path, self.sha256, self.state)
        return self

    def pin_unknown(self) -> bool:
        """Remember a hash that there is nothing to compare with; whether it was one."""
        if self.state != "unknown":
            return False
        try:
            pin(self.path, self.sha256)
        except (GPENError, OSError) as error:
            log.warning("%s: its SHA-256 could not be pinned (%s).", self.path, error)
            return False
        log.warning(
            "%s: no hash is published for it; SHA-256 %s is pinned from now on.",
            self.path,
            self.sha256,
        )
        return True


def verify(name: str | None = None, folders: tuple[Path, ...] = ()) -> list[Check]:
    """Compare the files of this machine with what is known of them; each file once.

    Args:
        name: one entry, None for all that are there.
        folders: searched before the usual ones.

    Raises:
        InputError: no such entry, or its file is not there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "parsing_parsenet.pth").write_bytes(b"something else")
        ...     [check.state for check in verify("ParseNet", (Path(folder),))]
        ['wrong']
    """
    entries = list_entries() if name is None else (show(name),)
    found = {path: entry for entry in entries if (path := find_file(entry, folders))}
    if name is not None and not found:
        raise InputError(
            f"{entries[0].filename} was not found, so there is nothing to verify; "
            f"'gpen models where' lists the folders that are searched."
        )
    return [check(entry, path) for path, entry in found.items()]


def check(entry: Entry, path: Path) -> Check:
    """Hash one file and look up what it should be; nothing is raised for a wrong one.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "parsing_parsenet.pth")
        ...     _ = path.write_bytes(b"something else")
        ...     check(show("ParseNet"), path).state
        'wrong'
    """
    return Check(entry, path, sha256(path), _expected(entry, path))


def _expected(entry: Entry, path: Path) -> tuple[str, ...]:
    # A safetensors twin is our own conversion: no published hash is about it.
    if path.name == entry.filename:
        same = (entry, *(other for other in list_entries() if other.filename == entry.filename))
        published = tuple(dict.fromkeys(each.sha256 for each in same if each.sha256))
        if published:
            return published
    remembered = pinned(path)
    return (remembered,) if remembered else ()


# --- pins ----------------------------------------------------------------------------------------


def pinned(path: Path) -> str | None:
    """The hash remembered for a file when it was first used.

    Example:
        >>> pinned(Path("no-such-folder", "a.pth")) is None
        True
    """
    value = _read_pins(path.parent).get(path.name)
    return value if isinstance(value, str) else None


def pin(path: Path, digest: str) -> None:
    """Remember a file's hash; two processes may pin in one folder at the same time.

    Raises:
        InputError, OSError: the folder cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     pin(Path(folder, "a.pth"), 64 * "0")
        ...     pinned(Path(folder, "a.pth")) == 64 * "0"
        True
    """
    with locked(path.with_name(PINS), patience=60):
        pins = {**_read_pins(path.parent), path.name: digest}
        with replacing(path.parent / PINS) as scratch:
            scratch.write_text(json.dumps(pins, indent=2) + "\n", encoding="utf-8")


def _read_pins(folder: Path) -> dict[str, object]:
    path = folder / PINS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}); mend it, or delete it to forget the pinned hashes."
        ) from error
    return content if isinstance(content, dict) else {}
