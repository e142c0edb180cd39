"""An ONNX graph as a PyTorch network, so that a loss can flow back through it.

ONNX Runtime gives no gradients. The operators here are those that face recognition networks are
made of; any other is refused by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError, MissingDependencyError
from ..text import quoted

Values = list[Tensor]
Attributes = Mapping[str, Any]


def read_graph(path: Path) -> Any:
    """The `onnx.GraphProto` of a file that holds all of its weights.

    Raises:
        MissingDependencyError: the package onnx is not installed.
        CheckpointError: it cannot be read, or keeps weights in other files.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.onnx")
        ...     _ = path.write_bytes(b"no graph")
        ...     read_graph(path)
        Traceback (most recent call last):
        gpen_core.errors.CheckpointError: ...
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise MissingDependencyError(
            "Reading an ONNX graph needs onnx; run `pip install onnx`."
        ) from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise CheckpointError(f"{path} is no ONNX graph, or is damaged.") from error
    if any(tensor.external_data for tensor in model.graph.initializer):
        raise CheckpointError(f"{path} keeps its weights in other files; give one whole file.")
    return model.graph


class GraphNetwork(nn.Module):
    """A graph with one input and one output; its weights are buffers.

    Args:
        graph: `onnx.GraphProto`.
        name: what to call it in an error.

    Raises:
        CheckpointError: an operator that is not known here, or not one input and one output.
    """

    def __init__(self, graph: Any, name: str) -> None:
        super().__init__()
        from onnx import helper, numpy_helper

        constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        inputs = [one.name for one in graph.input if one.name not in constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise CheckpointError(f"{name} has {len(inputs)} inputs, not one picture.")
        unknown = sorted({node.op_type for node in graph.node} - _OPERATORS.keys() - {"Constant"})
        if unknown:
            raise CheckpointError(
                f"{name} uses the operator {quoted(unknown[0])}, which is not known here of "
                f"recognition networks; known are {', '.join(_OPERATORS)}."
            )
        self._input, self._output = inputs[0], graph.output[0].name
        self._nodes: list[tuple[str, list[str], str, dict[str, Any]]] = []
        for node in graph.node:
            attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
            if node.op_type == "Constant":
                constants[node.output[0]] = numpy_helper.to_array(attributes["value"])
                continue
            self._nodes.append((node.op_type, list(node.input), node.output[0], attributes))
        self._places = {key: f"constant{number}" for number, key in enumerate(constants)}
        for key, value in constants.items():
            if not np.issubdtype(value.dtype, np.number):
                raise CheckpointError(f"{name} has a constant of the type {value.dtype}.")
            whole = np.issubdtype(value.dtype, np.integer)
            array = np.array(value, dtype=np.int64 if whole else np.float32)
            self.register_buffer(self._places[key], torch.from_numpy(array))

    def forward(self, x: Tensor) -> Tensor:
        """The output for one input."""
        values = {key: getattr(self, place) for key, place in self._places.items()}
        values[self._input] = x
        for operator, names, output, attributes in self._nodes:
            inputs = [values[name] for name in names if name]
            values[output] = _OPERATORS[operator](inputs, attributes)
        return values[self._output]


def _padding(attributes: Attributes) -> tuple[int, int]:
    """(down, across); the graphs of recognition networks pad both ends alike."""
    pads = list(attributes.get("pads", [0, 0, 0, 0]))
    if pads[:2] != pads[2:]:
        raise CheckpointError("The identity graph pads its two ends differently; give another one.")
    return pads[0], pads[1]


def _conv(inputs: Values, attributes: Attributes) -> Tensor:
    return F.conv2d(
        inputs[0],
        inputs[1],
        bias=inputs[2] if len(inputs) > 2 else None,
        stride=tuple(attributes.get("strides", [1, 1])),
        padding=_padding(attributes),
        dilation=tuple(attributes.get("dilations", [1, 1])),
        groups=attributes.get("group", 1),
    )


def _batch_norm(inputs: Values, attributes: Attributes) -> Tensor:
    x, weight, bias, mean, variance = inputs
    return F.batch_norm(x, mean, variance, weight, bias, eps=attributes.get("epsilon", 1e-5))


def _prelu(inputs: Values, attributes: Attributes) -> Tensor:
    x, slope = inputs
    return torch.where(x >= 0, x, x * slope)


def _gemm(inputs: Values, attributes: Attributes) -> Tensor:
    a = inputs[0].mT if attributes.get("transA") else inputs[0]
    b = inputs[1].mT if attributes.get("transB") else inputs[1]
    product = attributes.get("alpha", 1.0) * (a @ b)
    return product + attributes.get("beta", 1.0) * inputs[2] if len(inputs) > 2 else product


def _reshape(inputs: Values, attributes: Attributes) -> Tensor:
    x, shape = inputs[0], inputs[1].tolist()
    sides = [x.shape[at] if side == 0 else side for at, side in enumerate(shape)]
    if sides and sides[0] == 1:  # exported for one picture
        sides[0] = len(x)
    return x.reshape(sides)


def _flatten(inputs: Values, attributes: Attributes) -> Tensor:
    axis = attributes.get("axis", 1)
    x = inputs[0]
    return x.flatten(axis) if axis == 1 else x.reshape(int(np.prod(x.shape[:axis])), -1)


def _pool(inputs: Values, attributes: Attributes) -> Tensor:
    kernel = tuple(attributes["kernel_shape"])
    stride = tuple(attributes.get("strides", [1, 1]))
    return F.max_pool2d(inputs[0], kernel, stride, _padding(attributes))


_OPERATORS: Mapping[str, Callable[[Values, Attributes], Tensor]] = {
    "Add": lambda inputs, _: inputs[0] + inputs[1],
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "Div": lambda inputs, _: inputs[0] / inputs[1],
    "Dropout": lambda inputs, _: inputs[0],
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda inputs, _: inputs[0].mean(dim=(2, 3), keepdim=True),
    "Identity": lambda inputs, _: inputs[0],
    "MatMul": lambda inputs, _: inputs[0] @ inputs[1],
    "MaxPool": _pool,
    "Mul": lambda inputs, _: inputs[0] * inputs[1],
    "PRelu": _prelu,
    "Relu": lambda inputs, _: F.relu(inputs[0]),
    "Reshape": _reshape,
    "Sigmoid": lambda inputs, _: torch.sigmoid(inputs[0]),
    "Sub": lambda inputs, _: inputs[0] - inputs[1],
}
