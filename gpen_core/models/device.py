"""Which device and which precision a name means on this machine."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import nn

from ..errors import InputError

if TYPE_CHECKING:
    from typing_extensions import Self

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""What networks run in, by the name that users give."""

NAMES = {dtype: name for name, dtype in DTYPES.items()}

Network = TypeVar("Network", bound=nn.Module)


def copied(network: Network, device: torch.device | str) -> Network:
    """A copy of a network on another device; nothing is allocated where it comes from.

    Example:
        >>> copied(nn.Linear(2, 3), "meta").weight.device
        device(type='meta')
    """
    known: dict[int, object] = {}
    for parameter in network.parameters():
        moved = parameter.detach().to(device, copy=True)
        known[id(parameter)] = nn.Parameter(moved, parameter.requires_grad)
    for buffer in network.buffers():
        known[id(buffer)] = buffer.detach().to(device, copy=True)
    return copy.deepcopy(network, known)


class OnDevice(Generic[Network]):
    """A network with what has to happen before and after it, on a device and movable to another.

    Args:
        network: put into evaluation, and on the device.
        device: where it runs.

    Example:
        >>> OnDevice(nn.Linear(2, 3)).on(torch.device("meta")).network.weight.device
        device(type='meta')
    """

    def __init__(self, network: Network, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.network = network.eval().to(self.device)

    def on(self, device: torch.device | str) -> Self:
        """The same on another device."""
        other = copy.copy(self)
        other.device, other.network = torch.device(device), copied(self.network, device)
        return other


def resolve_device(device: str | torch.device) -> torch.device:
    """The device a name means; "auto" takes CUDA, then Apple's GPU, then the CPU.

    Raises:
        InputError: an unknown name, or a device this machine does not have.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
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

    Example:
        >>> resolve_precision("auto", torch.device("cpu"))
        'fp32'
    """
    if precision == "auto":
        return "fp16" if device.type == "cuda" else "fp32"
    if precision not in DTYPES:
        raise InputError(f"There is no precision {precision!r}; use auto, {', '.join(DTYPES)}.")
    return precision
