"""GPEN's weights out of an ONNX graph: back to PyTorch.

A graph of our own export says in its metadata how it was made. In any other one the weights are
found by name where the exporter kept it, else by where the graph uses them: a modulated convolution
by its order, its modulation by the filters it multiplies, all others by shape and order. What lost
its name is taken to have been multiplied by the equalizing constant. Whether that was right is not
believed but tried: the network has to give what the graph gives.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import CheckpointError, InputError
from ..networks.gpen import BASE, GPEN, GPENConfig
from ..text import first_line, quoted
from .backend import OnnxConfig, OnnxNetwork, require
from .check import check_graph
from .folding import equalizing, filter_of, shapes, unfold
from .layout import is_own, own_config

log = logging.getLogger(__name__)

_MAX_STEPS = 1_000_000  # of searching a graph
# What a graph that is no GPEN leads to, beside what is said on purpose.
_FAULTS = (InputError, LookupError, ValueError, TypeError, RuntimeError, StopIteration)
_TOLERANCE = 2e-2  # of the largest output value; wrong weights miss it by far, fp16 keeps it


@dataclass(eq=False)
class _Constant:
    """A constant of the graph.

    Attributes:
        name: with dots, as in a state dict, if the exporter kept it.
        place: how far from the input it is used: a convolution's weight where it convolves.
        is_transposed: whether a linear layer uses it as (in, out).
    """

    name: str
    value: np.ndarray
    place: int
    is_transposed: bool

    @property
    def is_bank(self) -> bool:
        """Whether it is the weight of a modulated convolution, (1, out, in, k, k)."""
        return self.value.ndim == 5

    @property
    def shape(self) -> tuple[int, ...]:
        """Without the sides of length 1."""
        return tuple(side for side in self.value.shape if side != 1)


def read_onnx_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The GPEN v1 state dict (float32) and the text metadata of an `.onnx` file.

    Raises:
        CheckpointError: the graph is damaged, or its constants are not those of a GPEN v1.
        MissingDependencyError: onnx or onnxruntime is absent.

    Example:
        >>> import tempfile
        >>> from gpen_core.models.load import load_model
        >>> from gpen_core.onnx.export import export
        >>> network = GPEN(GPENConfig.create(64, narrow=0.0625))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     written = export(load_model(network.state_dict()), Path(folder, "small.onnx"))
        ...     state, metadata = read_onnx_weights(written.path)
        >>> state.keys() == network.state_dict().keys(), metadata["output_size"]
        (True, '64')
    """
    checked = check_graph(path, require("onnx"))
    graph = _load(path)
    metadata = {prop.key: prop.value for prop in graph.metadata_props}
    try:
        flow = _Flow(graph.graph)
        if is_own(metadata):
            state, config = _own(flow.constants.values(), metadata)
        else:
            state, config = _foreign(flow, checked.in_size)
        network = GPEN(config).eval()
        network.load_state_dict(dict(state))
    except _FAULTS as error:
        raise CheckpointError(
            f"{path} cannot be turned back into weights: {_reason(error)}; it can still be run as "
            f"it is, if it is a face restoration model."
        ) from error
    _prove(path, network, config)
    return state, {key: value for key, value in metadata.items() if key not in ("layout", "config")}


def _load(path: Path) -> Any:
    onnx = require("onnx")
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(str(path))
    except (DecodeError, OSError, ValueError, onnx.checker.ValidationError) as error:
        raise CheckpointError(
            f"{path} is a damaged or cut-off ONNX graph ({first_line(error)}); download it again."
        ) from error


