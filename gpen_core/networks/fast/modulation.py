"""A style around a convolution: `y = conv(x * style) * gain + bias`, with weights shared by all.

StyleGAN2 multiplies the weights by the style and divides them by their norm (Karras et al., 2020,
section 2.2). Both are factors of channels, so they can stand before and after the convolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers import DEMODULATION_EPS, GAIN

HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Modulation:
    """Factors of the channels for every sample of a batch.

    Attributes:
        style: (N, C), of the input.
        gain: (N, K), of the output: demodulation and the activation's gain.
        bias: (K,), with the activation's gain.
    """

    style: Tensor
    gain: Tensor
    bias: Tensor

    def weight(self, shared: Tensor) -> Tensor:
        """Of one sample, on the weight: (K, C, 3, 3) -> the same, modulated and demodulated."""
        return shared * self.style.view(1, -1, 1, 1) * self.gain.view(-1, 1, 1, 1)


def modulate(style: Tensor, energy: Tensor, bias: Tensor, dtype: torch.dtype) -> Modulation:
    """The modulation of a convolution, in `dtype`.

    In half precision the factors are divided by their largest, which the demodulation undoes, so
    that the activations cannot overflow (as in StyleGAN3).

    Args:
        style: (N, C) float32.
        energy: (K, C) float32, squares of the weights summed over the kernel.
        bias: (K,).
    """
    eps: float | Tensor = DEMODULATION_EPS
    if dtype in HALF:
        largest = style.abs().amax(1, keepdim=True).clamp(min=1e-12)
        style, eps = style / largest, eps / largest.square()
    gain = torch.rsqrt(F.linear(style.square(), energy) + eps) * GAIN
    return Modulation(style.to(dtype), gain.to(dtype), bias)
