"""What running a graph will cost, found without running it.

The shape of every value is inferred for one picture. A graph is refused where a shape cannot be
told beforehand, where a value or all the work together is far beyond what restoring a face of that
size takes, or where a node is none of those that image networks are made of. What passes can be
opened and run in this process: nothing in it waits, repeats, or grows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError
from ..text import first_line, quoted
from .constants import SMALL, small_value
from .skeleton import BadGraph, Skeleton, read_skeleton

MIN_SIZE, MAX_SIZE = 64, 2048
_MAX_NODES = 8000
_MAX_BATCH = 64
# For a face of side S, in S^2: elements of one value, and multiplications altogether. GPEN at its
# full width takes up to 1,024 and about 5 million, at 256 px and above less.
_VALUE, _WORK = 2048, 1 << 26
_SMALLEST = 256  # below this side the widths of a network no longer shrink
# Constants that are computed rather than stored, in bytes beyond those of the file.
_COMPUTED = 64 << 20
# Numbers in the vector of a face.
_VECTOR = (16, 4096)
_OUT_OF_IN = 4  # how much larger a picture may come out where the graph does not say it
# Nodes that give what they are given, changed: those that ONNX describes by other nodes.
_SAME = {"Gelu", "GroupNormalization", "HardSwish", "Mish", "Selu", "Swish"}
_SAME |= {"MeanVarianceNormalization"}
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
        side, shapes = _measured(model, skeleton.bytes, onnx)
        out = _output(model.graph, shapes, side)
    except BadGraph as error:
        raise CheckpointError(
            f"{path} is an ONNX graph, but not a GPEN graph: it {error}."
        ) from error
    return Checked(model, skeleton.bytes, side, out)


def check_recognition(path: Path, onnx: Any, side: int) -> int:
    """Refuse a graph that does not make a vector of a face, or that would cost more than one does.

    Args:
        path: the `.onnx` file.
        onnx: the package, which is optional.
        side: of the faces it is given, pixels.

    Returns:
        How many numbers a vector has.

    Raises:
        CheckpointError: names what is wrong.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "notes.onnx")
        ...     _ = path.write_text("no graph")
        ...     check_recognition(path, None, 112)
        Traceback (most recent call last):
        gpen_core.errors.CheckpointError: ...
    """
    skeleton = read_skeleton(path)
    try:
        model = _parse(skeleton, onnx)
        taken, shapes = _measured(model, skeleton.bytes, onnx)
        if taken != side:
            raise BadGraph(f"takes pictures of {taken} px, where faces of {side} px are given")
        return _length(model.graph, shapes)
    except BadGraph as error:
        raise CheckpointError(
            f"{path} is an ONNX graph, but no face recognition network: it {error}."
        ) from error


def _measured(model: Any, size: int, onnx: Any) -> tuple[int, dict[str, tuple[int, ...]]]:
    """Side of the picture that a graph takes, and the shapes of its values; BadGraph for costs."""
    side, batch = _input(model.graph)
    _check_order(model)
    shapes = _Shapes(model, onnx)
    _Costs(model.graph, shapes, batch, size).check(side)
    return side, shapes.known


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


class _Shapes:
    """The shape of every value for one picture, found node by node in their order.

    ONNX's inference over whole graphs, with what it knows of values, spends minutes on a vector of
    a thousand million numbers; here every shape is known, and held to be plausible, before the
    next node is looked at.
    """

    def __init__(self, model: Any, onnx: Any) -> None:
        self._onnx = onnx
        self._errors = (
            onnx.shape_inference.InferenceError,
            onnx.defs.SchemaError,
            onnx.checker.ValidationError,
        )
        self._opsets = list(model.opset_import)
        versions = [opset.version for opset in self._opsets if opset.domain in ("", "ai.onnx")]
        self._version = min([*versions, onnx.defs.onnx_opset_version()])
        self._types: dict[str, Any] = {}
        self._values: dict[str, np.ndarray] = {}
        self.known: dict[str, tuple[int, ...]] = {}
        for tensor in model.graph.initializer:
            self._note(tensor.name, _type(onnx, tensor.data_type, tensor.dims))
            if math.prod(tensor.dims) <= SMALL and not _is_emptied(tensor):
                self._values[tensor.name] = onnx.numpy_helper.to_array(tensor)
        for port in model.graph.input:
            if port.name not in self.known:
                kind = port.type.tensor_type
                sides = [side.dim_value or 1 for side in kind.shape.dim]
                self._note(port.name, _type(onnx, kind.elem_type, sides))

    def infer(self, node: Any) -> None:
        """Note what a node gives.

        Raises:
            BadGraph: its size cannot be told, or it contradicts what it is given.
        """
        try:
            value = small_value(node, self._values, self.known, self._onnx)
            if value is not None:
                kind = self._onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
                self._values[node.output[0]] = value
                self._note(node.output[0], _type(self._onnx, kind, value.shape))
                return
            found = self._outputs(node)
        except (RuntimeError, ValueError, TypeError, KeyError, *self._errors) as error:
            raise BadGraph(f"contradicts itself ({first_line(error)})") from error
        for name in filter(None, node.output):
            if name in found:
                self._note(name, found[name])
            if name not in self.known:
                raise BadGraph(
                    f"makes {quoted(name, 80)} by {node.op_type}, of a size that is only known "
                    f"when it runs"
                )

    def _outputs(self, node: Any) -> dict[str, Any]:
        onnx = self._onnx
        if node.op_type in _SAME and node.input:
            return {node.output[0]: self._types[node.input[0]]}
        names = [name for name in node.input if name]
        data = {
            name: onnx.numpy_helper.from_array(self._values[name], name)
            for name in names
            if name in self._values
        }
        schema = onnx.defs.get_schema(node.op_type, self._version, "")
        types = {name: self._types[name] for name in names}
        return onnx.shape_inference.infer_node_outputs(
            schema, node, types, data, opset_imports=self._opsets
        )

    def _note(self, name: str, kind: Any) -> None:
        self._types[name] = kind
        dims = kind.tensor_type.shape.dim
        stated = kind.tensor_type.HasField("shape")
        if stated and all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in dims):
            self.known[name] = tuple(dim.dim_value for dim in dims)


def _type(onnx: Any, kind: int, sides: Iterable[int]) -> Any:
    return onnx.helper.make_tensor_type_proto(kind, list(sides))


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


def _length(graph: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    """Of the vectors that a graph gives."""
    shape = shapes.get(graph.output[0].name, ())
    if len(shape) != 2 or not _VECTOR[0] <= shape[1] <= _VECTOR[1]:
        raise BadGraph(
            f"gives its output {quoted(graph.output[0].name, 40)} as {list(shape)[:8]}, where a "
            f"vector of {_VECTOR[0]} to {_VECTOR[1]} numbers is expected"
        )
    return shape[1]


class _Costs:
    """Elements and multiplications of a graph, against what a face of its size may take."""

    def __init__(self, graph: Any, shapes: _Shapes, batch: int, size: int) -> None:
        self._graph = graph
        self._shapes = shapes
        self._batch = batch
        self._work = 0
        self._computed = 4 * size + _COMPUTED

    def check(self, side: int) -> None:
        """Raises BadGraph for the first node that costs too much.

        Args:
            side: of the picture that goes in, pixels.
        """
        pixels = self._pixels(side)
        constants = {tensor.name for tensor in self._graph.initializer}
        depends = {port.name for port in self._graph.input} - constants
        for node in self._graph.node:
            self._shapes.infer(node)
            on_picture = any(name in depends for name in node.input)
            for name in filter(None, node.output):
                if on_picture:
                    depends.add(name)
                self._count(node, name, pixels, on_picture)

    def _pixels(self, side: int) -> int:
        """Pixels that allow for the cost: of the picture that comes out, where it says so."""
        stated = max([side, *_sides(self._graph.output[0])[2:4]])
        largest = min(max(stated, _OUT_OF_IN * side), MAX_SIZE)
        return max(largest, _SMALLEST) ** 2

    def _count(self, node: Any, name: str, pixels: int, on_picture: bool) -> None:
        elements = math.prod(self._shapes.known[name])
        if elements > pixels * _VALUE * self._batch:
            raise BadGraph(f"makes {quoted(name, 80)} of {elements} numbers, far beyond a face")
        if not on_picture and node.op_type != "Constant":
            self._computed -= 8 * elements
            if self._computed < 0:
                raise BadGraph(
                    f"computes constants such as {quoted(name, 80)} that are far larger than it"
                )
        self._work += self._multiplications(node, elements)
        if self._work > pixels * _WORK * self._batch:
            raise BadGraph("takes far more work than restoring a face")

    def _multiplications(self, node: Any, elements: int) -> int:
        """Of one node, roughly."""
        inputs = [self._shapes.known.get(name, ()) for name in node.input] or [()]
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
