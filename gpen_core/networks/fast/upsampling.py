"""The generator's upsampling convolution of one sample, by rows.

With rows x[i] of height H, zero outside, and the kernel's rows w[0], w[1], w[2], the transposed
convolution is `y[2i] = w[0] x[i] + w[2] x[i - 1]` and `y[2i + 1] = w[1] x[i]`, 2H + 1 rows. Row r
of the result is the blur of y[r - 1] to y[r + 2].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Upsampling:
    """Transposed convolution with stride 2, then the blur.

    Attributes:
        weight: (C, K, 3, 3), modulated.
        kernel: (K, 1, 4, 4) of the blur, carrying demodulation and gain.
        bias: (K,).
    """

    weight: Tensor
    kernel: Tensor
    bias: Tensor

    def rows(self, x: Tensor, first: int, last: int) -> Tensor:
        """(1, C, H + 2, W), a row of zeros above and below -> (1, K, last - first, 2W).

        Rows `first` to `last - 1` of the result, and of x only what they need.
        """
        begin, end = (first - 2) // 2, (last + 1) // 2 + 1
        y = F.conv_transpose2d(x[:, :, begin + 1 : end + 1], self.weight, stride=2)
        y = y[:, :, first - 1 - 2 * begin : last + 2 - 2 * begin]
        return F.conv2d(y, self.kernel, self.bias, padding=(0, 1), groups=len(self.kernel))

    def rows_reference(self, x: Tensor, first: int, last: int) -> Tensor:
        """What `rows` gives, from the whole result."""
        y = F.conv_transpose2d(x[:, :, 1:-1], self.weight, stride=2)
        y = F.conv2d(y, self.kernel, self.bias, padding=1, groups=len(self.kernel))
        return y[:, :, first:last]
