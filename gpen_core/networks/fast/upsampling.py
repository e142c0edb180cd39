"""The generator's upsampling convolution of one sample, by rows from top to bottom.

With rows x[i] of height H, zero outside, and the kernel's rows w[0], w[1], w[2], the transposed
convolution is `y[2i] = w[0] x[i] + w[2] x[i - 1]` and `y[2i + 1] = w[1] x[i]`, 2H + 1 rows. Row r
of the result is the blur of y[r - 1] to y[r + 2], so x[i] gives to rows 2i - 2 to 2i + 3. Each row
of x is taken once: what it gives to rows that others complete is carried to them and added there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

# Rows of the result that x[i] and what is above it give to, from row 2i on.
OVERLAP = 4


@dataclass(frozen=True)
class Carry:
    """What the rows of x so far give to rows that are not complete yet.

    Attributes:
        next: the row of x that comes next.
        rows: (1, K, 4, 2W), to rows `2 next - 2` and below, without the bias.
    """

    next: int
    rows: Tensor


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

    def rows(
        self, x: Tensor, first: int, last: int, carry: Carry | None = None
    ) -> tuple[Tensor, Carry]:
        """(1, C, H + 2, W) -> (1, K, last - first, 2W) and what is carried to the rows below.

        Args:
            x: a row of zeros above and below.
            first: row of the result; with a carry the one after the last before.
            last: the row after the last one, even.
            carry: of the rows above; None to start anywhere.
        """
        begin = max((first - 2) // 2, 0) if carry is None else carry.next
        end, above = last // 2 + 1, 2 * begin - 2
        y = F.conv_transpose2d(x[:, :, begin + 1 : end + 1], self.weight, stride=2)
        # Rows `above` to 2 end + 1, the last four still lacking what x[end] and below give.
        z = F.conv2d(y, self.kernel, self.bias, padding=(3, 1), groups=len(self.kernel))
        if carry is not None:
            z[:, :, :OVERLAP] += carry.rows
        carry = Carry(end, z[:, :, -OVERLAP:] - self.bias.view(-1, 1, 1))
        return z[:, :, first - above : last - above], carry

    def rows_reference(
        self, x: Tensor, first: int, last: int, carry: Carry | None = None
    ) -> tuple[Tensor, Carry | None]:
        """What `rows` gives, from the whole result; nothing is carried."""
        y = F.conv_transpose2d(x[:, :, 1:-1], self.weight, stride=2)
        y = F.conv2d(y, self.kernel, self.bias, padding=1, groups=len(self.kernel))
        return y[:, :, first:last], None
