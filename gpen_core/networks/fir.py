"""The binomial FIR filter StyleGAN2 puts around every change of resolution.

Filtering is zero-padded, per channel, and always a true convolution (the kernel is flipped), as in
Karras et al., *Analyzing and Improving the Image Quality of StyleGAN*, 2020, appendix B. The
kernels are buffers because the published checkpoints carry them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TAPS = (1.0, 3.0, 3.0, 1.0)


def fir_kernel(gain: float = 1.0) -> Tensor:
    """The separable low-pass [1, 3, 3, 1] as a (4, 4) float32 kernel whose sum is `gain`.

    Example:
        >>> fir_kernel()[0].mul(64)
        tensor([1., 3., 3., 1.])
    """
    # Plain numbers: arithmetic on the `meta` device would import PyTorch's compiler.
    scale = gain / sum(TAPS) ** 2
    return torch.tensor([[scale * a * b for b in TAPS] for a in TAPS])


def _per_channel(kernel: Tensor, x: Tensor) -> Tensor:
    """(kh, kw) -> (C, 1, kh, kw) weights for a depthwise convolution of `x` (N, C, H, W)."""
    return kernel.to(x.dtype).expand(x.shape[1], 1, *kernel.shape)


class Blur(nn.Module):
    """(N, C, H, W) -> (N, C, H + 2 pad - 3, W + 2 pad - 3), low-passed."""

    kernel: Tensor

    def __init__(self, pad: int, gain: float = 1.0) -> None:
        super().__init__()
        self.pad = pad
        self.register_buffer("kernel", fir_kernel(gain))

    def forward(self, x: Tensor) -> Tensor:
        weight = _per_channel(self.kernel.flip(0, 1), x)
        return F.conv2d(x, weight, padding=self.pad, groups=x.shape[1])


class Upsample(nn.Module):
    """(N, C, H, W) -> (N, C, 2H, 2W): zeros between the pixels, then the filter with gain 4."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", fir_kernel(gain=4.0))

    def forward(self, x: Tensor) -> Tensor:
        # A stride-2 transposed convolution is exactly "insert zeros, then convolve".
        weight = _per_channel(self.kernel, x)
        return F.conv_transpose2d(x, weight, stride=2, padding=1, groups=x.shape[1])
