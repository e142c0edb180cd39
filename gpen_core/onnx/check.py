"""What running a graph will cost, found without running it.

The shape of every value is inferred for one picture. A graph is refused where a shape cannot be
told beforehand, where a value or all the work together is far beyond what restoring a face of that
size takes, or where a node is none of those that image networks are made of. What passes can be
opened and run in this process: nothing in it waits, repeats, or grows.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..models.text import first_line, quoted
from .constants import fold
from .skeleton import BadGraph, Skeleton, read_skeleton

MIN_SIZE, MAX_SIZE = 64, 2048
_MAX_NODES = 20_000
_MAX_BATCH = 64
# For a face of side S, in S^2: elements of one value, and multiplications altogether. GPEN at its
# full width takes up to 1,024 and about 5 million, at 256 px and above less.
_VALUE, _WORK = 2048, 1 << 26
_SMALLEST = 256  # below this side the widths of a network no longer shrink
# Constants that are computed rather than stored, in bytes beyond those of the file.
_COMPUTED = 64 << 20
_ROUNDS = 8  # of shape inference, each after what the one before made known
_FLOATS = (1, 10)  # float32, float16

_ALLOWED = frozenset(
    """
    Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Clip Concat
    Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos CumSum DepthToSpace
    DequantizeLinear Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike
    Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater
    GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Identity
    InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax
    LpNormalization MatMul MatMulInteger Max MaxPool Mean MeanVarianceNormalization Min Mish Mod
    Mul Neg Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization
    RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1
    ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu Reshape Resize Round ScatterElements ScatterND Selu Shape Sigmoid Sign Sin
    Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh
    ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
    """.split()  # noqa: SIM905  ninety lines otherwise
)


@dataclass(frozen=True)
class Checked:
    """A graph that can be run.

    Attributes:
        graph: the parsed `onnx.ModelProto` without large constants.
        bytes: of the file and of what it keeps in others.
        in_size, out_size: side of the picture it takes and of the one it gives, pixels.
    """

    graph: Any
    bytes: int
    in_size: int
    out_size: int


def check_graph(path: Path, onnx: Any) -> Checked:
    """Refuse a graph that is damaged, or that would cost more than a face restorer.

    Args:
        path: the `.onnx` file.
        onnx: the package, which is optional.

    Raises:
        CheckpointError: names what is wrong.
    """
    skeleton = read_skeleton(path)
    try:
        model = _parse(skeleton, onnx)
        side, batch = _input(model.graph)
        _check_order(model)
        shapes = _shapes(model, side, onnx)
        out = _output(model.graph, shapes, side)
        _Costs(model.graph, shapes, max(out, _SMALLEST), batch, skeleton.bytes).check()
    except BadGraph as error:
        raise CheckpointError(f"{path} is not a GPEN graph: it {error}.") from error
    return Checked(model, skeleton.bytes, side, out)


def _parse(skeleton: Skeleton, onnx: Any) -> Any:
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(skeleton.data)
    except DecodeError as error:
        raise BadGraph("is damaged or cut off; download it again") from error
    if not model.graph.node:
        raise BadGraph("has no nodes; it may be cut off: download it again")
    if len(model.graph.node) > _MAX_NODES:
        raise BadGraph(f"has {len(model.graph.node)} nodes, more than any face restorer")
    return model


def _input(graph: Any) -> tuple[int, int]:
    """Side of the picture a graph takes, and how many it takes at once."""
    constants = {tensor.name for tensor in graph.initializer}
    # Old exporters name every constant among the inputs too.
    inputs = [port for port in graph.input if port.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise BadGraph(
            f"has the inputs {_described(inputs)} and the outputs {_described(graph.output)}, "
            f"where one picture in and one out are expected"
        )
    sides = _sides(inputs[0])
    square = len(sides) == 4 and sides[1] == 3 and sides[2] == sides[3]
    is_float = inputs[0].type.tensor_type.elem_type in _FLOATS
    if not square or not is_float or not MIN_SIZE <= sides[2] <= MAX_SIZE:
        raise BadGraph(
            f"has the input {_described(inputs)}, where float (N, 3, S, S) with S from "
            f"{MIN_SIZE} to {MAX_SIZE} is expected"
        )
    if sides[0] > _MAX_BATCH:
        raise BadGraph(f"takes {sides[0]} faces at once; {_MAX_BATCH} can be used")
    return sides[2], max(sides[0], 1)


def _sides(port: Any) -> list[int]:
    """Sides of an input or output, 0 for those that are not fixed."""
    return [side.dim_value for side in port.type.tensor_type.shape.dim]


def _described(ports: Iterable[Any]) -> str:
    shown = [f"{quoted(port.name, 40)} {_sides(port)[:8]}" for port in list(ports)[:4]]
    return ", ".join(shown) or "none"


def _check_order(model: Any) -> None:
    """Every value is made once, by a known kind of node, out of values made before."""
    for opset in model.opset_import:
        if opset.domain not in ("", "ai.onnx") and any(
            node.domain == opset.domain for node in model.graph.node
        ):
            raise BadGraph(f"uses nodes of {quoted(opset.domain, 60)}, which are not standard")
    graph = model.graph
    made = {tensor.name for tensor in graph.initializer} | {port.name for port in graph.input}
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in _ALLOWED:
            raise BadGraph(f"uses {quoted(node.op_type, 60)}, which no face restorer needs")
        for name in node.input:
            if name and name not in made:
                raise BadGraph(f"uses {quoted(name, 80)} before it is made, or in a circle")
        for name in filter(None, node.output):
            if name in made:
                raise BadGraph(f"makes {quoted(name, 80)} twice")
            made.add(name)
    for port in graph.output:
        if port.name not in made:
            raise BadGraph(f"never makes its output {quoted(port.name, 80)}")


def _shapes(model: Any, side: int, onnx: Any) -> dict[str, tuple[int, ...]]:
    """The shape of every value for one picture, as far as it can be told."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    graph = fixed.graph
    found = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    _state_input(graph, found)
    _set_constants_apart(graph, onnx)
    for _ in range(_ROUNDS):
        found |= _inferred(fixed, onnx)
        if not fold(graph, found, onnx):
            break
        found |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    return found


