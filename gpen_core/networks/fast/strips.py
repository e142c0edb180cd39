"""One resolution of the network in strips of rows, so that what is made is still in the cache.

Encoder: feature -> blur -> strided convolution. Generator: transposed convolution -> blur ->
activation -> 3x3 convolution -> activation -> RGB. Between the two 3x3 convolutions a strip keeps
the last three rows of its predecessor, so nothing is computed twice within a band.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers import NEGATIVE_SLOPE
from . import columns, winograd
from .features import Feature
from .lanes import Lanes
from .transposed import Blur, Columns, Direct, Upsampled
from .workspace import Workspace

# Bytes of the widest buffer of a strip: small enough for the last cache level beside its like.
STRIP_BYTES = 8 << 20
# Rows of the predecessor's activations that a strip needs: one above, two computed ahead.
CARRY = 3
# Rows of a band at least: of fewer, too many would be computed twice.
BAND_ROWS = 32


def activate(x: Tensor, out: Tensor) -> None:
    """`out = leaky_relu(x)`; the gain is in the weights and biases already."""
    torch.ops.aten.leaky_relu.out(x, NEGATIVE_SLOPE, out=out)


@dataclass(frozen=True)
class Down:
    """An encoder step: `blur` (C, 1, 4, 4) carrying the scale, `weight` (K, C, 3, 3), `bias`."""

    blur: Tensor
    weight: Tensor
    bias: Tensor

    def strip(self, rows: Tensor) -> Tensor:
        """(N, C, 2h + 4, W), two rows of margin on either side -> (N, K, h, W / 2)."""
        low = F.conv2d(rows, self.blur, padding=(0, 2), groups=len(self.blur))
        return F.conv2d(low, self.weight, self.bias, stride=2)


@dataclass(frozen=True)
class Beside:
    """How a feature becomes half of a strip: its one `gain`, and `bias` (W C,), a whole row's."""

    gain: float
    bias: Tensor

    def write(self, feature: Feature, at: tuple[int, int, int], out: Tensor) -> None:
        """`out = leaky_relu(rows * gain + bias)` of the feature's rows at (sample, first, last)."""
        rows = feature.rows(*at)
        if feature.fresh:
            activate(self._scale(rows), out)
        else:
            bias = self.bias[: out.shape[1]].view(1, -1, 1, 1)
            activate(torch.add(bias, rows, alpha=self.gain, out=out), out)

    def strip(self, feature: Feature, at: tuple[int, int, int]) -> Tensor:
        """The same, in memory of its own."""
        rows = feature.rows(*at)
        return F.leaky_relu_(self._scale(rows if feature.fresh else rows.clone()), NEGATIVE_SLOPE)

    def _scale(self, rows: Tensor) -> Tensor:
        """In place; whole rows at once, as what repeats after few channels only is slow."""
        flat = rows[0].permute(1, 2, 0).flatten(1)
        torch.add(self.bias, flat, alpha=self.gain, out=flat)
        return rows


@dataclass(frozen=True)
class Up:
    """The upsampling convolution of one sample, modulated.

    Attributes:
        weight: (C, K, 3, 3) for `transposed.Direct`, or (6, C, 1, 3, K) for `transposed.Columns`.
        blur: carrying demodulation and gain.
    """

    weight: Tensor
    blur: Blur
    beside: Beside

    def rows(self, x: Tensor, top: int, height: int, workspace: Workspace) -> Upsampled:
        """Of `x` (1, C, H + 2, W): row `top` and below, up to `height` at once."""
        if self.weight.ndim == 4:
            return Direct(x, self.weight, self.blur, top)
        return Columns(x, self.weight, self.blur, top, height, workspace)


