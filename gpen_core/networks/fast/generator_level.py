"""One resolution of the generator in strips of rows, so that what is made is still in the cache.

Upsampling convolution -> activation -> 3x3 convolution -> activation -> RGB. Between the two
convolutions a strip keeps the last three rows of its predecessor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers import NEGATIVE_SLOPE
from .encoder_features import Feature, RowRange
from .lanes import Lanes
from .strips import activate, bands, strip_height
from .upsampling import Carry, Upsampling
from .workspace import Workspace

# Rows of the predecessor's activations that a strip needs: one above, two computed ahead.
CARRIED_ROWS = 3


class Convolution(Protocol):
    """The second convolution, without padding of its own and without activation."""

    def rows(self, padded: Tensor, workspace: Workspace) -> Tensor:
        """(1, 2K, h + 2, W + 2) -> (1, K, h, W), which may live in the workspace."""


@dataclass(frozen=True)
class DirectConvolution:
    """PyTorch's own, the reference of the others: `weight` (K, 2K, 3, 3), modulated, `bias`."""

    weight: Tensor
    bias: Tensor

    def rows(self, padded: Tensor, workspace: Workspace) -> Tensor:
        return F.conv2d(padded, self.weight, self.bias)


@dataclass(frozen=True)
class FeatureHalf:
    """An encoder feature as the second half of the activations.

    Attributes:
        feature: (N, K, r, r).
        gain: its learned scalar times the activation's gain.
        bias: (r K,): that of the channels, repeated for a whole row.
    """

    feature: Feature
    gain: float
    bias: Tensor

    def write(self, at: RowRange, out: Tensor) -> None:
        """`out` (1, K, h, r) = leaky_relu(rows * gain + bias)."""
        rows = self.feature.rows(at)
        if self.feature.fresh:
            # In place, whole rows at once: what repeats after few channels only is slow.
            flat = rows[0].permute(1, 2, 0).flatten(1)
            torch.add(self.bias, flat, alpha=self.gain, out=flat)
            activate(rows, out)
        else:
            activate(torch.add(self._channel_bias(out), rows, alpha=self.gain, out=out), out)

    def write_reference(self, at: RowRange, out: Tensor) -> None:
        """What `write` writes."""
        rows = self.feature.rows(at) * self.gain + self._channel_bias(out)
        out.copy_(F.leaky_relu(rows, NEGATIVE_SLOPE))

    def _channel_bias(self, out: Tensor) -> Tensor:
        return self.bias[: out.shape[1]].view(1, -1, 1, 1)


@dataclass(frozen=True)
class RGBRows:
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

    def write(self, x: Tensor, first: int, out: Tensor) -> None:
        """Activations (1, 2K, h, 2W), `first` the first of their rows -> `out` (1, 3, h, 2W)."""
        rgb = F.linear(x.permute(0, 2, 3, 1), self.weight, self.bias).permute(0, 3, 1, 2)
        rows = self.below[:, :, first // 2 : (first + out.shape[2]) // 2 + 2]
        upsampled = F.conv_transpose2d(rows, self.kernel, stride=2, padding=(3, 1), groups=3)
        torch.add(rgb, upsampled, out=out)

    def write_reference(self, x: Tensor, first: int, out: Tensor) -> None:
        """What `write` writes, upsampling the whole picture; `x` and `out` start at even rows."""
        whole = F.conv_transpose2d(
            self.below[:, :, 1:-1], self.kernel, stride=2, padding=1, groups=3
        )
        rgb = F.conv2d(x, self.weight[:, :, None, None], self.bias)
        out.copy_(rgb + whole[:, :, first : first + out.shape[2]])


@dataclass(frozen=True)
class GeneratorLevel:
    """One resolution for one sample; its reference is the same level whole, in `network.py`.

    Attributes:
        x: (1, C, H + 2, W): the activations below, with a row of zeros above and below.
        upsampling: the first convolution, to (1, K, 2H, 2W).
        convolution: the second, from 2K to K channels.
        halves: the encoder's feature after the first and after the second convolution.
        rgb: the step to RGB.
        sample: which one of the batch.
        strip_bytes: of the activations of a strip, shared by the lanes.
    """

    x: Tensor
    upsampling: Upsampling
    convolution: Convolution
    halves: tuple[FeatureHalf, FeatureHalf]
    rgb: RGBRows
    sample: int
    strip_bytes: int

    def run(self, picture: Tensor, out: Tensor | None, lanes: Lanes, band_rows: int) -> None:
        """The RGB up to this resolution into `picture`, its activations into `out`.

        Args:
            picture: (1, 3, 2H, 2W), written.
            out: (1, 2K, 2H + 2, 2W), written but for its first and last row, or None.
            lanes: share the rows.
            band_rows: of a lane at least.
        """
        parts = bands(2 * self.x.shape[3], lanes.count, band_rows)
        strip_bytes = self.strip_bytes / len(parts)

        def work(rows: tuple[int, int], workspace: Workspace) -> None:
            self._band(rows, strip_bytes, picture, out, workspace)

        lanes.each(work, parts)

    def _band(
        self,
        rows: tuple[int, int],
        strip_bytes: float,
        picture: Tensor,
        out: Tensor | None,
        workspace: Workspace,
    ) -> None:
        """Rows `rows[0]` to `rows[1] - 1`, in strips."""
        (top, bottom), side, k = rows, 2 * self.x.shape[3], len(self.upsampling.bias)
        most = strip_height(2 * k * side * self.x.element_size(), side, strip_bytes)
        joined = workspace.nhwc("joined", (1, 2 * k, most + CARRIED_ROWS, side + 2), self.x).zero_()
        carry: Carry | None = None
        for first in range(top, bottom, most):
            height = min(most, bottom - first)
            carry = self._fill(joined, first, height, carry)
            own = self.convolution.rows(joined[:, :, : height + 2], workspace)
            if out is None:
                target = workspace.nhwc("last", (1, 2 * k, height, side), self.x)
            else:
                target = out[:, :, first + 1 : first + 1 + height]
            activate(own, target[:, :k])
            at = RowRange(self.sample, first, first + height)
            self.halves[1].write(at, target[:, k:])
            self.rgb.write(target, first, picture[:, :, first : first + height])

    def _fill(self, joined: Tensor, first: int, height: int, carry: Carry | None) -> Carry | None:
        """The first convolution's activations, rows `first - 1` to `first + height + 1`.

        With a carry, that of the strip before, the first three are its last.
        """
        side, k = joined.shape[3] - 2, len(self.upsampling.bias)
        if carry is not None:
            most = joined.shape[2] - CARRIED_ROWS
            joined[:, :, :CARRIED_ROWS] = joined[:, :, most:].clone()
        start = max(first - 1, 0) if carry is None else first + 2
        last = min(first + height + 2, side)
        at = start - first + 1
        if last > start:
            target = joined[:, :, at : at + last - start, 1:-1]
            rows, carry = self.upsampling.rows(self.x, start, last, carry)
            activate(rows, target[:, :k])
            self.halves[0].write(RowRange(self.sample, start, last), target[:, k:])
        joined[:, :, at + max(last - start, 0) :] = 0
        return carry
