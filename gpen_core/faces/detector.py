"""Detector: a network that finds the faces in one image, and which ones there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..options import DETECTORS

Progress = Callable[[int, int], None]
"""Told (done, total) steps of one search; raising from it stops the search."""


class Detector(Protocol):
    """Anything that finds faces in one image.

    One that has a method `on(device)`, which gives the same detector on another device, is sent to
    the CPU when its own device has no memory left.

    Example:
        >>> detector = load_detector()
        >>> boxes, scores, landmarks = detector(torch.zeros(3, 48, 64), 16.0, 0.9, lambda *_: None)
        >>> boxes.shape, scores.shape, landmarks.shape
        (torch.Size([0, 4]), torch.Size([0]), torch.Size([0, 5, 2]))
    """

    @property
    def name(self) -> str:
        """What `load_detector` calls it."""

    @property
    def network(self) -> nn.Module:
        """Its weights; a host may move them, the detector runs where they lie."""

    @property
    def device(self) -> torch.device:
        """Where the network lies."""

    def __call__(
        self, image: Tensor, min_size: float, confidence: float, progress: Progress
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Faces of one image (3, H, W), RGB 0..1, H and W at least 1.

        `min_size` (pixels, smallest face worth looking for) and `confidence` (0..1) save work;
        both are checked again by `detect`. `progress` is called every second or so.

        Returns:
            Boxes (K, 4), scores (K,) 0..1 and landmarks (K, 5, 2), in pixels of this image with
            centers at integers, float32, on any device.
        """


def load_detector(
    name: str = "mtcnn",
    device: torch.device | str = "cpu",
    weights_dir: Path | str | None = None,
) -> Detector:
    """A face detector, ready to be called; keep it, it is loaded anew each time.

    Args:
        name: one of `DETECTORS`.
        device: where its network goes.
        weights_dir: folder (or file) of RetinaFace's weights, see `weights.read`; MTCNN needs
            none.

    Raises:
        InputError: no such detector.
        MissingWeightsError, MissingDependencyError, CheckpointError: what is missing or wrong,
            and where to get it.

    Example:
        >>> load_detector("mtcnn").name
        'mtcnn'
    """
    if name == "mtcnn":
        from .mtcnn import load_mtcnn

        return load_mtcnn(device)
    if name in DETECTORS:
        from .retinaface import load_retinaface

        return load_retinaface(name.removeprefix("retinaface-"), device, weights_dir)
    raise InputError(f"There is no face detector {name!r}; choose among {', '.join(DETECTORS)}.")