class _Flow:
    """A graph as a flow of values from its input.

    Attributes:
        constants: by the name of their value, at their first use.
        uses: the same once for each use; exporters keep equal constants only once.
        level: of each value that depends on the input: the longest way to it.
    """

    def __init__(self, graph: Any) -> None:
        self.producer = {output: node for node in graph.node for output in node.output}
        self.users: dict[str, list[Any]] = {}
        self.level = {port.name: 0 for port in graph.input}
        for node in graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)
            ways = [self.level[name] for name in node.input if name in self.level]
            if ways:
                self.level.update(dict.fromkeys(node.output, 1 + max(ways)))
        self._steps = 0
        self.constants: dict[str, _Constant] = {}
        self.uses: list[_Constant] = []
        for name, value in _tensors(graph).items():
            kinds = {"Conv", "ConvTranspose"} if value.ndim == 5 else None
            nodes = self.users_of(name, kinds)
            uses = [self._used(name, value, node) for node in nodes]
            self.constants[name] = uses[0] if uses else _Constant(_dotted(name), value, -1, False)
            self.uses += uses

    def _used(self, name: str, value: np.ndarray, node: Any) -> _Constant:
        flat = node.op_type == "MatMul" or (
            node.op_type == "Gemm" and not any(a.name == "transB" and a.i for a in node.attribute)
        )
        turned = self._is_turned(name, node)
        return _Constant(_dotted(name), value, self.level[node.output[0]], flat != turned)

    def _is_turned(self, name: str, node: Any) -> bool:
        """Whether a constant reaches a node through a transposition, as PyTorch 2.5 exports it."""
        waiting = [(name, False)]
        while waiting:
            value, turned = waiting.pop(0)
            for user in self.users.get(value, ()):
                if user is node:
                    return turned
                if user.output[0] not in self.level:
                    after = turned != (user.op_type == "Transpose")
                    waiting += [(output, after) for output in user.output]
        return False

    def users_of(self, name: str, kinds: set[str] | None = None) -> list[Any]:
        """The first nodes downstream that depend on the input, of one of these kinds if given."""
        found, waiting, seen = [], deque([name]), {name}
        while waiting:
            for node in self.users.get(waiting.popleft(), ()):
                self._steps += 1
                if self._steps > _MAX_STEPS:
                    raise ValueError("its constants go too long a way to where they are used")
                depends = node.output[0] in self.level
                if depends and (kinds is None or node.op_type in kinds):
                    found.append(node)
                elif kinds is None or not found:
                    # Ways part and meet again: each value is followed once.
                    waiting += (output for output in node.output if output not in seen)
                    seen.update(node.output)
        return found

    def linear_before(self, bank: str) -> tuple[_Constant | None, _Constant | None]:
        """Weight and bias of the linear layer whose output multiplies a bank of filters."""
        node, bias = next(iter(self.users_of(bank)), None), None
        while node is not None and node.op_type not in ("Gemm", "MatMul"):
            if node.op_type == "Add":
                bias = next((self.constants[n] for n in node.input if n in self.constants), bias)
            ahead = next((name for name in node.input if name in self.level), "")
            node = self.producer.get(ahead)
        if node is None or len(node.input) < 2:
            return None, None
        if len(node.input) == 3:
            bias = self.constants.get(node.input[2], bias)
        weight = node.input[1]
        while weight in self.producer and self.producer[weight].op_type == "Transpose":
            weight = self.producer[weight].input[0]
        return self.constants.get(weight), bias


def _dotted(name: str) -> str:
    return name.replace("/", ".")


def _tensors(graph: Any) -> dict[str, np.ndarray]:
    """The floating-point constants of a graph, wherever it keeps them."""
    from onnx import numpy_helper

    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    values = {name: numpy_helper.to_array(tensor) for name, tensor in found.items()}
    return {name: value for name, value in values.items() if value.dtype.kind == "f"}


def _own(
    constants: Iterable[_Constant], metadata: Mapping[str, str]
) -> tuple[dict[str, Tensor], GPENConfig]:
    """Of our own export, see `onnx_graph`."""
    from .graph import STYLES, modulated  # late: few have the package onnx

    config = own_config(metadata)
    found = {c.name: torch.from_numpy(c.value.astype(np.float32)) for c in constants}
    wanted = shapes(config)
    names = modulated(config)
    lengths = [wanted[f"{name}.conv.modulation.bias"][0] for name in names]
    for part in ("weight", "bias"):
        pieces = found[f"{STYLES}.{part}"].split(lengths)
        for name, piece in zip(names, pieces, strict=True):
            found[f"{name}.conv.modulation.{part}"] = piece
    for key, shape in wanted.items():
        if len(shape) == 5 and f"{key[: -len('weight')]}blur.kernel" in wanted:
            found[key] = found[key].transpose(0, 1)
    return unfold(found, config), config


def _foreign(flow: _Flow, in_size: int) -> tuple[dict[str, Tensor], GPENConfig]:
    """Of another exporter, see the module's text."""
    banks = sorted(
        (name for name, constant in flow.constants.items() if constant.is_bank),
        key=lambda name: flow.constants[name].place,
    )
    wide = [name for name in banks if flow.constants[name].value.shape[-1] == 3]
    if not wide:
        raise ValueError(
            "it has no modulated convolutions, so it is not a GPEN with its own weights"
        )
    if len(banks) > 64:
        raise ValueError(f"it has {len(banks)} modulated convolutions, more than any GPEN")
    widths = [flow.constants[name].value.shape[1] for name in (wide[0], *wide[1::2])]
    sizes = [BASE << level for level in range(len(widths))]
    config = GPENConfig(in_size, sizes[-1], tuple(zip(sizes, widths, strict=True)))
    found = _modulated(flow, wide, [name for name in banks if name not in wide])
    keys = list(shapes(config))
    found.update(
        (key, constant)
        for constant in flow.constants.values()
        for key in keys
        if constant.name.endswith(key)
    )
    return _complete(found, flow, config), config


