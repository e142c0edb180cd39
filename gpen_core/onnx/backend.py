"""GPEN as an ONNX graph, run by ONNX Runtime behind the same interface as the networks.

`OnnxNetwork` looks like a network to `Model`: it has a device and a type, can be moved and copied,
and is called with crops. Its session is made when it is first needed on a device and kept.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import CheckpointError, GPENError, InputError, MissingDependencyError
from ..text import first_line, quoted
from .check import Checked, check_graph

log = logging.getLogger(__name__)

PROVIDERS_VARIABLE = "GPEN_ONNX_PROVIDERS"
CPU = "CPUExecutionProvider"
# Best first. Without a device of PyTorch's, DirectML may still reach a GPU; it has to be asked for
# by the variable, because "cpu" may be meant.
_BY_DEVICE = {
    "cuda": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
    "mps": ("CoreMLExecutionProvider",),
    "cpu": (),
}
_HINT = "pip install 'gpen[onnx]' (or onnx and onnxruntime-gpu, for NVIDIA)"
WEIGHTED = {"Conv", "ConvTranspose", "MatMul", "Gemm", "QLinearConv", "ConvInteger"}
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxError(GPENError):
    """ONNX Runtime cannot run a graph here; the text says where and why."""


def require(name: str) -> ModuleType:
    """An optional package.

    Raises:
        MissingDependencyError: it is absent; the text says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(f"An ONNX graph needs the package {name}: {_HINT}.") from error


@dataclass(frozen=True)
class OnnxConfig:
    """What an `OnnxNetwork` is made from.

    Attributes:
        path: the `.onnx` file; it has to stay there.

    Example:
        >>> OnnxConfig(Path("model.onnx")).path.suffix
        '.onnx'
    """

    path: Path


@dataclass(frozen=True)
class Ports:
    """The graph's one input and one output.

    Attributes:
        input, output: their names.
        batch: faces in one run, None for any number.
        in_size, out_size: side of the crops in pixels.
        dtype: of the input.
    """

    input: str
    output: str
    batch: int | None
    in_size: int
    out_size: int
    dtype: Any


