"""TensorFlow Lite files: the tensors in them, without running anything.

    python -m gpen_core.models.tflite_file face_landmark.tflite face-mesh-192.safetensors

made `weights/face-mesh-192.safetensors`, see its card.
"""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import CheckpointError, GPENError, MissingDependencyError
from ..files import replacing
from ..networks.face_mesh import FaceMesh

log = logging.getLogger(__name__)
_TYPES = {0: np.float32, 1: np.float16}
_NAME = re.compile(r"(?:.*/)?(depthwise_conv2d|conv2d|p_re_lu)_(\d+)/(Kernel|Bias|Alpha)")


def read_tflite(path: Path) -> dict[str, Tensor]:
    """The named constants of a file's first graph, in the file's layout.

    Raises:
        MissingDependencyError: the package `tflite` is not installed.
        CheckpointError: no TensorFlow Lite file, or a damaged one.

    Example:
        >>> read_tflite(Path("no-such.tflite"))
        Traceback (most recent call last):
        gpen_core.errors.CheckpointError: no-such.tflite cannot be read ...
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error}); check the path.") from error
    try:
        import tflite
    except ImportError as error:
        raise MissingDependencyError(
            "Reading TensorFlow Lite files needs tflite; run `pip install tflite`."
        ) from error
    if content[4:8] != b"TFL3":
        raise CheckpointError(f"{path} is no TensorFlow Lite file.")
    try:
        model = tflite.Model.GetRootAsModel(content, 0)
        graph = model.Subgraphs(0)
        found = {}
        for index in range(graph.TensorsLength()):
            tensor = graph.Tensors(index)
            data = model.Buffers(tensor.Buffer())
            if data.DataLength() and tensor.Type() in _TYPES:
                values = np.frombuffer(data.DataAsNumpy().tobytes(), _TYPES[tensor.Type()])
                name = tensor.Name().decode("utf-8", "replace")
                found[name] = torch.from_numpy(values.reshape(tensor.ShapeAsNumpy()).copy())
    except (IndexError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise CheckpointError(f"{path} is damaged ({type(error).__name__}: {error}).") from error
    return found


def face_mesh_state(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Constants of MediaPipe's `face_landmark.tflite` as the state of a `FaceMesh`.

    Raises:
        CheckpointError: another network's.

    Example:
        >>> face_mesh_state({})
        Traceback (most recent call last):
        gpen_core.errors.CheckpointError: These are not the constants of face_landmark.tflite ...
    """
    named = {}
    for name, tensor in tensors.items():
        if match := _NAME.fullmatch(name):
            named[match[1], int(match[2]), match[3]] = tensor
    network = FaceMesh()
    counts = {"depthwise_conv2d": iter([*range(1, 19), 23, 24]),
              "conv2d": iter([*range(1, 22), *range(28, 32)]),
              "p_re_lu": iter([*range(1, 21), *range(26, 29)])}  # fmt: skip
    state = {}
    try:
        for name, layer in network.named_modules():
            if isinstance(layer, nn.PReLU):
                state[f"{name}.weight"] = named["p_re_lu", next(counts["p_re_lu"]), "Alpha"]
            elif isinstance(layer, nn.Conv2d):
                each = layer.groups > 1
                kind = "depthwise_conv2d" if each else "conv2d"
                number = next(counts[kind])
                order = (3, 0, 1, 2) if each else (0, 3, 1, 2)
                state[f"{name}.weight"] = named[kind, number, "Kernel"].permute(order)
                state[f"{name}.bias"] = named[kind, number, "Bias"]
        state = {
            name: state[name].reshape(value.shape).contiguous()
            for name, value in network.state_dict().items()
        }
    except (KeyError, RuntimeError, StopIteration) as error:
        raise CheckpointError(
            f"These are not the constants of face_landmark.tflite of mediapipe 0.10.21 ({error})."
        ) from error
    return state


def main(arguments: list[str]) -> int:
    """The command: the TensorFlow Lite file, and the file to write."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(arguments) != 2:
        log.error("Give the path of face_landmark.tflite, and that of the file to write.")
        return 2
    try:
        state = face_mesh_state(read_tflite(Path(arguments[0])))
        described = {
            "architecture": "face-mesh",
            "input_size": "192",
            "license": "Apache-2.0",
            "source": "mediapipe 0.10.21, modules/face_landmark/face_landmark.tflite",
        }
        with replacing(Path(arguments[1])) as scratch:
            save_file(state, scratch, metadata=described)
    except GPENError as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