def _modulated(flow: _Flow, wide: list[str], narrow: list[str]) -> dict[str, _Constant]:
    """Key to constant of the modulated convolutions and of their modulations."""
    styled = ["generator.conv1", *(f"generator.convs.{i}" for i in range(len(wide) - 1))]
    to_rgb = ["generator.to_rgb1", *(f"generator.to_rgbs.{i}" for i in range(len(narrow) - 1))]
    found: dict[str, _Constant] = {}
    for layer, bank in zip([*styled, *to_rgb], [*wide, *narrow], strict=False):
        weight, bias = flow.linear_before(bank)
        parts = {
            "weight": flow.constants[bank],
            "modulation.weight": weight,
            "modulation.bias": bias,
        }
        found.update((f"{layer}.conv.{part}", c) for part, c in parts.items() if c is not None)
    return found


def _complete(found: dict[str, _Constant], flow: _Flow, config: GPENConfig) -> dict[str, Tensor]:
    """The state dict: found constants, and for the other keys the next unused one of its shape."""
    free = sorted(flow.uses, key=lambda constant: constant.place)
    for constant in found.values():
        used = next((use for use in free if use.name == constant.name), None)
        if used is not None:
            free.remove(used)
    state = {}
    wanted = shapes(config)
    for key in sorted(wanted, key=_execution_order):
        shape = wanted[key]
        if key.endswith("kernel"):
            state[key] = filter_of(key)
            continue
        if key.endswith("noise.weight"):
            # A scalar says nothing by its shape; without its own name it was merged with a sister.
            constant = found.get(key) or next(c for k, c in found.items() if k[-12:] == key[-12:])
        else:
            constant = found[key] if key in found else _next(free, key, shape)
        value = _oriented(constant, shape)
        # A kept name means a kept value; what lost its name was multiplied out.
        kept = constant.name.endswith(tuple(wanted))
        state[key] = value if kept else value / equalizing(key, shape)
    return {key: state[key] for key in wanted}


def _execution_order(key: str) -> tuple[int, int]:
    """Sorts keys as a forward pass uses them; only keys of one shape have to be in order."""
    parts = key.split(".")
    if parts[0].startswith("ecd"):
        return 0, int(parts[0][3:])
    if parts[0] == "final_linear":
        return 1, 0
    if parts[1] == "style":
        return 2, int(parts[2])
    if parts[1] in ("convs", "to_rgbs"):
        return 4, int(parts[2])
    return 3, 0


def _next(free: list[_Constant], key: str, shape: tuple[int, ...]) -> _Constant:
    """Takes the first unused constant of a parameter's shape."""
    plain = tuple(side for side in shape if side != 1)
    for index, constant in enumerate(free):
        is_linear = len(shape) == 2 and constant.is_transposed
        wanted = plain[::-1] if is_linear else plain
        if plain and not constant.is_bank and constant.shape == wanted:
            return free.pop(index)
    raise ValueError(f"it has no constant left for {key!r} of the shape {shape}")


def _oriented(constant: _Constant, shape: tuple[int, ...]) -> Tensor:
    value = torch.from_numpy(constant.value.astype(np.float32))
    if len(shape) == 2 and constant.is_transposed:
        value = value.t()
    return value.reshape(shape).contiguous()


def _prove(path: Path, network: GPEN, config: GPENConfig) -> None:
    """Compare the network with the graph on one random picture.

    Raises:
        CheckpointError: they differ.
    """
    noise = torch.Generator().manual_seed(0)
    x = torch.rand(1, 3, config.in_size, config.in_size, generator=noise) * 2 - 1
    with torch.inference_mode():
        theirs = OnnxNetwork(OnnxConfig(path))(x)
        ours = network(x)
    if theirs.shape != ours.shape:
        raise CheckpointError(
            f"{path} gives {tuple(theirs.shape)} where its weights would give {tuple(ours.shape)}."
        )
    difference = float((theirs - ours).abs().max() / theirs.abs().max().clamp_min(1e-6))
    log.info("%s: the weights give what the graph gives, to %.1e.", path, difference)
    if not difference < _TOLERANCE:
        raise CheckpointError(
            f"{path}: the constants found do not give what the graph gives (they differ by "
            f"{difference:.2g} of the range), so they are not taken for GPEN's weights; the file "
            f"can still be run as it is."
        )


def _reason(error: Exception) -> str:
    if isinstance(error, StopIteration):
        return "it has no scale of the encoder's features"
    if isinstance(error, KeyError):
        return f"the constant {quoted(error.args[0] if error.args else '')} is missing"
    return first_line(error)
