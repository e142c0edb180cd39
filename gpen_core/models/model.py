"""`Model`: a network, its descriptor, and nothing else a caller has to know."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..options import ModelOptions, spec_of
from .device import DTYPES, NAMES, resolve_device, resolve_precision
from .info import ModelInfo


@dataclass(frozen=True)
class Model:
    """A face restoration network with its descriptor.

    Attributes:
        network: called as `network(x, generator)`; others may move it between devices.
        info: what it is.

    Example:
        >>> from gpen_core.models.load import load_model
        >>> model = load_model()
        >>> model(torch.zeros(2, 3, model.input_size, model.input_size)).shape
        torch.Size([2, 3, 256, 256])
        >>> model.with_precision("bf16").precision, model.precision
        ('bf16', 'fp32')
    """

    network: nn.Module
    info: ModelInfo

    @property
    def task(self) -> str:
        """What it is for, one of `options.TASKS`."""
        return self.info.task

    def as_task(self, task: str | None) -> Model:
        """The same network taken for another task, as its user says; itself for None.

        Raises:
            InputError: no such task.

        Example:
            >>> from gpen_core.models.load import load_model
            >>> load_model().as_task("colorize").task
            'colorize'
        """
        if task is None:
            return self
        spec_of(ModelOptions, "task").check("task", task)
        return replace(self, info=replace(self.info, task=task, task_source="user"))

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
        return NAMES[self.dtype]

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
