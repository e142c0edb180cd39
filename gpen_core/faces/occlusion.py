"""What is in front of a face: hands, hair, microphones, glasses, text, and so on.

A small network of our own on the layers of the face mesh, trained on drawn things, see
`weights/gpen-occlusion-128.md`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import CheckpointError
from ..models.device import OnDevice
from ..models.read import read_tensors
from ..networks.occlusion import SIDE, OcclusionNet
from ..weights.locate import helper
from .mesh import load_mesh

FILE = "gpen-occlusion-128.safetensors"
"""Its weights, in `weights/`."""

# Likelihoods below the first count for nothing, above the second fully; half at 0.5, where less
# than 1 % of bare held-out faces is taken for covered.
_DOUBT, _CERTAIN = 0.35, 0.65


class OcclusionFinder(Protocol):
    """Anything that sees what is in front of aligned faces.

    Example:
        >>> def nothing(faces):
        ...     return torch.zeros(len(faces), 1, 128, 128)
        >>> nothing(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 1, 128, 128])
    """

    def __call__(self, faces: Tensor) -> Tensor:
        """(N, 3, S, S) RGB -1..1, not restored, to (N, 1, P, P) 0..1."""


class Occlusion(OnDevice[OcclusionNet]):
    """The occlusion network with what has to happen before and after it.

    Args:
        network: see `networks.occlusion`.
        device: where it runs.

    Example:
        >>> Occlusion(OcclusionNet())(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 1, 128, 128])
    """

    batch = 16

    @torch.inference_mode()
    def __call__(self, faces: Tensor) -> Tensor:
        """Where something is in front, see `OcclusionFinder`."""
        if len(faces) == 0:
            return torch.zeros(0, 1, SIDE, SIDE)
        small = functional.interpolate(
            faces.to(self.device, torch.float32), (SIDE, SIDE), mode="bilinear", antialias=True
        )
        likely = self.network(small.clamp(-1, 1)).sigmoid()
        # Between doubt and near certainty; a faint suspicion everywhere would thin every mask.
        return ((likely - _DOUBT) / (_CERTAIN - _DOUBT)).clamp(0, 1).clone().cpu()


def load_occlusion(device: torch.device | str = "cpu", path: Path | None = None) -> Occlusion:
    """The occlusion network with its weights.

    Args:
        device: where it runs.
        path: the file; the project's own unless given.

    Raises:
        MissingWeightsError: the project came without it.
        CheckpointError: the file is damaged or another network's.

    Example:
        >>> load_occlusion()(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 1, 128, 128])
    """
    path = path or helper(FILE)
    network = OcclusionNet()
    load_trunk(network)
    state = read_tensors(path)
    try:
        missing, unknown = network.load_state_dict(state, strict=False)
        fits = not unknown and all(name.startswith("trunk.") for name in missing)
    except (RuntimeError, TypeError, AttributeError):
        fits = False
    if not fits:
        raise CheckpointError(f"{path} does not hold the occlusion network; get {FILE} again.")
    return Occlusion(network, device)


def load_trunk(network: OcclusionNet) -> None:
    """Give a network the layers that it shares with the face mesh.

    Raises:
        MissingWeightsError: the project came without them.

    Example:
        >>> load_trunk(OcclusionNet())
    """
    network.trunk.load_state_dict(load_mesh().network.trunk.state_dict())