def _state_input(graph: Any, constants: Container[str]) -> None:
    """One picture goes in; what the file says of all other values is not believed but found out."""
    del graph.value_info[:]
    for port in graph.input:
        if port.name not in constants:
            batch = port.type.tensor_type.shape.dim[0]
            if not batch.dim_value > 0:
                batch.dim_value = 1
    for port in graph.output:
        port.type.tensor_type.ClearField("shape")


def _set_constants_apart(graph: Any, onnx: Any) -> None:
    """Make inputs of the constants without data, which are known by their shapes alone."""
    stated = {port.name for port in graph.input}
    kept = []
    for tensor in graph.initializer:
        if not _is_emptied(tensor):
            kept.append(onnx.TensorProto.FromString(tensor.SerializeToString()))
        elif tensor.name not in stated:
            port = onnx.helper.make_tensor_value_info
            graph.input.append(port(tensor.name, tensor.data_type, list(tensor.dims)))
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _inferred(model: Any, onnx: Any) -> dict[str, tuple[int, ...]]:
    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (RuntimeError, ValueError, TypeError, onnx.shape_inference.InferenceError) as error:
        raise BadGraph(f"contradicts itself ({first_line(error)})") from error
    found = {}
    for port in (*graph.input, *graph.value_info, *graph.output):
        dims = port.type.tensor_type.shape.dim
        known = port.type.tensor_type.HasField("shape")
        if known and all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in dims):
            found[port.name] = tuple(dim.dim_value for dim in dims)
    return found


def _is_emptied(tensor: Any) -> bool:
    """Whether a tensor's data were left out of the skeleton."""
    data = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")
    return math.prod(tensor.dims) > 0 and not any(len(getattr(tensor, name)) for name in data)


def _output(graph: Any, shapes: dict[str, tuple[int, ...]], side: int) -> int:
    """Side of the picture a graph gives."""
    shape = shapes.get(graph.output[0].name)
    square = shape is not None and len(shape) == 4 and shape[1] == 3 and shape[2] == shape[3]
    if not square or not shape or not side <= shape[2] <= MAX_SIZE:
        shown = "a picture of unknown size" if shape is None else str(list(shape)[:8])
        raise BadGraph(
            f"gives its output {quoted(graph.output[0].name, 40)} as {shown}, where (N, 3, T, T) "
            f"with T from {side} to {MAX_SIZE} is expected"
        )
    return shape[2]


class _Costs:
    """Elements and multiplications of a graph, against what a face of its size may take."""

    def __init__(
        self, graph: Any, shapes: dict[str, tuple[int, ...]], side: int, batch: int, size: int
    ) -> None:
        self._graph = graph
        self._shapes = shapes
        self._largest = side * side * _VALUE * batch
        self._work_left = side * side * _WORK * batch
        self._computed_left = 4 * size + _COMPUTED

    def check(self) -> None:
        """Raises BadGraph for the first node that costs too much."""
        constants = {tensor.name for tensor in self._graph.initializer}
        depends = {port.name for port in self._graph.input} - constants
        for node in self._graph.node:
            on_picture = any(name in depends for name in node.input)
            for name in filter(None, node.output):
                shape = self._shapes.get(name)
                if shape is None:
                    raise BadGraph(
                        f"makes {quoted(name, 80)} by {node.op_type}, of a size that is only known "
                        f"when it runs"
                    )
                if on_picture:
                    depends.add(name)
                self._count(node, name, math.prod(shape), on_picture)

    def _count(self, node: Any, name: str, elements: int, on_picture: bool) -> None:
        if elements > self._largest:
            raise BadGraph(f"makes {quoted(name, 80)} of {elements} numbers, far beyond a face")
        if not on_picture and node.op_type != "Constant":
            self._computed_left -= 8 * elements
            if self._computed_left < 0:
                raise BadGraph(
                    f"computes constants such as {quoted(name, 80)} that are far larger than it"
                )
        self._work_left -= self._work(node, elements)
        if self._work_left < 0:
            raise BadGraph("takes far more work than restoring a face")

    def _work(self, node: Any, elements: int) -> int:
        """Multiplications of a node, roughly."""
        inputs = [self._shapes.get(name, ()) for name in node.input] or [()]
        kind = node.op_type
        if kind in ("Conv", "ConvInteger", "QLinearConv") and len(inputs) > 1:
            weight = inputs[3] if kind == "QLinearConv" and len(inputs) > 3 else inputs[1]
            return elements * math.prod(weight[1:])
        if kind == "ConvTranspose" and len(inputs) > 1:
            return math.prod(inputs[0]) * math.prod(inputs[1][1:])
        if kind in ("MatMul", "MatMulInteger", "Gemm", "QLinearMatMul"):
            return elements * max((*inputs[0][-2:], 1))
        if kind == "Einsum":
            return elements * max(math.prod(shape) for shape in inputs)
        if kind in ("MaxPool", "AveragePool"):
            kernel: Iterable[int] = next(
                (a.ints for a in node.attribute if a.name == "kernel_shape"), []
            )
            return elements * math.prod(max(int(side), 1) for side in kernel)
        return max(elements, *(math.prod(shape) for shape in inputs), 1)
