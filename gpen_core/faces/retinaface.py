"""RetinaFace: facexlib's networks, with weights from a folder.

Deng et al., "RetinaFace: Single-shot Multi-level Face Localisation in the Wild", 2020
(arXiv 1905.00641). One pass over the image; anchors of two sizes on three levels. Only the
networks are facexlib's: decoding and suppression run here, on the network's device, and nothing
is downloaded.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, InputError, MissingDependencyError, MissingWeightsError
from .boxes import suppress

log = logging.getLogger(__name__)

WEIGHTS_VARIABLE = "GPEN_WEIGHTS"
_RELEASE = "https://github.com/xinntao/facexlib/releases/download/v0.1.0/"


@dataclass(frozen=True)
class Variant:
    """One of the two published networks.

    Attributes:
        backbone: facexlib's name of it.
        file: name of its weights file.
        sha256: of that file, None where none was published.
    """

    backbone: str
    file: str
    sha256: str | None

    @property
    def url(self) -> str:
        """Where the file is to be had."""
        return _RELEASE + self.file


VARIANTS = {
    "resnet50": Variant(
        "resnet50",
        "detection_Resnet50_Final.pth",
        "6d1de9c2944f2ccddca5f5e010ea5ae64a39845a86311af6fdf30841b0a5a16d",
    ),
    "mobile0.25": Variant("mobile0.25", "detection_mobilenet0.25_Final.pth", None),
}

_MEAN_BGR = (104.0, 117.0, 123.0)
_ANCHORS = ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))  # stride, sides; pixels
_VARIANCE = (0.1, 0.2)  # of centres and landmarks, of sizes
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

    @torch.inference_mode()
    def __call__(
        self, image: Tensor, min_size: float = 20.0, confidence: float = 0.9
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Faces of one image.

        Args:
            image: (3, H, W) RGB 0..1.
            min_size: unused; the network looks for 16 px and more in any case.
            confidence: least score of a face, 0..1.

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
    """(A, 3) centre x, centre y, side in pixels, in the order of the network's outputs."""
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
    centres, sides = anchors[:, :2], anchors[:, 2:]
    middle = centres + offsets[:, :2] * _VARIANCE[0] * sides
    half = sides * torch.exp(offsets[:, 2:] * _VARIANCE[1]) / 2
    boxes = torch.cat([middle - half, middle + half], dim=1)
    landmarks = centres[:, None] + points.reshape(-1, 5, 2) * _VARIANCE[0] * sides[:, None]
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
        weights: the folder of the weights, or a file of any other name (self-trained weights, of
            which no hash is known). None: the folder that the environment variable GPEN_WEIGHTS
            names, or `weights` beside the package.

    Raises:
        InputError: no such variant.
        MissingWeightsError: the file is not there; names file, folder and address.
        CheckpointError: the hash differs from the published file's, or it is another network's.
        MissingDependencyError: facexlib or torchvision cannot be imported.
    """
    if variant not in VARIANTS:
        raise InputError(f"There is no RetinaFace {variant!r}; choose {' or '.join(VARIANTS)}.")
    known = VARIANTS[variant]
    path = _find(known, weights)
    state = _read(path, known)
    network = _network(known)
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} does not fit RetinaFace {variant}: {_first_fault(error)}; download "
            f"{known.url} instead."
        ) from error
    return RetinaFaceDetector(network.requires_grad_(False).to(device), f"retinaface-{variant}")


def default_folder() -> Path:
    """Where weights are looked for when no folder is given."""
    named = os.environ.get(WEIGHTS_VARIABLE)
    return Path(named).expanduser() if named else Path(__file__).parents[2] / "weights"


def _find(known: Variant, weights: Path | str | None) -> Path:
    place = default_folder() if weights is None else Path(weights).expanduser()
    path = place if place.is_file() else place / known.file
    if not path.is_file():
        raise MissingWeightsError(
            f"The weights of the face detector, {known.file}, are not in {place}; download "
            f"{known.url} into that folder, or use the detector mtcnn, which needs no download."
        )
    return path


def _read(path: Path, known: Variant) -> dict[str, Tensor]:
    """The state dict; the hash is compared before anything is unpickled."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    found = digest.hexdigest()
    if known.sha256 is None or path.name != known.file:
        log.info("%s: SHA-256 %s, compared with nothing.", path, found)
    elif found != known.sha256:
        raise CheckpointError(
            f"{path} is damaged or another file: its SHA-256 is {found}, not {known.sha256}; "
            f"download {known.url} again, or rename a file of your own and name it in full."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} cannot be read as PyTorch weights; download {known.url} again."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path} holds no state dict; download {known.url} instead.")
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def _network(known: Variant) -> nn.Module:
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
        return RetinaFace(network_name=known.backbone, device="cpu")


def _first_fault(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return (lines[1] if len(lines) > 1 else lines[0])[:200].rstrip(".")
