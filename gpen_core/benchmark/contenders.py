"""Who runs in a comparison: the textbook formulation, ONNX Runtime on its export and ours, us."""

from __future__ import annotations

import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError, MissingDependencyError
from ..models.device import DTYPES
from ..networks.fast.network import prepare
from ..networks.fast.tuning import Tuning
from ..networks.gpen import GPEN, GPENConfig

log = logging.getLogger(__name__)

NAMES = ("textbook", "onnxruntime", "our-export", "cuda-graphs", "ours")
OPSET = 17

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Task:
    """What everybody has to do.

    Attributes:
        size: of the published model of that size; 256 is the narrow one.
        batch: faces per call.
        device: of the contenders; ONNX Runtime runs where its package can.
        precision: of ours; the others run in fp32.

    Example:
        >>> Task(512, batch=2).picture().shape
        torch.Size([2, 3, 512, 512])
    """

    size: int
    batch: int = 1
    device: str = "cpu"
    precision: str = "fp32"

    @property
    def config(self) -> GPENConfig:
        """The shape of the published model of this size."""
        return GPENConfig.create(self.size, *((0.5, 1) if self.size <= 256 else (1, 2)))

    def picture(self) -> Tensor:
        """(batch, 3, size, size) float32 -1..1, always the same."""
        random = torch.Generator().manual_seed(0)
        return torch.rand(self.batch, 3, self.size, self.size, generator=random) * 2 - 1


def random_state(config: GPENConfig) -> dict[str, Tensor]:
    """Weights as training starts with, every part of the network at work."""
    torch.manual_seed(0)
    network = GPEN(config)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("noise.weight"):
                parameter.fill_(0.3)
    return network.state_dict()


def build(name: str, task: Task, state: Mapping[str, Tensor]) -> Run:
    """The function (N, 3, S, S) -> (N, 3, S, S) float32 of one contender.

    Raises:
        InputError: no such contender, or it cannot run on the task's device.
        MissingDependencyError: its package is absent.
    """
    if name not in NAMES:
        raise InputError(f"There is no contender {name!r}; choose among {', '.join(NAMES)}.")
    if name in EXPORTERS:
        return _onnxruntime(name, task, state)
    if name == "textbook":
        return _textbook(task, state)
    if name == "cuda-graphs" and not task.device.startswith("cuda"):
        raise InputError(f"The contender {name!r} needs a CUDA device, not {task.device}.")
    return _ours(task, state, graphs=int(name == "cuda-graphs"))


def _ours(task: Task, state: Mapping[str, Tensor], graphs: int) -> Run:
    with torch.device("meta"):
        network = GPEN(task.config)
    network.load_state_dict(state, assign=True)
    tuning = replace(Tuning.of(task.config), cuda_graphs=graphs)
    fast = prepare(network, task.device, DTYPES[task.precision], tuning=tuning)
    return lambda x: fast(x.to(task.device, DTYPES[task.precision])).float()


def textbook_module() -> ModuleType:
    """`benchmarks/textbook.py` of a source checkout."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "textbook.py"
    if not path.is_file():
        raise MissingDependencyError(
            f"{path} was not found: the textbook network comes with the source, not with the "
            f"installed package; run from a checkout, or leave it out of the comparison."
        )
    spec = importlib.util.spec_from_file_location("gpen_textbook", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _textbook(task: Task, state: Mapping[str, Tensor]) -> Run:
    network: nn.Module = textbook_module().Textbook(state).to(task.device)
    return lambda x: network(x.to(task.device))


def _onnxruntime(name: str, task: Task, state: Mapping[str, Tensor]) -> Run:
    """What users of an exported model run; batch and size are constants of the graph."""
    with tempfile.TemporaryDirectory() as folder:
        return open_session(EXPORTERS[name](task, state, Path(folder) / "model.onnx"), task)


def open_session(path: Path, task: Task) -> Run:
    """An exported file in ONNX Runtime, on the task's device and PyTorch's number of threads."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            "ONNX Runtime is not installed; run pip install 'gpen[onnx]', or leave it out of the "
            "comparison."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    if task.device.startswith("cuda"):
        providers.insert(0, "CUDAExecutionProvider")
    session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    if session.get_providers()[0] != providers[0]:
        log.warning("ONNX Runtime cannot use CUDA here; it runs on %s.", session.get_providers()[0])

    def run(x: Tensor) -> Tensor:
        (y,) = session.run(None, {"input": x.cpu().numpy()})
        return torch.from_numpy(np.asarray(y))

    return run


def export_textbook(task: Task, state: Mapping[str, Tensor], path: Path) -> Path:
    """The textbook network as ONNX, by PyTorch's tracing exporter."""
    network = textbook_module().Textbook(state).eval()
    try:
        with warnings.catch_warnings():
            # The exporter deprecates itself and says that shapes become constants: as intended.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (task.picture(),),
                str(path),
                input_names=["input"],
                output_names=["output"],
                opset_version=OPSET,
                dynamo=False,
            )
    except ImportError as error:
        raise MissingDependencyError(
            "Exporting needs the package onnx; run pip install 'gpen[onnx]'."
        ) from error
    return path


def export_ours(task: Task, state: Mapping[str, Tensor], path: Path) -> Path:
    """The same weights as `gpen export` writes them."""
    from ..models.load import build_model
    from ..onnx.export import export

    precision = "fp16" if task.precision == "fp16" else "fp32"
    model = build_model(state, "the contender", torch.float32)
    return export(model, path, precision, task.batch).path


EXPORTERS: dict[str, Callable[[Task, Mapping[str, Tensor], Path], Path]] = {
    "onnxruntime": export_textbook,
    "our-export": export_ours,
}
