"""GPEN v1 as an ONNX graph, written node by node.

Written rather than traced: no exporter to depend on, all constants folded, and a layout ONNX
Runtime fuses. All styles come out of one matrix product; convolutions keep constant weights, with
the style on their input and the demodulation on their output (see `networks.layers`), so that one
graph serves any batch; a ToRGB is a matrix product, which spares scaling its whole input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from ..networks.fir import fir_kernel
from ..networks.gpen import BASE, GPEN, GPENConfig
from ..networks.layers import DEMODULATION_EPS, GAIN, NEGATIVE_SLOPE, PIXEL_NORM_EPS
from .folding import fold
from .layout import LAYOUT

OPSET = 17
STYLES = "generator.modulations"


def modulated(config: GPENConfig) -> list[str]:
    """The modulated convolutions, in the order in which their styles are stacked."""
    names = ["generator.conv1", "generator.to_rgb1"]
    for level in range(len(config.resolutions) - 1):
        names += [f"generator.convs.{2 * level}", f"generator.convs.{2 * level + 1}"]
        names.append(f"generator.to_rgbs.{level}")
    return names


def build(network: GPEN, batch: int | None, half: bool, metadata: Mapping[str, str]) -> Any:
    """The graph of a network, as an `onnx.ModelProto`.

    Args:
        network: with its weights.
        batch: fixed number of faces, None for any.
        half: convolve in fp16; input, output and the styles stay fp32.
        metadata: text kept in the file.
    """
    config = network.config
    graph = _Graph(fold(network.state_dict(), config), np.float16 if half else np.float32)
    first = graph.node("Cast", "input", to=TensorProto.FLOAT16) if half else "input"
    encoded = _encode(graph, config, first)
    _add_styles(graph, config, encoded[0])
    features = [(feature, feature) for feature in encoded]
    features += [
        (graph.noise(a), graph.noise(b)) for a, b in network.noise(None, next(network.parameters()))
    ]
    graph.finish(_generate(graph, config, features))
    dim = "batch" if batch is None else batch
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [dim, 3, size, size])
        for name, size in (("input", config.in_size), ("output", config.out_size))
    ]
    body = helper.make_graph(graph.nodes, "gpen", ports[:1], ports[1:], graph.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(body, opset_imports=opsets, producer_name="gpen", ir_version=8)
    helper.set_model_props(model, {**metadata, "layout": LAYOUT})
    return model


@dataclass
class _Graph:
    """Nodes and constants under construction.

    Attributes:
        weights: the folded state dict.
        dtype: of the convolutions.
    """

    weights: dict[str, Tensor]
    dtype: Any
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append a node with one output; returns the output's name."""
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: Any, dtype: Any = None) -> str:
        """A constant, kept once; returns its name."""
        if name not in self.names:
            self.names.add(name)
            array = np.asarray(value, dtype=self.dtype if dtype is None else dtype)
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def weight(self, key: str, *shape: int, dtype: Any = None) -> str:
        """A folded weight under its own key, reshaped where a shape is given."""
        value = self.weights[key]
        return self.constant(key, (value.reshape(shape) if shape else value).numpy(), dtype)

    def narrow(self, name: str) -> str:
        """float32 to the type of the convolutions."""
        if self.dtype is np.float32:
            return name
        return self.node("Cast", name, to=TensorProto.FLOAT16)

    def leaky(self, x: str) -> str:
        return self.node("LeakyRelu", x, alpha=NEGATIVE_SLOPE)

    def maps(self, vector: str) -> str:
        """(N, C) float32 -> (N, C, 1, 1) in the type of the convolutions."""
        axes = self.constant("axes_maps", [2, 3], np.int64)
        return self.narrow(self.node("Unsqueeze", vector, axes))

    def filter(self, x: str, channels: int, gain: float, **attributes: Any) -> str:
        """The FIR filter, per channel; a transposed convolution where it upsamples."""
        kernel = np.broadcast_to(fir_kernel(gain).numpy(), (channels, 1, 4, 4))
        name = self.constant(f"fir.{gain:g}.{channels}", kernel)
        kind = "ConvTranspose" if "strides" in attributes else "Conv"
        return self.node(kind, x, name, group=channels, **attributes)

    def noise(self, value: Tensor) -> str:
        """A constant map (1, C, r, r) for every face of the batch."""
        constant = self.constant(f"sr_noise.{len(self.constants)}", value.numpy())
        ends = [self.constant(f"int.{i}", [i], np.int64) for i in (0, 1)]
        count = self.node("Slice", self.node("Shape", "input"), *ends)
        rest = self.constant(f"shape.{'x'.join(map(str, value.shape[1:]))}", value.shape[1:], "i8")
        return self.node("Expand", constant, self.node("Concat", count, rest, axis=0))

    def finish(self, x: str) -> None:
        if self.dtype is np.float32:
            self.nodes.append(helper.make_node("Identity", [x], ["output"]))
        else:
            self.nodes.append(helper.make_node("Cast", [x], ["output"], to=TensorProto.FLOAT))


def _encode(graph: _Graph, config: GPENConfig, x: str) -> list[str]:
    """The encoder's features for r = 4, 8, ... in_size."""
    features = []
    sizes = [size for size in reversed(config.resolutions) if size <= config.in_size]
    for index, size in enumerate(sizes):
        prefix, strides = f"ecd{index}.0", [1, 1]
        if index:
            x = graph.filter(x, config.width(sizes[index - 1]), 1.0, pads=[2] * 4)
            strides = [2, 2]
        weight = graph.weight(f"{prefix}.{min(index, 1)}.weight")
        bias = graph.weight(f"{prefix}.{1 + min(index, 1)}.bias", config.width(size))
        x = graph.leaky(graph.node("Conv", x, weight, bias, strides=strides))
        features.append(x)
    return features[::-1]


