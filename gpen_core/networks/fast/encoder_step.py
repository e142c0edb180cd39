"""One step of the encoder: blur, strided convolution, activation; whole or in strips."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from .encoder_features import Feature, RowRange
from .strips import activate, strip_height

# Rows of zeros about a stored feature: the blur of the next step pads by two.
MARGIN = 2


@dataclass(frozen=True)
class EncoderStep:
    """(N, C, 2r, 2r) -> (N, K, r, r).

    Attributes:
        blur: (C, 1, 4, 4), carrying the convolution's scale and the activation's gain.
        weight: (K, C, 3, 3).
        bias: (K,), with the gain.
    """

    blur: Tensor
    weight: Tensor
    bias: Tensor

    def run(self, feature: Feature, out: Tensor, strip_bytes: int) -> None:
        """The next feature into `out` (N, K, r + 2 MARGIN, r), in strips; its margins stay."""
        n, _, _, side = out.shape
        row_bytes = 2 * len(self.blur) * 2 * side * out.element_size()
        height = strip_height(row_bytes, 2 * side, strip_bytes)
        for sample in range(n):
            for first in range(0, side, height):
                last = min(first + height, side)
                at = RowRange(sample, 2 * first - MARGIN, 2 * last + MARGIN)
                target = out[sample : sample + 1, :, first + MARGIN : last + MARGIN]
                activate(self._convolve(feature.rows(at)), target)

    def run_reference(self, feature: Feature, out: Tensor, strip_bytes: int) -> None:
        """What `run` writes, all at once; faster where the picture is small, and on a GPU."""
        rows = F.pad(feature.whole(), (0, 0, MARGIN, MARGIN))
        activate(self._convolve(rows), out[:, :, MARGIN:-MARGIN])

    def _convolve(self, rows: Tensor) -> Tensor:
        """(N, C, 2h + 4, W), two rows of margin on either side -> (N, K, h, W / 2)."""
        low = F.conv2d(rows, self.blur, padding=(0, 2), groups=len(self.blur))
        return F.conv2d(low, self.weight, self.bias, stride=2)