class OnnxNetwork(nn.Module):
    """A graph (N, 3, in, in) RGB -1..1 -> (N, 3, out, out), as a network.

    Example:
        >>> import tempfile
        >>> from gpen_core.models.load import load_model
        >>> from gpen_core.networks.gpen import GPEN, GPENConfig
        >>> from gpen_core.onnx.export import export
        >>> model = load_model(GPEN(GPENConfig.create(64, narrow=0.0625)).state_dict())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     written = export(model, Path(folder, "small.onnx"))
        ...     network = OnnxNetwork(OnnxConfig(written.path))
        ...     network(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 3, 64, 64])
    """

    def __init__(self, config: OnnxConfig) -> None:
        super().__init__()
        self.config = config
        # Carries the device and the type that a network has by its weights.
        self.anchor = nn.Parameter(torch.zeros(()), requires_grad=False)
        self._session: Any = None
        self._session_device: torch.device | None = None
        self._checked: Checked | None = None
        self._ports: Ports | None = None

    @property
    def checked(self) -> Checked:
        """The graph, held to be runnable. Raises as `check_graph`."""
        if self._checked is None:
            self._checked = check_graph(self.config.path, require("onnx"))
        return self._checked

    @property
    def ports(self) -> Ports:
        """What goes in and out. Raises as `check_graph` and `open_session`."""
        if self._ports is None:
            self._ports = read_ports(self.session(), self.checked, self.config.path)
        return self._ports

    @property
    def unseen_bytes(self) -> int:
        """Memory of the weights, which the session holds: about that of the file."""
        return self.checked.bytes

    def session(self) -> Any:
        """The `onnxruntime.InferenceSession` for the device the network is on."""
        device = self.anchor.device
        if self._session is None or self._session_device != device:
            self._checked = None  # the file may have been replaced since
            self._session = open_session(self.config.path, device, self.checked)
            self._session_device = device
        return self._session

    def bytes_to_load(self, device: torch.device) -> int:
        """Memory that the next run takes for the weights: none once its session is open."""
        ready = self._session is not None and self._session_device == device
        return 0 if ready else self.unseen_bytes

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> OnnxNetwork:
        """Moved off a device, the network must not keep that device's memory by its session."""
        super()._apply(fn, recurse)
        if self._session_device != self.anchor.device:
            self._session = self._session_device = None
        return self

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Restore aligned faces; a graph of a fixed batch is run as often as it takes.

        Args:
            x: (N, 3, in, in) RGB -1..1.
            generator: unused; a graph carries its own noise.

        Returns:
            (N, 3, out, out) in the type and on the device of `x`.

        Raises:
            OnnxError: ONNX Runtime could not run it.
        """
        session, ports = self.session(), self.ports
        crops = x.detach().float().cpu().numpy().astype(ports.dtype)
        step = ports.batch or max(len(crops), 1)
        parts = [self._run(session, ports, crops[i : i + step]) for i in range(0, len(crops), step)]
        if not parts:
            return x.new_zeros(0, 3, ports.out_size, ports.out_size)
        return torch.from_numpy(np.concatenate(parts)).to(x)

    def _run(self, session: Any, ports: Ports, crops: np.ndarray) -> np.ndarray:
        count = len(crops)
        if ports.batch and count < ports.batch:
            crops = np.concatenate([crops, np.repeat(crops[-1:], ports.batch - count, axis=0)])
        try:
            (faces,) = session.run([ports.output], {ports.input: crops})
        except _runtime_errors() as error:
            text = first_line(error)
            # The restorer halves the batch and then leaves the device on this error.
            if "allocate" in text.lower() or "out of memory" in text.lower():
                raise torch.OutOfMemoryError(text) from error
            raise OnnxError(f"{self.config.path}: ONNX Runtime failed ({text}).") from error
        side = ports.out_size
        if faces.shape != (len(crops), 3, side, side):
            raise OnnxError(
                f"{self.config.path} gave {list(faces.shape)[:8]} where "
                f"{[len(crops), 3, side, side]} was expected."
            )
        return faces[:count].astype(np.float32)


def open_session(path: Path, device: torch.device, checked: Checked) -> Any:
    """A session of ONNX Runtime on the best provider for a device, which is logged.

    Args:
        path: the graph.
        device: where it is meant to run.
        checked: that the graph is one that can be opened without harm.

    Raises:
        MissingDependencyError: onnxruntime is absent.
        CheckpointError: the file is no graph it can read.
        InputError: GPEN_ONNX_PROVIDERS names what this onnxruntime does not have.
    """
    log.debug("%s: %d nodes", path, len(checked.graph.graph.node))
    runtime = require("onnxruntime")
    wanted = choose_providers(device, runtime.get_available_providers())
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what it would print is in the exception too, and is escaped
    # PyTorch's thread count is what users set; its spinning neighbors would fight with it.
    options.intra_op_num_threads = torch.get_num_threads()
    # Its own way back to the CPU prints what went wrong as it is.
    for providers in (wanted, [CPU]):
        try:
            session = runtime.InferenceSession(
                str(path), options, providers=providers, enable_fallback=0
            )
            break
        except _runtime_errors() as error:
            if providers == [CPU]:
                raise CheckpointError(
                    f"{path} is not an ONNX graph that ONNX Runtime can read "
                    f"({first_line(error)}); it may be cut off: download it again."
                ) from error
            log.warning("%s: %s failed (%s).", path, _first(wanted), first_line(error))
    got = session.get_providers()
    log.info("%s runs on %s.", path, ", ".join(got))
    if got[0] == CPU and wanted[0] != CPU:
        log.warning("%s: %s could not start; ONNX Runtime uses the CPU.", path, _first(wanted))
    return session


def choose_providers(device: torch.device, available: list[str]) -> list[Any]:
    """Providers to try, best first; the CPU is always last. The choice is logged.

    Args:
        device: where the model is meant to run.
        available: what this onnxruntime was built with.

    Raises:
        InputError: GPEN_ONNX_PROVIDERS names something else.
    """
    named = [name for name in os.environ.get(PROVIDERS_VARIABLE, "").split(",") if name.strip()]
    if named:
        chosen = [_full_name(name.strip(), available) for name in named]
        return list(dict.fromkeys([*chosen, CPU]))
    wanted = _BY_DEVICE.get(device.type, ())
    chosen = [name for name in wanted if name in available]
    if "TensorrtExecutionProvider" in chosen and importlib.util.find_spec("tensorrt") is None:
        # Built in everywhere, but without its libraries it only fails noisily.
        chosen.remove("TensorrtExecutionProvider")
    if wanted and not chosen:
        log.warning(
            "This onnxruntime has no provider for %s, so the CPU is used; it has %s. Install %s.",
            device,
            ", ".join(available),
            "onnxruntime-gpu" if device.type == "cuda" else "a build with CoreML",
        )
    if not wanted and "DmlExecutionProvider" in available:
        log.warning("The CPU is used; set %s=Dml for DirectML.", PROVIDERS_VARIABLE)
    options = {"device_id": device.index or 0}
    return [(name, options) if device.type == "cuda" else name for name in chosen] + [CPU]


def _full_name(name: str, available: list[str]) -> str:
    short = {full.removesuffix("ExecutionProvider").lower(): full for full in available}
    found = short.get(name.removesuffix("ExecutionProvider").lower())
    if found is None:
        raise InputError(
            f"{PROVIDERS_VARIABLE} names {name!r}, and this onnxruntime has "
            f"{', '.join(available)}; install another build or change the variable."
        )
    return found


def _first(providers: list[Any]) -> str:
    return providers[0] if isinstance(providers[0], str) else providers[0][0]


def read_ports(session: Any, checked: Checked, path: Path) -> Ports:
    """Names and sizes of what a graph takes and gives.

    Raises:
        CheckpointError: ONNX Runtime sees another graph than was checked.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    side = checked.in_size
    if (
        len(inputs) != 1
        or len(outputs) != 1
        or inputs[0].type not in _TYPES
        or list(inputs[0].shape[1:]) != [3, side, side]
    ):
        raise CheckpointError(
            f"{path} is not a GPEN graph: ONNX Runtime finds {len(inputs)} inputs, of type "
            f"{quoted(inputs[0].type) if inputs else 'none'}, and {len(outputs)} outputs."
        )
    batch = inputs[0].shape[0]
    batch = batch if isinstance(batch, int) and batch > 0 else None
    out = checked.out_size
    return Ports(inputs[0].name, outputs[0].name, batch, side, out, _TYPES[inputs[0].type])


def _runtime_errors() -> tuple[type[Exception], ...]:
    """ONNX Runtime's errors: some derive from RuntimeError, its own directly from Exception."""
    state = require("onnxruntime.capi.onnxruntime_pybind11_state")
    own = (
        value
        for value in vars(state).values()
        if isinstance(value, type) and issubclass(value, Exception)
    )
    return (RuntimeError, ValueError, *own)