@dataclass(frozen=True)
class Same:
    """The second convolution of one sample, modulated: `weight` (K, 2K, 3, 3), `bias` (K,)."""

    weight: Tensor
    bias: Tensor
    beside: Beside

    def strip(self, padded: Tensor, workspace: Workspace) -> Tensor:
        """(1, 2K, h + 2, W + 2) -> (1, K, h, W)."""
        return F.conv2d(padded, self.weight, self.bias)


@dataclass(frozen=True)
class ColumnsSame:
    """The same, by Winograd's algorithm down the columns."""

    weight: columns.Columns
    beside: Beside

    def strip(self, padded: Tensor, workspace: Workspace) -> Tensor:
        """(1, 2K, h + 2, W + 2) -> (1, K, h, W); it lives in the workspace."""
        return columns.convolve(padded, self.weight, workspace)


@dataclass(frozen=True)
class WinogradSame:
    """The same, by Winograd's algorithm: `weight` (36, 2K, K), `style` (1, 2K), `gain` (1, K)."""

    weight: Tensor
    style: Tensor
    gain: Tensor
    bias: Tensor
    beside: Beside

    def strip(self, padded: Tensor, workspace: Workspace) -> Tensor:
        """(1, 2K, h + 2, W + 2) -> (1, K, h, W); it lives in the workspace."""
        height, width, k = padded.shape[2] - 2, padded.shape[3] - 2, len(self.bias)
        out = workspace.take("rows", (1, height, width, k), padded)
        winograd.convolve(
            padded.permute(0, 2, 3, 1), self.weight, self.style, self.gain, self.bias, out,
            workspace,
        )  # fmt: skip
        return out.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class RGB:
    """The step to RGB of one sample, added to the RGB of the resolution below.

    Attributes:
        weight: (3, 2K), modulated.
        bias: (3,).
        kernel: (3, 1, 4, 4) of the upsampling.
        below: (1, 3, H + 2, W), a row of zeros above and below.
    """

    weight: Tensor
    bias: Tensor
    kernel: Tensor
    below: Tensor

    def strip(self, x: Tensor, first: int, out: Tensor) -> None:
        """Activations (1, 2K, h, 2W), `first` the first of their rows -> `out` (1, 3, h, 2W)."""
        rgb = F.linear(x.permute(0, 2, 3, 1), self.weight, self.bias)
        torch.add(rgb.permute(0, 3, 1, 2), self._up(first, out), out=out)

    def halves(self, own: Tensor, beside: Tensor, first: int, out: Tensor) -> None:
        """The same of two times (1, K, h, 2W)."""
        weights = (weight.expand(out.shape[2], -1, -1) for weight in self.weight.chunk(2, dim=1))
        # Row by row, in planes: with few channels twice as fast as pixels of three values each.
        rgb = torch.baddbmm(self.bias[:, None], next(weights), own[0].transpose(0, 1))
        rgb = rgb.baddbmm_(next(weights), beside[0].transpose(0, 1))
        torch.add(rgb.transpose(0, 1)[None], self._up(first, out), out=out)

    def _up(self, first: int, out: Tensor) -> Tensor:
        rows = self.below[:, :, first // 2 : (first + out.shape[2]) // 2 + 2]
        return F.conv_transpose2d(rows, self.kernel, stride=2, padding=(3, 1), groups=3)


def strip_height(channels: int, side: int, element_size: int, factor: float = 1) -> int:
    """Rows per strip, 8 times a power of two, to fill `factor` times `STRIP_BYTES`."""
    height, most = 8, factor * STRIP_BYTES
    while 2 * height <= side and 2 * height * side * channels * element_size <= most:
        height *= 2
    return height


def bands(side: int, lanes: int) -> list[tuple[int, int]]:
    """First and last rows of the bands in which `lanes` share a picture; one if they are too low.

    All but the first compute up to nine rows that the one above computes too.
    """
    if side < lanes * BAND_ROWS:
        return [(0, side)]
    rows = 8 * math.ceil(side / lanes / 8)
    return [(top, min(top + rows, side)) for top in range(0, side, rows)]


def encode(feature: Feature, step: Down, out: Tensor, margin: int) -> None:
    """The next feature into `out` (N, K, side + 2 margin, side)."""
    n, _, _, side = out.shape
    height = strip_height(2 * len(step.blur), 2 * side, out.element_size())
    for sample in range(n):
        for first in range(0, side, height):
            last = min(first + height, side)
            low = step.strip(feature.rows(sample, 2 * first - 2, 2 * last + 2))
            activate(low, out[sample : sample + 1, :, first + margin : last + margin])


@dataclass(frozen=True)
class Level:
    """One resolution of the generator for one sample.

    Attributes:
        x: (1, C, H + 2, W): the level below, with a row of zeros above and below.
        features: beside the first and the second convolution, (N, K, 2H, 2W).
        taller: factor of the strips' height where `same` is by Winograd's algorithm.
    """

    x: Tensor
    up: Up
    same: Same | ColumnsSame | WinogradSame
    features: tuple[Feature, Feature]
    rgb: RGB
    sample: int
    taller: int

    def run(self, picture: Tensor, out: Tensor | None, lanes: Lanes) -> None:
        """The RGB up to this resolution into `picture`, its activations into `out`.

        Args:
            picture: (1, 3, 2H, 2W), written.
            out: (1, 2K, 2H + 2, 2W), written but for its first and last row, or None.
            lanes: share the rows.
        """
        parts = bands(2 * self.x.shape[3], lanes.count)

        def work(rows: tuple[int, int], workspace: Workspace) -> None:
            self._band(*rows, len(parts), picture, out, workspace)

        lanes.each(work, parts)

    def _band(
        self,
        top: int,
        bottom: int,
        share: int,
        picture: Tensor,
        out: Tensor | None,
        workspace: Workspace,
    ) -> None:
        """Rows `top` to `bottom - 1`, in strips that fill one `share`-th of the cache."""
        side, k = 2 * self.x.shape[3], len(self.up.blur.bias)
        factor = 1 if isinstance(self.same, Same) else self.taller
        most = strip_height(2 * k, side, self.x.element_size(), factor / share)
        joined = workspace.nhwc("joined", 1, 2 * k, most + CARRY, side + 2, self.x).zero_()
        high = self.up.rows(self.x, top, most + CARRY, workspace)
        for first in range(top, bottom, most):
            height = min(most, bottom - first)
            self._fill(joined, high, first, height, carried=first > top)
            own = self.same.strip(joined[:, :, : height + 2], workspace)
            at, rgb = (self.sample, first, first + height), picture[:, :, first : first + height]
            if out is None:
                own = F.leaky_relu_(own, NEGATIVE_SLOPE)
                self.rgb.halves(own, self.same.beside.strip(self.features[1], at), first, rgb)
            else:
                target = out[:, :, first + 1 : first + 1 + height]
                activate(own, target[:, :k])
                self.same.beside.write(self.features[1], at, target[:, k:])
                self.rgb.strip(target, first, rgb)

    def _fill(
        self,
        joined: Tensor,
        high: Upsampled,
        first: int,
        height: int,
        carried: bool,
    ) -> None:
        """The first convolution's activations, rows `first - 1` to `first + height + 1`.

        Where `carried`, the first three are the last of the strip before.
        """
        side = joined.shape[3] - 2
        if carried:
            most = joined.shape[2] - CARRY
            joined[:, :, :CARRY] = joined[:, :, most:].clone()
        start = first + 2 if carried else max(first - 1, 0)
        last = min(first + height + 2, side)
        k = len(self.up.blur.bias)
        at = start - first + 1
        if last > start:
            target = joined[:, :, at : at + last - start, 1:-1]
            activate(high.rows(start, last), target[:, :k])
            self.up.beside.write(self.features[0], (self.sample, start, last), target[:, k:])
        joined[:, :, at + max(last - start, 0) :] = 0
