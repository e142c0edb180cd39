"""What a model is for: weights and shapes do not tell, so something else has to."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import CheckpointError
from ..files import sha256
from ..options import TASKS
from ..text import quoted
from ..weights.catalogue import list_entries
from ..weights.verify import pinned

log = logging.getLogger(__name__)

RESTORE = TASKS[0]
SOURCES: Mapping[str, str] = {
    "user": "as was said",
    "hash": "by its hash",
    "metadata": "its metadata says so",
    "catalogue": "its entry in the catalogue says so",
    "name": "a guess from its name",
    "": "nothing says otherwise",
}
"""How a task is known, surest first."""

_NAMES = {
    "colorize": re.compile(r"colou?ri[sz]", re.IGNORECASE),
    "inpaint": re.compile(r"inpaint", re.IGNORECASE),
    "paint": re.compile(r"seg(mentation)?[-_ ]?(2|to)[-_ ]?face", re.IGNORECASE),
}


def task_of(path: Path | None, metadata: Mapping[str, str]) -> tuple[str, str]:
    """(task, how it is known: a key of `SOURCES`) of a model file.

    The file is hashed only where a hash could change the answer.

    Args:
        path: the file, None for a state dict.
        metadata: what the file says of itself.

    Raises:
        CheckpointError: the metadata name a task that there is not.

    Example:
        >>> task_of(Path("GPEN-Colorization-1024.pth"), {})
        ('colorize', 'name')
        >>> task_of(Path("GPEN-BFR-512.pth"), {}), task_of(None, {"task": "inpaint"})
        (('restore', ''), ('inpaint', 'metadata'))
    """
    stated = metadata.get("task")
    if stated is not None and stated not in TASKS:
        raise CheckpointError(
            f"{path or 'the state dict'}: its metadata name the task {quoted(stated)}; this "
            f"program knows {', '.join(TASKS)}."
        )
    task, source = (stated, "metadata") if stated else _from_name(path)
    if path is None:
        return task, source
    known = _from_hash(path, task) or (None if stated else _from_catalogue(path))
    return known or (task, source)


def guessed(name: str, task: str) -> str:
    """The sentence about a guess.

    Example:
        >>> guessed("GPEN-Inpainting-1024.pth", "inpaint")
        'GPEN-Inpainting-1024.pth is taken for a model to inpaint, by its name alone: a guess.'
    """
    return f"{name} is taken for a model to {task}, by its name alone: a guess."


def _from_name(path: Path | None) -> tuple[str, str]:
    name = path.name if path else ""
    found = next((task for task, pattern in _NAMES.items() if pattern.search(name)), None)
    return (found, "name") if found else (RESTORE, "")


def _from_hash(path: Path, supposed: str) -> tuple[str, str] | None:
    """By a published hash: a file's size says first whether it can be one of those."""
    size = path.stat().st_size if path.is_file() else -1
    entries = [entry for entry in list_entries() if entry.sha256 and entry.bytes == size]
    if all(entry.task == supposed for entry in entries):
        return None
    digest = sha256(path)
    return next(((entry.task, "hash") for entry in entries if entry.sha256 == digest), None)


def _from_catalogue(path: Path) -> tuple[str, str] | None:
    """By an entry without a published hash, whose file this program fetched and pinned."""
    entry = next((one for one in list_entries() if one.filename == path.name), None)
    if entry is None or entry.task == RESTORE or entry.sha256 or not path.is_file():
        return None
    remembered = pinned(path)
    return (entry.task, "catalogue") if remembered and remembered == sha256(path) else None