def _style_of(name: str) -> str:
    """The value that holds the style (N, in) of a modulated convolution, float32."""
    return f"{name}.style"


def _add_styles(graph: _Graph, config: GPENConfig, feature: str) -> None:
    """Compute the style of every modulated convolution, see `_style_of`."""

    def linear(x: str, layer: str) -> str:
        weight = graph.weight(f"{layer}.weight", dtype=np.float32)
        bias = graph.weight(f"{layer}.bias", dtype=np.float32)
        return graph.node("Gemm", x, weight, bias, transB=1)

    x = graph.node("Flatten", feature)
    if graph.dtype is not np.float32:
        x = graph.node("Cast", x, to=TensorProto.FLOAT)
    x = graph.leaky(linear(x, "final_linear.0"))
    mean = graph.node("ReduceMean", graph.node("Mul", x, x), axes=[1], keepdims=1)
    eps = graph.constant("eps_norm", PIXEL_NORM_EPS, np.float32)
    x = graph.node("Div", x, graph.node("Sqrt", graph.node("Add", mean, eps)))
    for index in range(1, config.n_mlp + 1):
        x = graph.leaky(linear(x, f"generator.style.{index}"))
    names = modulated(config)
    for part in ("weight", "bias"):
        stacked = [graph.weights[f"{name}.conv.modulation.{part}"].numpy() for name in names]
        graph.constant(f"{STYLES}.{part}", np.concatenate(stacked), np.float32)
    x = graph.node("Gemm", x, f"{STYLES}.weight", f"{STYLES}.bias", transB=1)
    sizes = [graph.weights[f"{name}.conv.weight"].shape[2] for name in names]
    lengths = graph.constant("style_sizes", sizes, np.int64)
    outputs = [_style_of(name) for name in names]
    graph.nodes.append(helper.make_node("Split", [x, lengths], outputs, axis=1))


def _generate(
    graph: _Graph,
    config: GPENConfig,
    features: Iterable[tuple[str, str]],
) -> str:
    levels = list(features)
    x = graph.weight("generator.input.input")
    x = _styled_conv(graph, x, "generator.conv1", levels[0][0], upsample=False)
    rgb = _to_rgb(graph, x, "generator.to_rgb1", BASE, None)
    for level, resolution in enumerate(config.resolutions[1:]):
        for which in (0, 1):
            name = f"generator.convs.{2 * level + which}"
            feature = levels[level + 1][which]
            x = _styled_conv(graph, x, name, feature, upsample=not which)
        rgb = _to_rgb(graph, x, f"generator.to_rgbs.{level}", resolution, rgb)
    return rgb


def _styled_conv(graph: _Graph, x: str, name: str, feature: str, *, upsample: bool) -> str:
    weight = graph.weights[f"{name}.conv.weight"][0]
    width, style = len(weight), _style_of(name)
    x = graph.node("Mul", x, graph.maps(style))
    key = f"{name}.conv.weight"
    if upsample:
        graph.constant(key, weight.transpose(0, 1).numpy())
        x = graph.node("ConvTranspose", x, key, strides=[2, 2])
        x = graph.filter(x, width, 4.0, pads=[1] * 4)
    else:
        graph.constant(key, weight.numpy())
        x = graph.node("Conv", x, key, pads=[1] * 4)
    x = graph.node("Mul", x, graph.maps(_demodulation(graph, name, weight, style)))
    scaled = graph.node("Mul", feature, graph.weight(f"{name}.noise.weight"))
    x = graph.node("Concat", x, scaled, axis=1)
    bias = graph.weight(f"{name}.activate.bias", 1, 2 * width, 1, 1)
    return graph.leaky(graph.node("Add", x, bias))


def _demodulation(graph: _Graph, name: str, weight: Tensor, style: str) -> str:
    """sqrt(2) over the norm of each modulated filter, (N, out) float32."""
    energy = weight.square().sum(dim=(2, 3)).t().numpy()
    squared = graph.node("Mul", style, style)
    norm = graph.node("MatMul", squared, graph.constant(f"{name}.energy", energy, np.float32))
    eps = graph.constant("eps_demodulation", DEMODULATION_EPS, np.float32)
    gain = graph.constant("gain", GAIN, np.float32)
    return graph.node("Div", gain, graph.node("Sqrt", graph.node("Add", norm, eps)))


def _to_rgb(graph: _Graph, x: str, name: str, size: int, skip: str | None) -> str:
    key = f"{name}.conv.weight"
    channels = graph.weights[key].shape[2]
    style = graph.node("Unsqueeze", _style_of(name), graph.constant("axes_rgb", [1], np.int64))
    weight = graph.weight(key, 1, 3, channels, dtype=np.float32)
    weight = graph.narrow(graph.node("Mul", weight, style))
    flat = graph.node("Reshape", x, graph.constant("shape_flat", [0, 0, -1], np.int64))
    shape = graph.constant(f"shape_{size}", [0, 3, size, size], np.int64)
    rgb = graph.node("Reshape", graph.node("MatMul", weight, flat), shape)
    rgb = graph.node("Add", rgb, graph.weight(f"{name}.bias"))
    if skip is None:
        return rgb
    return graph.node("Add", rgb, graph.filter(skip, 3, 4.0, strides=[2, 2], pads=[1] * 4))


def to_bytes(model: onnx.ModelProto) -> bytes:
    """The checked graph, ready to be written.

    Raises:
        onnx.checker.ValidationError: the graph is wrong, which would be a mistake in this module.
    """
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()
