"""Small constants that a graph computes: shapes, paddings, axes.

Exporters write a padding as a dozen nodes that depend on nothing. Shape inference gives up on them,
so they are worked out here, where a value has a few numbers at most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

SMALL = 4096
"""Numbers that a value may have to be worked out."""

Inputs = list[np.ndarray]


def small_value(
    node: Any, values: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], onnx: Any
) -> np.ndarray | None:
    """What a node gives, None where that is not known or not small.

    Args:
        node: an `onnx.NodeProto`.
        values: the small constants known so far.
        shapes: of values, as far as they are known.
        onnx: the package.
    """
    if len(node.output) != 1:
        return None
    given = {attribute.name: attribute for attribute in node.attribute}
    attributes = {name: onnx.helper.get_attribute_value(a) for name, a in given.items()}
    if node.op_type == "Constant":
        return _stated(attributes, onnx)
    if node.op_type == "Shape":
        known = shapes.get(node.input[0]) if node.input else None
        cut = slice(attributes.get("start", 0), attributes.get("end"))
        return None if known is None else np.array(known, np.int64)[cut]
    step = _STEPS.get(node.op_type)
    if step is None or not all(name in values for name in node.input if name):
        return None
    inputs = [values[name] if name else np.zeros(0) for name in node.input]
    try:
        with np.errstate(all="ignore"):
            result = np.asarray(step(inputs, attributes))
    # A node that cannot be worked out is left to shape inference, which names its fault.
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, ZeroDivisionError):
        return None
    if node.op_type not in _NEW_TYPE and inputs and result.dtype != inputs[0].dtype:
        result = result.astype(inputs[0].dtype)
    return result if result.size <= SMALL and result.dtype.kind in "iufb" else None


def _stated(attributes: Mapping[str, Any], onnx: Any) -> np.ndarray | None:
    tensor = attributes.get("value")
    if tensor is not None and math.prod(tensor.dims) <= SMALL and tensor.data_type != 8:
        return onnx.numpy_helper.to_array(tensor)
    for name, kind in (("value_int", "i8"), ("value_ints", "i8"), ("value_float", "f4")):
        if name in attributes and np.size(attributes[name]) <= SMALL:
            return np.asarray(attributes[name], kind)
    return None


def _constant_of_shape(inputs: Inputs, attributes: Mapping[str, Any]) -> np.ndarray:
    shape = [int(side) for side in inputs[0]]
    if math.prod(shape) > SMALL:
        raise ValueError("too large")
    tensor = attributes.get("value")
    if tensor is None:
        return np.zeros(shape, np.float32)
    raw, ints, floats = tensor.raw_data, tensor.int64_data, tensor.float_data
    kind = {1: "f4", 6: "i4", 7: "i8", 11: "f8"}[tensor.data_type]
    value = np.frombuffer(raw, kind)[0] if raw else [*ints, *floats, *tensor.int32_data][0]
    return np.full(shape, value, kind)


def _slice(inputs: Inputs, attributes: Mapping[str, Any]) -> np.ndarray:
    data = inputs[0]
    if len(inputs) == 1:
        starts, ends = attributes["starts"], attributes["ends"]
        axes: Any = attributes.get("axes", range(len(starts)))
        steps: Any = [1] * len(starts)
    else:
        starts, ends = inputs[1], inputs[2]
        axes = inputs[3] if len(inputs) > 3 and inputs[3].size else range(len(starts))
        steps = inputs[4] if len(inputs) > 4 else [1] * len(starts)
    cuts = [slice(None, None, None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        # Going backwards, an end before the first number means "to the first".
        last = None if step < 0 and end < -data.shape[int(axis)] else int(end)
        cuts[int(axis)] = slice(int(start), last, int(step))
    return data[tuple(cuts)]


def _reshape(inputs: Inputs, attributes: Mapping[str, Any]) -> np.ndarray:
    data, shape = inputs[0], [int(side) for side in inputs[1]]
    kept = not attributes.get("allowzero", 0)
    return data.reshape([data.shape[i] if kept and not s else s for i, s in enumerate(shape)])


def _cast(inputs: Inputs, attributes: Mapping[str, Any]) -> np.ndarray:
    kinds = {1: "f4", 2: "u1", 3: "i1", 5: "i2", 6: "i4", 7: "i8", 9: "?", 10: "f2", 11: "f8"}
    return inputs[0].astype(kinds[attributes["to"]])


def _axes(inputs: Inputs, attributes: Mapping[str, Any]) -> list[int]:
    axes = inputs[1] if len(inputs) > 1 else attributes.get("axes", [])
    return [int(axis) for axis in axes]


def _unsqueeze(inputs: Inputs, attributes: Mapping[str, Any]) -> np.ndarray:
    return np.expand_dims(inputs[0], tuple(_axes(inputs, attributes)))


def _squeeze(inputs: Inputs, attributes: Mapping[str, Any]) -> np.ndarray:
    return np.squeeze(inputs[0], tuple(_axes(inputs, attributes)) or None)


def _divide(inputs: Inputs, attributes: Mapping[str, Any]) -> np.ndarray:
    whole = inputs[0].dtype.kind in "iu"
    if whole and not np.all(inputs[1]):
        raise ZeroDivisionError
    return np.trunc(inputs[0] / inputs[1]) if whole else inputs[0] / inputs[1]


def _pairwise(function: Callable[[Any, Any], Any]) -> Callable[[Inputs, Mapping[str, Any]], Any]:
    def step(inputs: Inputs, attributes: Mapping[str, Any]) -> Any:
        first, second = inputs
        if math.prod(np.broadcast_shapes(first.shape, second.shape)) > SMALL:
            raise ValueError("too large")
        return function(first, second)

    return step


def _where(inputs: Inputs, attributes: Mapping[str, Any]) -> np.ndarray:
    if math.prod(np.broadcast_shapes(*(value.shape for value in inputs))) > SMALL:
        raise ValueError("too large")
    return np.where(*inputs)


_NEW_TYPE = ("Cast", "ConstantOfShape", "Equal", "Where")
_STEPS: Mapping[str, Callable[[Inputs, Mapping[str, Any]], Any]] = {
    "Identity": lambda inputs, _: inputs[0],
    "Neg": lambda inputs, _: -inputs[0],
    "Floor": lambda inputs, _: np.floor(inputs[0]),
    "Ceil": lambda inputs, _: np.ceil(inputs[0]),
    "Sqrt": lambda inputs, _: np.sqrt(inputs[0]),
    "Add": _pairwise(np.add),
    "Sub": _pairwise(np.subtract),
    "Mul": _pairwise(np.multiply),
    "Div": lambda inputs, attributes: _pairwise(lambda *pair: _divide(list(pair), {}))(
        inputs, attributes
    ),
    "Cast": _cast,
    "Equal": _pairwise(np.equal),
    "Where": _where,
    "Concat": lambda inputs, attributes: np.concatenate(inputs, attributes["axis"]),
    "ConstantOfShape": _constant_of_shape,
    "Gather": lambda inputs, attributes: np.take(
        inputs[0], inputs[1].astype(np.int64), attributes.get("axis", 0)
    ),
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": lambda inputs, attributes: np.transpose(inputs[0], attributes.get("perm")),
    "Unsqueeze": _unsqueeze,
}
