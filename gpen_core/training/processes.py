"""The processes that train one network together: one alone, or those of `accelerate launch`.

Accelerate joins the processes and picks each one's device. Gradients are averaged here, with one
all-reduce for each network and step, rather than by wrapping the networks: three losses flow
through a generator and several discriminators, some with second derivatives, and an unwrapped
network keeps the keys of its checkpoints.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from accelerate import PartialState


class Processes:
    """What one process knows of the others.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        InputError: no GPU where one is asked for.
        MissingDependencyError: launched as one of several, but Accelerate is not installed.
    """

    def __init__(self, device: str = "auto") -> None:
        self.state = _join(device) if _launched() > 1 else None
        self.count = self.state.num_processes if self.state else 1
        self.index = self.state.process_index if self.state else 0
        self.device = self.state.device if self.state else _device(device)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return self.index == 0

    def wait(self) -> None:
        """Until every process is here."""
        if self.state:
            self.state.wait_for_everyone()

    def mean(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Scalars averaged over the processes; all must call with the same names."""
        stacked = torch.stack([value.detach().float() for value in values.values()])
        return dict(zip(values, self._mean(stacked).tolist(), strict=True))

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes."""
        if self.state is None:
            return
        gradients = [value.grad for value in parameters if value.grad is not None]
        flat = self._mean(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(
            gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))

    def agree(self, number: int) -> bool:
        """Whether every process has the same number; all must call."""
        mean = self.mean({"number": torch.tensor(float(number))})["number"]
        return not self.any(mean != number)

    def any(self, flag: bool) -> bool:
        """Whether it is true in some process; all must call."""
        if self.state is None:
            return flag
        return bool(self._mean(torch.tensor([float(flag)], device=self.device)).item() > 0)

    def _mean(self, values: Tensor) -> Tensor:
        if self.state is None:
            return values
        from accelerate.utils import reduce

        return reduce(values.to(self.device), reduction="mean")


def _launched() -> int:
    """How many processes the launcher says it started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _join(device: str) -> PartialState:
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise MissingDependencyError(
            "Training in several processes needs Accelerate; install it with: "
            "pip install 'gpen[train]'"
        ) from error
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if device.startswith("cuda") and not on_gpu:
        raise InputError(f"device is {device}, but there is no CUDA GPU here; set device: cpu.")
    # Without a GPU and without being told, Accelerate leaves every process on its own.
    state = PartialState(cpu=not on_gpu)
    if state.num_processes != _launched():
        raise InputError(
            f"{_launched()} processes were launched, but Accelerate joined {state.num_processes}; "
            f"each would train and write alone. See 'Several GPUs' in docs/training.md."
        )
    return state


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device is {name}, but there is no such CUDA GPU here; set device: cpu.")
    return device
