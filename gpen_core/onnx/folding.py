"""The constants that an ONNX export folds into GPEN's weights, and how to take them out again.

Equalized layers multiply their stored weights by `1/sqrt(fan_in)` on every call; a graph carries
the product. `sqrt(2) * leaky_relu(x) = leaky_relu(sqrt(2) * x)`, so the gain of an activation goes
into the weights and biases before it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..networks.fir import fir_kernel
from ..networks.gpen import GPEN, STYLE_LR_MUL, GPENConfig
from ..networks.layers import GAIN


def shapes(config: GPENConfig) -> dict[str, tuple[int, ...]]:
    """Key to shape of a GPEN v1 state dict, in its order."""
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in GPEN(config).state_dict().items()}


def equalizing(key: str, shape: tuple[int, ...]) -> float:
    """What the layer multiplies the parameter `key` by on every call; 1 for most biases.

    Args:
        key: of a GPEN v1 state dict.
        shape: of its parameter.
    """
    of_style = key.startswith("generator.style.")
    if key.endswith("bias"):
        return STYLE_LR_MUL if of_style else 1.0
    if not key.endswith("weight") or key.endswith("noise.weight"):
        return 1.0
    fan_in = math.prod(shape[2:]) if len(shape) == 5 else math.prod(shape[1:])
    return (STYLE_LR_MUL if of_style else 1.0) / math.sqrt(fan_in)


def folded(key: str, shape: tuple[int, ...]) -> float:
    """`equalizing` times the gain of the activation behind: what our export stores.

    The weights of modulated convolutions get no gain; demodulation would take it out again, so it
    rides on the demodulation.
    """
    factor = equalizing(key, shape)
    activated = (
        key.startswith(("ecd", "final_linear.", "generator.style."))
        or key.endswith(("noise.weight", "activate.bias"))
    ) and not key.endswith("kernel")
    return factor * GAIN if activated else factor


def fold(state: Mapping[str, Tensor], config: GPENConfig) -> dict[str, Tensor]:
    """A state dict with every constant folded in; the filters are left out. float32."""
    return {
        key: state[key].detach().cpu().float() * folded(key, shape)
        for key, shape in shapes(config).items()
        if not key.endswith("kernel")
    }


def unfold(weights: Mapping[str, Tensor], config: GPENConfig) -> dict[str, Tensor]:
    """The inverse of `fold`, with the filters."""
    return {
        key: filter_of(key)
        if key.endswith("kernel")
        else (weights[key].float() / folded(key, shape)).reshape(shape)
        for key, shape in shapes(config).items()
    }


def filter_of(key: str) -> Tensor:
    """The constant FIR kernel stored under `key`, see `networks.fir`."""
    return fir_kernel(1.0 if key.startswith("ecd") else 4.0)
