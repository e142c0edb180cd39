"""The encoder's features, which stand beside the generator's channels: whole or by rows.

The largest feature is a 1x1 convolution of the picture. It is cheaper to compute its rows twice,
in the cache, than to write 64 channels of every pixel to memory and read them back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import torch.nn.functional as F
from torch import Tensor

from ..layers import NEGATIVE_SLOPE


class RowRange(NamedTuple):
    """Rows `first` to `last - 1` of one sample of a batch."""

    sample: int
    first: int
    last: int


class Feature(Protocol):
    """(N, C, r, r), channels last; one sample (N = 1) may stand for a whole batch.

    Attributes:
        fresh: rows are made when asked for, and may be written to.
    """

    fresh: ClassVar[bool]

    def whole(self) -> Tensor:
        """(N, C, r, r)."""

    def rows(self, at: RowRange) -> Tensor:
        """(1, C, last - first, r).

        Rows up to two outside of the picture are zero where `StoredFeature.margin` is 2.
        """


@dataclass(frozen=True)
class StoredFeature:
    """A feature in memory, with `margin` rows of zeros above and below."""

    fresh: ClassVar[bool] = False

    padded: Tensor
    margin: int = 0

    def whole(self) -> Tensor:
        return self.padded[:, :, self.margin : self.padded.shape[2] - self.margin]

    def rows(self, at: RowRange) -> Tensor:
        sample = min(at.sample, len(self.padded) - 1)
        rows = slice(at.first + self.margin, at.last + self.margin)
        return self.padded[sample : sample + 1, :, rows]


@dataclass(frozen=True)
class ComputedFeature:
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

    def rows(self, at: RowRange) -> Tensor:
        top, bottom = max(at.first, 0), min(at.last, self.picture.shape[2])
        feature = self._step(self.picture[at.sample : at.sample + 1, :, top:bottom])
        if (top, bottom) != (at.first, at.last):
            feature = F.pad(feature, (0, 0, top - at.first, at.last - bottom))
        return feature

    def rows_reference(self, at: RowRange) -> Tensor:
        """What `rows` gives, from the whole feature."""
        feature = F.conv2d(self.picture, self.weight[:, :, None, None], self.bias)
        padded = F.pad(F.leaky_relu(feature, NEGATIVE_SLOPE), (0, 0, 2, 2))
        return padded[at.sample : at.sample + 1, :, at.first + 2 : at.last + 2]

    def _step(self, picture: Tensor) -> Tensor:
        # On three channels PyTorch's 1x1 convolution is several times slower than the product.
        feature = F.linear(picture.permute(0, 2, 3, 1), self.weight, self.bias)
        return F.leaky_relu_(feature, NEGATIVE_SLOPE).permute(0, 3, 1, 2)
