"""A GPEN model as an ONNX file, proved against PyTorch before it is put in place."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..errors import CheckpointError, InputError
from ..files import replacing
from ..networks.gpen import GPEN
from .backend import OnnxConfig, OnnxNetwork, require

if TYPE_CHECKING:
    from ..models.model import Model

log = logging.getLogger(__name__)

# Largest absolute difference to PyTorch in fp32, for outputs of about -1..1.
TOLERANCES = {"fp32": 1e-3, "fp16": 5e-2}


@dataclass(frozen=True)
class Exported:
    """A written graph.

    Attributes:
        path: where.
        difference: largest absolute difference to PyTorch in fp32, of outputs about -1..1.
        bytes: of the file.
    """

    path: Path
    difference: float
    bytes: int


def export(
    model: Model,
    target: Path | str,
    precision: str = "fp32",
    batch: int | None = None,
    *,
    overwrite: bool = False,
) -> Exported:
    """Write a model as an ONNX graph: `input` (N, 3, S, S) -> `output` (N, 3, T, T), RGB -1..1.

    Input and output are float32 in either precision. The noise of a super-resolution model is
    that of seed 0 and part of the file.

    Args:
        model: a GPEN v1 in fp32 or another precision; loaded from a PyTorch file.
        target: an `.onnx` file, put in place only when it agrees with PyTorch.
        precision: "fp32", or "fp16" for the convolutions.
        batch: faces in one run, None for any number.

    Raises:
        InputError: the target exists or has another suffix, or an option is unknown.
        CheckpointError: the model is no GPEN v1, or the graph does not agree with it.
        MissingDependencyError: onnx or onnxruntime is absent.

    Example:
        >>> import tempfile
        >>> from gpen_core.models.load import load_model
        >>> from gpen_core.networks.gpen import GPENConfig
        >>> model = load_model(GPEN(GPENConfig.create(64, narrow=0.0625)).state_dict())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     written = export(model, Path(folder, "small.onnx"), precision="fp16")
        >>> written.path.name, written.difference < TOLERANCES["fp16"]
        ('small.onnx', True)
    """
    target = Path(target)
    _check(model, target, precision, batch, overwrite)
    require("onnx")
    require("onnxruntime")
    from .graph import build, to_bytes

    network = _float_copy(model)
    graph = build(network, batch, precision == "fp16", _metadata(model, network, precision))
    with replacing(target) as scratch:
        scratch.write_bytes(to_bytes(graph))
        del graph
        difference = _compare(network, scratch, batch)
        if not difference <= TOLERANCES[precision]:
            raise CheckpointError(
                f"{target} was not written: the graph differs from PyTorch by {difference:.2g}, "
                f"more than {TOLERANCES[precision]:g}; export in fp32."
            )
    log.info("%s differs from PyTorch by %.1e at most.", target, difference)
    return Exported(target, difference, target.stat().st_size)


def _check(model: Model, target: Path, precision: str, batch: int | None, overwrite: bool) -> None:
    if target.suffix.lower() != ".onnx":
        raise InputError(f"{target}: the exported file must be named .onnx.")
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists already; give another name.", remedy="overwrite")
    if precision not in TOLERANCES:
        raise InputError(f"ONNX files are written in {' or '.join(TOLERANCES)}, not {precision!r}.")
    if batch is not None and batch < 1:
        raise InputError(f"batch must be 1 or more, or 'dynamic', not {batch}.")
    if model.info.architecture != "gpen-v1":
        raise CheckpointError(
            f"{model.info.name} is {model.info.architecture}; only GPEN v1 networks from PyTorch "
            f"files can be exported."
        )


def _float_copy(model: Model) -> GPEN:
    """The plain network in fp32 on the CPU, whatever form the model runs in."""
    network = GPEN(model.network.config)  # type: ignore[arg-type]
    state = model.network.state_dict()
    network.load_state_dict({key: value.float().cpu() for key, value in state.items()})
    return network.eval().requires_grad_(False)


def _metadata(model: Model, network: GPEN, precision: str) -> dict[str, str]:
    config = network.config
    stated = {key: value for key, value in model.info.metadata.items() if key != "format"}
    return {
        **stated,
        "architecture": "gpen-v1",
        "input_size": str(config.in_size),
        "output_size": str(config.out_size),
        "template": model.info.template,
        **({"task": model.task} if model.info.task_source else {}),
        "precision": precision,
        "config": json.dumps(
            {
                "in_size": config.in_size,
                "out_size": config.out_size,
                "channels": config.channels,
                "style_dim": config.style_dim,
                "n_mlp": config.n_mlp,
            }
        ),
    }


def _compare(network: GPEN, path: Path, batch: int | None) -> float:
    """Largest absolute difference on random pictures, relative to outputs above 1."""
    count = batch or (2 if network.config.out_size <= 512 else 1)
    size = network.config.in_size
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, 3, size, size, generator=generator) * 2 - 1
    with torch.inference_mode():
        expected = network(x)
        found = OnnxNetwork(OnnxConfig(path))(x)
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1.0))
