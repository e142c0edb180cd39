"""ArcFace: who is on a picture, as a vector of 512 numbers.

Deng et al., *ArcFace*, 2019 (arXiv 1801.07698). The IR-SE-50 has the keys of `model_ir_se50.pth`,
which GPEN's own training uses: pre-activation residual units (He et al., 2016) with squeeze and
excitation (Hu et al., 2018). Any other ArcFace can be given as an ONNX graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError, InputError, MissingDependencyError
from ..models.read import file_kind, read_tensors
from ..onnx.check import check_recognition
from ..text import first_line
from .graph import GraphNetwork, read_graph
from .named import named_file
from .sface import inner_face
from .vgg19 import fill

WHAT = "an ArcFace network (model_ir_se50.pth, or an ONNX graph)"
_SIDE, _DIM = 112, 512
_UNITS = ((64, 3), (128, 4), (256, 14), (512, 3))
_SQUEEZE = 16


class Excitation(nn.Module):
    """Channels weighed by what all of them say on the average: (N, C, H, W) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // _SQUEEZE, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // _SQUEEZE, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(means))))


class Unit(nn.Module):
    """One residual unit: (N, in, H, W) -> (N, out, H/stride, W/stride)."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        if width == out:
            self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Conv2d(width, out, 3, 1, 1, bias=False),
            nn.PReLU(out),
            nn.Conv2d(out, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
            Excitation(out),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class IRSE50(nn.Module):
    """(N, 3, 112, 112) RGB -1..1 -> vectors (N, 512), of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64)
        )
        units, width = [], 64
        for out, count in _UNITS:
            for number in range(count):
                units.append(Unit(width, out, stride=1 if number else 2))
                width = out
        self.body = nn.Sequential(*units)
        side = _SIDE >> len(_UNITS)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Dropout(0.6),
            nn.Flatten(),
            nn.Linear(width * side * side, _DIM),
            nn.BatchNorm1d(_DIM),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.output_layer(self.body(self.input_layer(x)))


class ArcFace(nn.Module):
    """Faces in the GPEN template (N, 3, S, S), RGB -1..1 -> unit vectors (N, D).

    Args:
        net: from 112-px faces, RGB -1..1, to vectors.

    Example:
        >>> ArcFace(nn.Flatten())(torch.ones(2, 3, 256, 256)).shape
        torch.Size([2, 37632])
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, faces: Tensor) -> Tensor:
        """Embed faces.

        Raises:
            InputError: `faces` is no batch of square RGB crops, or the network gives no vectors.
        """
        vectors = self.net(inner_face(faces, _SIDE))
        if vectors.ndim != 2 or len(vectors) != len(faces):
            raise InputError(
                f"The identity network gives {tuple(vectors.shape)} for {len(faces)} faces, not a "
                f"vector for each; name an ArcFace network."
            )
        return F.normalize(vectors.float(), dim=1)


def load_arcface(path: str | Path | None = None, sha256: str | None = None) -> ArcFace:
    """The network of a file, frozen: `model_ir_se50.pth`, or any ArcFace as an ONNX graph.

    Args:
        path: the file; its content decides which of the two it is.
        sha256: of the file; None: pinned at the first use.

    Raises:
        CheckpointError: the file is missing, is another one, or holds another network.
        MissingDependencyError: a graph, and the package onnx is not installed.

    Example:
        >>> load_arcface("no-such-file.pth")
        Traceback (most recent call last):
        gpen_core.errors.CheckpointError: no-such-file.pth is missing; it should be an ArcFace ...
    """
    return load_recognition(named_file(path, WHAT, sha256))


def load_recognition(file: Path) -> ArcFace:
    """The same of a file whose hash is nobody's concern. What it costs is known before it is run.

    Raises:
        CheckpointError: it holds no recognition network.
        MissingDependencyError: a graph, and the package onnx is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "notes.pth")
        ...     _ = file.write_text("no network")
        ...     load_recognition(file)
        Traceback (most recent call last):
        gpen_core.errors.CheckpointError: ...
    """
    if file_kind(file) == "onnx":
        net = _of_graph(file)
    else:
        net = IRSE50()
        fill(net, read_tensors(file), file)
    network = ArcFace(net).eval().requires_grad_(False)
    _try_out(network, file)
    return network


def _of_graph(file: Path) -> nn.Module:
    try:
        import onnx
    except ImportError as error:
        raise MissingDependencyError(
            "Reading an ONNX graph needs onnx; run `pip install onnx`."
        ) from error
    check_recognition(file, onnx, _SIDE)
    graph = read_graph(file)
    net = GraphNetwork(graph, str(file))
    return nn.Sequential(_Bytes(), net) if _normalizes(graph) else net


class _Bytes(nn.Module):
    """-1..1 -> 0..255."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + 1) * 127.5


def _normalizes(graph: Any) -> bool:
    """Whether a graph begins by taking 127.5 or so from its input, so that it expects 0..255."""
    constants = {one.name for one in graph.initializer}
    constants |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    pictures = {port.name for port in graph.input} - constants
    users = [node for node in graph.node if pictures & set(node.input)]
    return any(node.op_type == "Sub" and set(node.input) & constants for node in users)


@torch.inference_mode()
def _try_out(network: ArcFace, file: Path) -> None:
    """Refuse what gives the same for every face, or no numbers."""
    faces = torch.linspace(-1, 1, 2 * 3 * _SIDE * _SIDE).view(2, 3, _SIDE, _SIDE)
    faces[1] = faces[1].sin()
    try:
        one, other = network(faces)
    except (InputError, RuntimeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{file} is no face recognition network: it fails on two faces of {_SIDE} px "
            f"({first_line(error)})."
        ) from error
    if not (one.isfinite().all() and other.isfinite().all()) or torch.equal(one, other):
        raise CheckpointError(
            f"{file} is no face recognition network: it gives no vectors by which two faces could "
            f"be told apart."
        )
