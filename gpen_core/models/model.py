"""`Model`: a network, its descriptor, and nothing else a caller has to know.

`load_model` reads, identifies and caches; the cache is the project's only global, so that the same
file is read once however many graphs, threads or pictures ask for it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, InputError
from ..weights.locate import locate
from .cache import CACHE, file_identity
from .identify import Identified, identify, load_weights
from .info import ModelInfo
from .read import file_kind, read_checkpoint
from .unwrap import unwrap

log = logging.getLogger(__name__)

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Model:
    """A face restoration network with its descriptor.

    Attributes:
        network: called as `network(x, generator)`; others may move it between devices.
        info: what it is.
    """

    network: nn.Module
    info: ModelInfo

    @property
    def input_size(self) -> int:
        """Side of the crops it takes, pixels."""
        return self.info.input_size

    @property
    def output_size(self) -> int:
        """Side of the faces it gives, pixels."""
        return self.info.output_size

    @property
    def device(self) -> torch.device:
        """Where the weights are now."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(self.network.parameters()).dtype

    @property
    def precision(self) -> str:
        """ "fp32", "fp16" or "bf16"."""
        return _NAMES[self.dtype]

    @property
    def bytes(self) -> int:
        """Memory of the weights."""
        # An ONNX graph keeps its weights where PyTorch does not see them.
        unseen = getattr(self.network, "unseen_bytes", 0)
        return unseen + sum(p.numel() * p.element_size() for p in self.network.parameters())

    def __call__(self, x: Tensor, seed: int = 0) -> Tensor:
        """Restore aligned faces.

        Args:
            x: (N, 3, input_size, input_size) float, RGB -1..1, on any device.
            seed: of the noise of super-resolution models; others do not use it.

        Returns:
            (N, 3, output_size, output_size) float32 on the model's device, about -1..1.

        Raises:
            InputError: another shape or type.
        """
        size = self.input_size
        if x.ndim != 4 or tuple(x.shape[1:]) != (3, size, size) or not x.is_floating_point():
            raise InputError(
                f"{self.info.name} takes float crops (N, 3, {size}, {size}), not "
                f"{tuple(x.shape)} {x.dtype}; resize the aligned faces to {size} px."
            )
        generator = torch.Generator().manual_seed(seed)
        with torch.inference_mode():
            return self.network(x.to(self.device, self.dtype), generator).float()

    def on(self, device: torch.device | str) -> Model:
        """The same model on another device; a copy where it has to move."""
        return self.to(device)

    def with_precision(self, precision: str) -> Model:
        """The same model in another precision, on its device; a copy where it has to change."""
        return self.to(precision=precision)

    def to(self, device: torch.device | str | None = None, precision: str | None = None) -> Model:
        """The same model elsewhere or in another precision; itself where nothing changes.

        Raises:
            InputError: an unknown device or precision.
        """
        where = self.device if device is None else resolve_device(device)
        dtype = self.dtype if precision is None else DTYPES[resolve_precision(precision, where)]
        if (where, dtype) == (self.device, self.dtype):
            return self
        return self._copy(where, dtype)

    def _copy(self, device: torch.device, dtype: torch.dtype) -> Model:
        # Not `network.to`: that would move the network under everybody else who holds it.
        with torch.inference_mode(False):
            state = {k: value.to(device, dtype) for k, value in self.network.state_dict().items()}
            with torch.device("meta"):
                network = type(self.network)(self.network.config)
            network.load_state_dict(state, assign=True)
            return replace(self, network=network.eval().requires_grad_(False))


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
    """
    where = resolve_device(device)
    dtype = DTYPES[resolve_precision(precision, where)]
    if isinstance(source, Mapping):
        return build_model(source, "the state dict", dtype).to(where)
    path = locate(source, folders)
    key = (*file_identity(path), _NAMES[dtype], str(where))
    return CACHE.get(key, lambda: read_model(path, dtype).to(where), lambda model: model.bytes)


def read_model(path: Path, dtype: torch.dtype = torch.float32) -> Model:
    """The model of a file, on the CPU, past the cache.

    The memory taken on the way is that of the file or of the model, whichever is larger.

    Raises:
        MissingWeightsError, CheckpointError: as `load_model`.
    """
    if file_kind(path) == "onnx":
        from ..onnx.backend import describe_onnx  # late: few have onnxruntime

        graph_info, graph = describe_onnx(path)
        return Model(graph, graph_info).to("cpu", _NAMES[dtype])
    raw = read_checkpoint(path)
    file_format = raw.file_format
    info, found = describe_content(raw.content, str(path), raw.metadata)
    del raw  # `found` alone holds the weights now, and gives them up one by one
    with torch.inference_mode(False):
        network = load_weights(found, dtype, copy=False)
    info = info.of_file(path, file_format)
    log.info("Loaded %s: %s, %d px, %s.", path, info.architecture, info.output_size, _NAMES[dtype])
    return Model(network, info)


def build_model(
    content: object, name: str, dtype: torch.dtype, metadata: Mapping[str, str] | None = None
) -> Model:
    """The model of a checkpoint's content, on the CPU; its tensors are copied.

    Raises:
        CheckpointError: as `load_model`.
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
    stored = {tensor.dtype for tensor in found.state.values()}
    info = ModelInfo(
        architecture=found.architecture,
        input_size=found.input_size,
        output_size=found.output_size,
        parameters=sum(p.numel() for p in found.network.parameters()),
        stored=_NAMES.get(next(iter(stored)), "other") if len(stored) == 1 else "mixed",
        template=metadata.get("template", "gpen"),
        narrow=found.narrow,
        channel_multiplier=found.channel_multiplier,
        wrapper=weights.wrapper,
        license=metadata.get("license"),
        metadata=metadata,
    )
    return info, found


def resolve_device(device: str | torch.device) -> torch.device:
    """The device a name means; "auto" takes CUDA, then Apple's GPU, then the CPU.

    Raises:
        InputError: an unknown name, or a device this machine does not have.
    """
    if str(device) == "auto":
        gpus = (kind for kind in ("cuda", "mps") if _device_count(kind))
        return resolve_device(next(gpus, "cpu"))
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"There is no device {str(device)!r}; use auto, cpu, cuda, cuda:1 or mps."
        ) from error
    if (chosen.index or 0) >= _device_count(chosen.type):
        raise InputError(
            f"This machine has no device {str(device)!r} that PyTorch can use; use auto or cpu."
        )
    # "cuda" is a device too, but not equal to the "cuda:0" that tensors then say they are on.
    if chosen.type == "cuda" and chosen.index is None:
        chosen = torch.device("cuda", torch.cuda.current_device())
    return chosen


def _device_count(kind: str) -> int:
    """How many devices of a kind PyTorch can use here."""
    if kind == "cpu":
        return 1
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    count = getattr(getattr(torch, kind, None), "device_count", None)
    return count() if count else 0


def resolve_precision(precision: str, device: torch.device) -> str:
    """The precision a name means on a device; "auto" is fp16 on CUDA, else fp32.

    Raises:
        InputError: an unknown name.
    """
    if precision == "auto":
        return "fp16" if device.type == "cuda" else "fp32"
    if precision not in DTYPES:
        raise InputError(f"There is no precision {precision!r}; use auto, {', '.join(DTYPES)}.")
    return precision
