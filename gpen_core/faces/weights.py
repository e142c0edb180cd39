"""The weights of RetinaFace and ParseNet: found, verified, and read without running anything.

Nothing is downloaded here; the catalogue knows the files (`weights/catalogue.py`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ..errors import CheckpointError, MissingWeightsError
from ..models.read import read_tensors
from ..text import printable
from ..weights import catalogue
from ..weights.locate import searched_folders
from ..weights.verify import Check, check

log = logging.getLogger(__name__)

ENTRIES = {
    "retinaface-resnet50": "RetinaFace-R50",
    "retinaface-mobile0.25": "RetinaFace-mobile0.25",
    "parsing": "ParseNet",
}
"""Catalogue names of the files behind a detector or the parsing mask; mtcnn needs none."""


def entry_of(choice: str) -> catalogue.Entry | None:
    """The catalogue's entry behind a detector or a mask, None where no file is needed.

    Example:
        >>> entry_of("parsing").name, entry_of("mtcnn")
        ('ParseNet', None)
    """
    return catalogue.show(ENTRIES[choice]) if choice in ENTRIES else None


@dataclass(frozen=True)
class Weights:
    """A state dict from a file that is the one it should be, as far as that is known."""

    entry: catalogue.Entry
    path: Path
    state: dict[str, Tensor]
    check: Check | None

    def load_into(self, network: nn.Module) -> None:
        """Give the weights to a network; only then is a hash that nobody published pinned.

        Raises:
            CheckpointError: they are another network's.
        """
        try:
            network.load_state_dict(self.state, strict=True)
        except RuntimeError as error:
            raise CheckpointError(
                f"{self.path} does not hold {self.entry.name}'s weights: {_first_fault(error)}; "
                f"download {_addresses(self.entry)} instead."
            ) from error
        if self.check is not None:
            self.check.pin_unknown()
        log.info("Loaded %s from %s.", self.entry.name, self.path)


def read(choice: str, place: Path | str | None, instead: str) -> Weights:
    """The weights behind a detector or a mask.

    Args:
        choice: a key of `ENTRIES`.
        place: the folder of the file, or a file of any other name (self-trained weights, of which
            no hash is known). None: GPEN_WEIGHTS, then `weights/` of the project.
        instead: what else the user may do, for the error's text.

    Raises:
        MissingWeightsError: the file is not there; names file, folder, and ways to get it.
        CheckpointError: the hash differs from the published or pinned one, or it is damaged.
    """
    entry = catalogue.show(ENTRIES[choice])
    path = _find(entry, place, instead)
    # Compared before anything is unpickled.
    checked = check(entry, path).refuse_wrong() if path.name == entry.filename else None
    try:
        state = read_tensors(path)
    except CheckpointError as error:
        reason = str(error).rstrip(".")
        raise CheckpointError(f"{reason} ({entry.name}: {_addresses(entry)}).") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path} holds no state dict; download {_addresses(entry)} instead.")
    named = {str(key).removeprefix("module."): value for key, value in state.items()}
    return Weights(entry, path, named, checked)


def _find(entry: catalogue.Entry, place: Path | str | None, instead: str) -> Path:
    if place is None:
        found = catalogue.find_file(entry)
        places = " or ".join(str(folder) for folder in searched_folders())
    else:
        folder = Path(place).expanduser()
        found = folder if folder.is_file() else folder / entry.filename
        places = str(folder)
    if found is None or not found.is_file():
        raise MissingWeightsError(
            f"{entry.filename} was not found in {places}. Download it with 'gpen models download "
            f"{entry.name}' or from {_addresses(entry)}, or {instead}."
        )
    return found


def _addresses(entry: catalogue.Entry) -> str:
    return " or ".join(entry.urls)


def _first_fault(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return printable((lines[1] if len(lines) > 1 else lines[0]).rstrip("."), 200)
