"""What a command needs and does not find: fetched where its user accepted the licenses."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import InputError, MissingWeightsError
from ..faces.weights import entry_of
from ..weights import catalogue
from ..weights.locate import locate
from .models import fetch


def find_model(name: str | None, accept_license: bool) -> str | Path | None:
    """The model's name where it means a file, else the file fetched for a name of the catalogue.

    Raises:
        MissingWeightsError: it is neither there nor in the catalogue, or not yet accepted.
        DownloadError, CheckpointError: as `download`.
    """
    try:
        locate(name)
        return name
    except MissingWeightsError:
        entry = _entry_called(name)
        if entry is None:
            raise
    if not accept_license:
        raise MissingWeightsError(
            f"{entry.filename} was not found. Add --accept_license to download it "
            f"({entry.size_text}, {entry.license}), or run "
            f"'gpen models download {entry.name} --accept-license'."
        )
    return fetch(entry.name, None, accept_license=True).path


def _entry_called(name: str | None) -> catalogue.Entry | None:
    try:
        return None if name is None else catalogue.show(name)
    except InputError:
        return None


def fetch_missing(choices: Iterable[str], folder: Path | None) -> None:
    """Fetch the weights of detectors and masks that are not there.

    Args:
        choices: names of a detector or a mask; those that need no file are passed over.
        folder: the only one to look into and to fill; None: the usual ones.

    Raises:
        DownloadError, CheckpointError: as `download`.
    """
    for entry in filter(None, map(entry_of, choices)):
        if folder is None:
            found = catalogue.find_file(entry)
        else:
            # A file of any name may be given in the folder's place.
            found = next((p for p in (folder, folder / entry.filename) if p.is_file()), None)
        if found is None:
            fetch(entry.name, folder, accept_license=True)
