"""From a file, a name or a state dict to a `Model`.

`load_model` reads, identifies and caches; the cache is the project's only global, so that the same
file is read once however many graphs, threads or pictures ask for it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import torch

from ..errors import CheckpointError
from ..weights.locate import locate
from .cache import CACHE, file_identity
from .device import DTYPES, NAMES, resolve_device, resolve_precision
from .identify import Identified, identify, load_weights
from .info import ModelInfo
from .model import Model
from .read import file_kind, read_checkpoint
from .task import task_of
from .unwrap import unwrap

log = logging.getLogger(__name__)

# What files hold besides the types that networks run in.
_STORED = {
    **NAMES,
    torch.float64: "fp64",
    torch.float8_e4m3fn: "fp8 (e4m3)",
    torch.float8_e5m2: "fp8 (e5m2)",
}


def load_model(
    source: str | os.PathLike[str] | Mapping[str, object] | None = None,
    device: str | torch.device = "cpu",
    precision: str = "fp32",
    *,
    folders: tuple[Path, ...] = (),
) -> Model:
    """Load a model, or take it from the cache.

    Args:
        source: a file or the name of one (see `weights.locate`), a state dict or checkpoint
            dict, or None for the embedded default.
        device: "cpu", "cuda", "cuda:1", "mps" or "auto".
        precision: "fp32", "fp16", "bf16", or "auto": fp16 on CUDA, else fp32.
        folders: further folders in which a name is looked for.

    Raises:
        MissingWeightsError: the file, or the embedded model, is not there.
        CheckpointError: it is not a model this project runs; the text says what it is.
        InputError: an unknown device or precision.

    Example:
        >>> model = load_model(precision="bf16")  # the embedded model
        >>> model.output_size, model.precision
        (256, 'bf16')
        >>> load_model(precision="bf16") is model
        True
    """
    where = resolve_device(device)
    dtype = DTYPES[resolve_precision(precision, where)]
    if isinstance(source, Mapping):
        return build_model(source, "the state dict", dtype).to(where)
    path = locate(source, folders)
    key = (*file_identity(path), NAMES[dtype], str(where))
    return CACHE.get(key, lambda: read_model(path, dtype).to(where), lambda model: model.bytes)


def read_model(path: Path, dtype: torch.dtype = torch.float32) -> Model:
    """The model of a file, on the CPU, past the cache.

    The memory taken on the way is that of the file or of the model, whichever is larger.

    Raises:
        MissingWeightsError, CheckpointError: as `load_model`.

    Example:
        >>> from gpen_core.weights.locate import embedded
        >>> read_model(embedded()).info.architecture
        'gpen-v1'
    """
    if file_kind(path) == "onnx":
        from .onnx_file import describe_onnx  # late: few have onnxruntime

        graph_info, graph = describe_onnx(path)
        _say_guess(graph_info)
        return Model(graph, graph_info).to("cpu", NAMES[dtype])
    raw = read_checkpoint(path)
    file_format = raw.file_format
    info, found = describe_content(raw.content, str(path), raw.metadata)
    del raw  # `found` alone holds the weights now, and gives them up one by one
    with torch.inference_mode(False):
        network = load_weights(found, dtype, copy=False)
    info = info.of_file(path, file_format)
    log.info("Loaded %s: %s, %d px, %s.", path, info.architecture, info.output_size, NAMES[dtype])
    _say_guess(info)
    return Model(network, info)


def _say_guess(info: ModelInfo) -> None:
    if info.guess:
        log.warning("%s", info.guess)


def build_model(
    content: object, name: str, dtype: torch.dtype, metadata: Mapping[str, str] | None = None
) -> Model:
    """The model of a checkpoint's content, on the CPU; its tensors are copied.

    Raises:
        CheckpointError: as `load_model`.

    Example:
        >>> from gpen_core.networks.gpen import GPEN, GPENConfig
        >>> state = GPEN(GPENConfig.create(64, narrow=0.0625)).state_dict()
        >>> build_model(state, "a small network", torch.float32).output_size
        64
    """
    info, found = describe_content(content, name, metadata)
    with torch.inference_mode(False):
        return Model(load_weights(found, dtype), info)


def describe_content(
    content: object, name: str, metadata: Mapping[str, str] | None = None
) -> tuple[ModelInfo, Identified]:
    """What a checkpoint's content is, and its weights by reference.

    Args:
        content: top-level object of a file, or a state dict.
        name: what to call it in an error.
        metadata: of a safetensors file.

    Raises:
        CheckpointError: as `load_model`.
    """
    metadata = metadata or {}
    try:
        weights = unwrap(content, metadata)
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from error
    found = identify(weights, name)
    task, task_source = task_of(None, metadata)
    stored = {tensor.dtype for tensor in found.state.values()}
    info = ModelInfo(
        architecture=found.architecture,
        input_size=found.input_size,
        output_size=found.output_size,
        parameters=sum(p.numel() for p in found.network.parameters()),
        stored=_STORED.get(next(iter(stored)), "other") if len(stored) == 1 else "mixed",
        template=metadata.get("template", "gpen"),
        narrow=found.narrow,
        channel_multiplier=found.channel_multiplier,
        wrapper=weights.wrapper,
        license=metadata.get("license"),
        metadata=metadata,
        task=task,
        task_source=task_source,
    )
    return info, found
