"""Which pixel of a face is skin, hair, hat...: facexlib's ParseNet, 19 classes.

The network was trained on CelebAMask-HQ's classes. Its weights are not shipped and never fetched
behind the user's back: they are read from a file, see `weights.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import MissingDependencyError
from ..models.device import OnDevice
from ..options import PARSING_CLASSES
from .weights import read

PARSENET_SIZE = 512


class Parser(Protocol):
    """Anything that labels the pixels of aligned faces.

    Example:
        >>> def everywhere_skin(faces):
        ...     return torch.full((len(faces), 64, 64), PARSING_CLASSES.index("skin"))
        >>> everywhere_skin(torch.zeros(2, 3, 512, 512)).shape
        torch.Size([2, 64, 64])
    """

    def __call__(self, faces: Tensor) -> Tensor:
        """(N, 3, T, T) RGB -1..1 to (N, P, P) int64 indices into `options.PARSING_CLASSES`."""


class FaceParser(OnDevice[nn.Module]):
    """A parsing network with what has to happen before and after it.

    Args:
        network: (n, 3, size, size) RGB -1..1 to logits (n, 19, h, w), or a tuple that starts with
            them, as ParseNet returns.
        size: side of the network's input in pixels.
        device: where it runs.
        batch: faces at once; bounds the memory (about 0.6 GB a face at 512 px).

    Example:
        >>> parser = FaceParser(nn.Conv2d(3, 19, 1), size=32)
        >>> parser(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 32, 32])
    """

    def __init__(
        self,
        network: nn.Module,
        size: int = PARSENET_SIZE,
        device: torch.device | str = "cpu",
        batch: int = 2,
    ) -> None:
        super().__init__(network, device)
        self.size = size
        self.batch = batch

    @torch.inference_mode()
    def __call__(self, faces: Tensor) -> Tensor:
        """Labels of restored faces.

        Args:
            faces: (N, 3, T, T) RGB -1..1; resized with antialiasing to the network's input.

        Returns:
            (N, P, P) int64 indices into `options.PARSING_CLASSES`, on the faces' device.
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
    weights: Path | str | None = None, device: torch.device | str = "cpu"
) -> FaceParser:
    """facexlib's ParseNet with its weights from disk.

    Args:
        weights: the folder of the weights, or a file, see `weights.read`; nothing is downloaded.
        device: where the network runs.

    Raises:
        MissingWeightsError: the file is not there; names file, folder and address.
        MissingDependencyError: facexlib, or what it imports, is not installed.
        CheckpointError: another hash, a damaged file, another network's weights.

    Example:
        >>> load_parser("no/such/folder")
        Traceback (most recent call last):
        gpen_core.errors.MissingWeightsError: parsing_parsenet.pth was not found in ...
    """
    found = read("parsing", weights, "choose a mask other than 'parsing'")
    network = _parsenet()
    found.load_into(network)
    return FaceParser(network, device=device)


def _parsenet() -> nn.Module:
    try:
        from facexlib.parsing.parsenet import ParseNet
    # A torchvision built for another PyTorch fails with RuntimeError.
    except (ImportError, RuntimeError) as error:
        raise MissingDependencyError(
            f"The parsing mask needs facexlib, which cannot be imported ({error}); "
            f"run `pip install facexlib torchvision`."
        ) from error
    return ParseNet(in_size=PARSENET_SIZE, out_size=PARSENET_SIZE, parsing_ch=len(PARSING_CLASSES))
