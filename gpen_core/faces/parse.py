"""Which pixel of a face is skin, hair, hat...: facexlib's ParseNet, 19 classes.

The network was trained on CelebAMask-HQ's classes. Its weights are not shipped and never fetched
behind the user's back: they are read from a folder.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import (
    CheckpointError,
    InputError,
    MissingDependencyError,
    MissingWeightsError,
)

log = logging.getLogger(__name__)

PARSENET_FILE = "parsing_parsenet.pth"
PARSENET_URL = "https://github.com/xinntao/facexlib/releases/download/v0.2.2/parsing_parsenet.pth"
PARSENET_SHA256 = "3d558d8d0e42c20224f13cf5a29c79eba2d59913419f945545d8cf7b72920de2"
PARSENET_SIZE = 512

# In the order of the network's output channels.
CLASSES = (
    "background",
    "skin",
    "nose",
    "glasses",
    "left_eye",
    "right_eye",
    "left_brow",
    "right_brow",
    "left_ear",
    "right_ear",
    "inner_mouth",
    "upper_lip",
    "lower_lip",
    "hair",
    "hat",
    "earring",
    "necklace",
    "neck",
    "cloth",
)
GROUPS: Mapping[str, tuple[str, ...]] = {
    "eyes": ("left_eye", "right_eye"),
    "brows": ("left_brow", "right_brow"),
    "ears": ("left_ear", "right_ear"),
    "lips": ("upper_lip", "lower_lip"),
    "mouth": ("inner_mouth", "upper_lip", "lower_lip"),
}


class Parser(Protocol):
    """Anything that labels the pixels of aligned faces."""

    def __call__(self, faces: Tensor) -> Tensor:
        """(N, 3, T, T) RGB -1..1 to (N, P, P) int64 indices into `CLASSES`."""


def class_indices(names: Iterable[str]) -> tuple[int, ...]:
    """Output channels of classes or groups of classes, ascending.

    Raises:
        InputError: a name that is neither.
    """
    indices = set()
    for name in names:
        for member in GROUPS.get(name, (name,)):
            if member not in CLASSES:
                known = ", ".join((*CLASSES, *GROUPS))
                raise InputError(f"There is no face class {name!r}; choose among {known}.")
            indices.add(CLASSES.index(member))
    return tuple(sorted(indices))


class FaceParser:
    """A parsing network with what has to happen before and after it.

    Args:
        network: (n, 3, size, size) RGB -1..1 to logits (n, 19, h, w), or a tuple that starts with
            them, as ParseNet returns.
        size: side of the network's input in pixels.
        device: where it runs.
        batch: faces at once; bounds the memory (about 0.6 GB a face at 512 px).
    """

    def __init__(
        self,
        network: nn.Module,
        size: int = PARSENET_SIZE,
        device: torch.device | str = "cpu",
        batch: int = 2,
    ) -> None:
        self.device = torch.device(device)
        self.network = network.eval().to(self.device)
        self.size = size
        self.batch = batch

    @torch.inference_mode()
    def __call__(self, faces: Tensor) -> Tensor:
        """Labels of restored faces.

        Args:
            faces: (N, 3, T, T) RGB -1..1; resized with antialiasing to the network's input.

        Returns:
            (N, P, P) int64 indices into `CLASSES`, on the faces' device.
        """
        labels = [self._labels(part).to(faces.device) for part in faces.split(self.batch)]
        if not labels:
            return torch.zeros(0, self.size, self.size, dtype=torch.int64, device=faces.device)
        return torch.cat(labels)

    def _labels(self, faces: Tensor) -> Tensor:
        faces = faces.to(self.device, torch.float32)
        if faces.shape[-1] != self.size:
            faces = functional.interpolate(
                faces, (self.size, self.size), mode="bilinear", antialias=True
            )
        output = self.network(faces)
        logits = output[0] if isinstance(output, tuple | list) else output
        return logits.argmax(1)


def load_parser(
    folder: Path | str,
    device: torch.device | str = "cpu",
    sha256: str | None = PARSENET_SHA256,
) -> FaceParser:
    """facexlib's ParseNet with the weights `parsing_parsenet.pth` from a folder.

    Args:
        folder: where the file lies; nothing is downloaded.
        device: where the network runs.
        sha256: the hash the file must have; None accepts any ParseNet weights.

    Raises:
        MissingWeightsError: the file is not in the folder.
        MissingDependencyError: facexlib, or what it imports, is not installed.
        CheckpointError: another hash, a damaged file, another network's weights.
    """
    path = Path(folder) / PARSENET_FILE
    if not path.is_file():
        raise MissingWeightsError(
            f"The face parser's weights {PARSENET_FILE} are not in {path.parent}; download "
            f"{PARSENET_URL} into that folder, or choose a mask other than 'parsing'."
        )
    _check_hash(path, sha256)
    network = _parsenet()
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
    except (RuntimeError, pickle.UnpicklingError, EOFError, TypeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"{path} does not hold ParseNet's weights ({reason}); download it again from "
            f"{PARSENET_URL}."
        ) from error
    log.info("Loaded the face parser from %s.", path)
    return FaceParser(network, device=device)


def _check_hash(path: Path, expected: str | None) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    found = digest.hexdigest()
    if expected is None:
        log.info("%s has SHA-256 %s; it was not compared with anything.", path, found)
    elif found != expected:
        raise CheckpointError(
            f"{path} is damaged or another file: its SHA-256 is {found}, not {expected}; "
            f"download it again from {PARSENET_URL}."
        )


def _parsenet() -> nn.Module:
    try:
        from facexlib.parsing.parsenet import ParseNet
    except ImportError as error:
        raise MissingDependencyError(
            f"The parsing mask needs facexlib, which cannot be imported ({error}); "
            f"run `pip install facexlib torchvision`."
        ) from error
    return ParseNet(in_size=PARSENET_SIZE, out_size=PARSENET_SIZE, parsing_ch=len(CLASSES))
