"""What stands beside the generator's channels: an encoder feature, whole or by rows.

The largest feature is a 1x1 convolution of the picture. It is cheaper to compute its rows twice,
in the cache, than to write 64 channels of every pixel to memory and read them back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch.nn.functional as F
from torch import Tensor

from ..layers import NEGATIVE_SLOPE


class Feature(Protocol):
    """(N, C, r, r), channels last; one sample (N = 1) may stand for a whole batch.

    Attributes:
        fresh: rows are made when asked for, and may be written to.
    """

    fresh: ClassVar[bool]

    def whole(self) -> Tensor:
        """(N, C, r, r)."""

    def rows(self, sample: int, first: int, last: int) -> Tensor:
        """(1, C, last - first, r): rows `first` to `last - 1` of one sample.

        Rows up to two outside of the picture are zero where `Stored.margin` is 2.
        """


@dataclass(frozen=True)
class Stored:
    """A feature in memory, with `margin` rows of zeros above and below."""

    fresh: ClassVar[bool] = False

    padded: Tensor
    margin: int = 0

    def whole(self) -> Tensor:
        return self.padded[:, :, self.margin : self.padded.shape[2] - self.margin]

    def rows(self, sample: int, first: int, last: int) -> Tensor:
        sample = min(sample, len(self.padded) - 1)
        rows = slice(first + self.margin, last + self.margin)
        return self.padded[sample : sample + 1, :, rows]


@dataclass(frozen=True)
class Computed:
    """The encoder's first step: `leaky_relu(conv1x1(picture))`, computed when asked for.

    Attributes:
        picture: (N, 3, r, r), channels last.
        weight: (C, 3) and `bias` (C,), both with the activation's gain.
    """

    fresh: ClassVar[bool] = True

    picture: Tensor
    weight: Tensor
    bias: Tensor

    def whole(self) -> Tensor:
        return self._step(self.picture)

    def rows(self, sample: int, first: int, last: int) -> Tensor:
        height = self.picture.shape[2]
        top, bottom = max(first, 0), min(last, height)
        feature = self._step(self.picture[sample : sample + 1, :, top:bottom])
        if (top, bottom) != (first, last):
            feature = F.pad(feature, (0, 0, top - first, last - bottom))
        return feature

    def _step(self, picture: Tensor) -> Tensor:
        # On three channels PyTorch's 1x1 convolution is several times slower than the product.
        feature = F.linear(picture.permute(0, 2, 3, 1), self.weight, self.bias)
        return F.leaky_relu_(feature, NEGATIVE_SLOPE).permute(0, 3, 1, 2)
