"""An ONNX file as a model: what it is, and a network that runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..errors import CheckpointError, InputError
from ..onnx.backend import WEIGHTED, OnnxConfig, OnnxNetwork
from ..onnx.layout import is_own, own_config
from ..text import first_line
from .info import ModelInfo
from .task import task_of


def describe_onnx(path: Path) -> tuple[ModelInfo, OnnxNetwork]:
    """An `.onnx` file as a network on the CPU, and what it is. Nothing is run.

    Raises:
        CheckpointError: it cannot be read, or is not one square picture in and one out.
        MissingDependencyError: onnxruntime is absent.
    """
    with torch.inference_mode(False):  # or its parameter could not be moved later
        network = OnnxNetwork(OnnxConfig(path)).eval()
    checked = network.checked
    metadata = {prop.key: prop.value for prop in checked.graph.metadata_props}
    if not any(node.op_type in WEIGHTED for node in checked.graph.graph.node):
        raise CheckpointError(
            f"{path} is not a GPEN graph: it has no convolution and no matrix product."
        )
    if is_own(metadata):
        try:
            own_config(metadata)
        except (InputError, ValueError) as error:
            raise CheckpointError(
                f"{path} says it was exported by this project, but its description is wrong "
                f"({first_line(error)}); export it again."
            ) from error
    ports = network.ports
    half = ports.dtype is np.float16 or metadata.get("precision") == "fp16"
    task, task_source = task_of(path, metadata)
    info = ModelInfo(
        architecture="gpen-onnx",
        input_size=ports.in_size,
        output_size=ports.out_size,
        # A graph holds little else than its weights.
        parameters=checked.bytes // (2 if half else 4),
        stored="fp16" if half else "fp32",
        template=metadata.get("template", "gpen"),
        license=metadata.get("license"),
        path=path,
        file_format="onnx",
        metadata=metadata,
        task=task,
        task_source=task_source,
    )
    return info, network
