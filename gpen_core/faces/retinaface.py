"""RetinaFace: facexlib's networks, with weights from a folder.

Deng et al., "RetinaFace: Single-shot Multi-level Face Localisation in the Wild", 2020
(arXiv 1905.00641). One pass over the image; anchors of two sizes on three levels. Only the
networks are facexlib's: decoding and suppression run here, on the network's device, and nothing
is downloaded.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import InputError, MissingDependencyError
from ..models.device import copied
from .boxes import suppress
from .weights import read

log = logging.getLogger(__name__)

VARIANTS = ("resnet50", "mobile0.25")
"""The published networks, by facexlib's names of their backbones."""

_MEAN_BGR = (104.0, 117.0, 123.0)
_ANCHORS = ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))  # stride, sides; pixels
_VARIANCE = (0.1, 0.2)  # of centers and landmarks, of sizes
_OVERLAP = 0.4
_MOST = 2000  # candidates that are compared with each other


class RetinaFaceDetector:
    """Finds faces with RetinaFace; see `detect.Detector`.

    Attributes:
        network: facexlib's module; move it, and the detector runs where it lies.
        name: `retinaface-resnet50` or `retinaface-mobile0.25`.
    """

    def __init__(self, network: nn.Module, name: str) -> None:
        self.network = network.eval()
        self.name = name

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.network.parameters()).device

    def on(self, device: torch.device) -> RetinaFaceDetector:
        """The same detector on another device."""
        return RetinaFaceDetector(copied(self.network, device), self.name)

    @torch.inference_mode()
    def __call__(
        self,
        image: Tensor,
        min_size: float,
        confidence: float,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Faces of one image.

        Args:
            image: (3, H, W) RGB 0..1.
            min_size: unused; the network looks for 16 px and more in any case.
            confidence: least score of a face, 0..1.
            progress: not called: the network looks once.

        Returns:
            Boxes (K, 4), scores (K,), landmarks (K, 5, 2) in pixels of the image, best first.
        """
        bgr = image.to(self.device, torch.float32).flip(0) * 255
        bgr -= bgr.new_tensor(_MEAN_BGR)[:, None, None]
        offsets, probabilities, points = self.network(bgr[None])
        scores = probabilities[0, :, 1]
        chosen = torch.nonzero(scores > confidence).flatten()
        if len(chosen) > _MOST:
            log.debug("%d candidates; the best are kept.", len(chosen))
            chosen = chosen[scores[chosen].topk(_MOST).indices]
        anchors = _anchors(image.shape[-2], image.shape[-1], self.device)[chosen]
        boxes, landmarks = _decode(anchors, offsets[0, chosen], points[0, chosen])
        kept = suppress(boxes, scores[chosen], _OVERLAP)
        return boxes[kept] - 0.5, scores[chosen][kept], landmarks[kept] - 0.5


def _anchors(height: int, width: int, device: torch.device) -> Tensor:
    """(A, 3) center x, center y, side in pixels, in the order of the network's outputs."""
    levels = []
    for stride, sides in _ANCHORS:
        y = (torch.arange(-(-height // stride), device=device) + 0.5) * stride
        x = (torch.arange(-(-width // stride), device=device) + 0.5) * stride
        side = torch.tensor(sides, dtype=torch.float32, device=device)
        y, x, side = torch.meshgrid(y, x, side, indexing="ij")
        levels.append(torch.stack([x, y, side], dim=-1).reshape(-1, 3))
    return torch.cat(levels)


def _decode(anchors: Tensor, offsets: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes (N, 4) and landmarks (N, 5, 2) of outputs (N, 4) and (N, 10) at anchors (N, 3)."""
    centers, sides = anchors[:, :2], anchors[:, 2:]
    middle = centers + offsets[:, :2] * _VARIANCE[0] * sides
    half = sides * torch.exp(offsets[:, 2:] * _VARIANCE[1]) / 2
    boxes = torch.cat([middle - half, middle + half], dim=1)
    landmarks = centers[:, None] + points.reshape(-1, 5, 2) * _VARIANCE[0] * sides[:, None]
    return boxes, landmarks


# --- weights -------------------------------------------------------------------------------------


def load_retinaface(
    variant: str = "resnet50",
    device: torch.device | str = "cpu",
    weights: Path | str | None = None,
) -> RetinaFaceDetector:
    """RetinaFace with weights from disk.

    Args:
        variant: `resnet50` or `mobile0.25`.
        device: where the network goes.
        weights: the folder of the weights, or a file, see `weights.read`.

    Raises:
        InputError: no such variant.
        MissingWeightsError: the file is not there; names file, folder and address.
        CheckpointError: the hash differs from the known one, or it is another network's.
        MissingDependencyError: facexlib or torchvision cannot be imported.
    """
    if variant not in VARIANTS:
        raise InputError(f"There is no RetinaFace {variant!r}; choose {' or '.join(VARIANTS)}.")
    name = f"retinaface-{variant}"
    found = read(name, weights, "use the detector mtcnn, which needs no download")
    network = _network(variant)
    found.load_into(network)
    return RetinaFaceDetector(network.requires_grad_(False).to(device), name)


def _network(variant: str) -> nn.Module:
    try:
        from facexlib.detection.retinaface import RetinaFace
    # A torchvision built for another PyTorch fails with RuntimeError.
    except (ImportError, RuntimeError) as error:
        raise MissingDependencyError(
            f"The RetinaFace detectors need facexlib and a torchvision that fits this PyTorch "
            f"({error}); run `pip install facexlib torchvision`, or use the detector mtcnn."
        ) from error
    with warnings.catch_warnings():
        # facexlib asks torchvision for "no pretrained weights" in an outdated way.
        warnings.simplefilter("ignore")
        # Without a device it would put a part of itself on any GPU it sees.
        return RetinaFace(network_name=variant, device="cpu")
