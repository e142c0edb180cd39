"""Which files are films, by their names; what is inside is read from the file."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import PurePath

from ..errors import MissingDependencyError

FORMATS: Mapping[str, str] = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".mpg": "mpeg",
    ".mpeg": "mpeg",
    ".ts": "mpegts",
    ".mts": "mpegts",
    ".wmv": "asf",
}
"""Extensions of films, with FFmpeg's names of the formats that are written."""


def is_film(path: PurePath) -> bool:
    """Whether a file's name is that of a film.

    Example:
        >>> is_film(PurePath("wedding.MP4")), is_film(PurePath("wedding.jpg"))
        (True, False)
    """
    return path.suffix.lower() in FORMATS


def require_reader() -> None:
    """Films are read and written by PyAV.

    Raises:
        MissingDependencyError: it is not installed.

    Example:
        >>> try:
        ...     require_reader()
        ... except MissingDependencyError:
        ...     pass  # it is not installed here
    """
    try:
        importlib.import_module("av")
    except ImportError as error:
        raise MissingDependencyError(
            "Films need the package av (PyAV): pip install 'gpen[video]'."
        ) from error
