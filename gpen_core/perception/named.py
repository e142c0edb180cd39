"""A weights file that a user names: its hash stated, known in part, or pinned at its first use."""

from __future__ import annotations

import logging
from pathlib import Path

from ..errors import CheckpointError
from ..files import sha256
from ..weights.verify import pin, pinned

log = logging.getLogger(__name__)


def named_file(
    path: str | Path | None, what: str, stated: str | None = None, known: str = ""
) -> Path:
    """The file, compared with what is known of it; where nothing is, its hash is pinned beside it.

    Args:
        path: the file.
        what: it should be, for messages.
        stated: SHA-256 that the user gives, hexadecimal.
        known: how its SHA-256 begins, where its publisher says so.

    Raises:
        CheckpointError: no path, no such file, or another content.

    Example:
        >>> named_file(None, "a VGG-19")
        Traceback (most recent call last):
        gpen_core.errors.CheckpointError: The file of a VGG-19 is not named; give its path.
    """
    if path is None:
        raise CheckpointError(f"The file of {what} is not named; give its path.")
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; it should be {what}.")
    found = sha256(path)
    expected = (stated or known).lower() or pinned(path)
    if expected is None:
        log.warning("%s: no hash to compare; SHA-256 %s is pinned from now on.", path, found)
        pin(path, found)
    elif not found.startswith(expected):
        raise CheckpointError(
            f"{path} is not {what} as expected: its SHA-256 is {found}, not {expected}"
            f"{'' if len(expected) == len(found) else '...'}."
        )
    return path
