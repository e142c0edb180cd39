"""The equalized and modulated layers of StyleGAN2, with shared weights.

Weights are stored with unit variance and multiplied by `1/sqrt(fan_in)` at run time (Karras et
al., *Progressive Growing of GANs*, 2018). Modulation follows StyleGAN2, section 2.2, but moves the
style from the weights to the activations: convolving with `w * s` is convolving `x * s` with `w`,
so that one convolution serves the whole batch, and the demodulation is a small matrix product of
squared styles with squared weights.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .fir import Blur, Upsample

DEMODULATION_EPS = 1e-8
PIXEL_NORM_EPS = 1e-8
NEGATIVE_SLOPE = 0.2
GAIN = math.sqrt(2.0)


def check_pictures(x: Tensor, size: int) -> None:
    """Refuse what is not (N, 3, size, size).

    Raises:
        InputError: `x` has another shape.
    """
    if x.ndim != 4 or tuple(x.shape[1:]) != (3, size, size):
        raise InputError(
            f"This GPEN takes (N, 3, {size}, {size}) pictures, not {tuple(x.shape)}; "
            f"resize the aligned faces to {size} px."
        )


def normal(*shape: int, std: float = 1.0) -> Tensor:
    """N(0, std²) of this shape; on the `meta` device just the shape.

    There a draw would import PyTorch's compiler first, a second at every start.
    """
    values = torch.empty(shape)
    return values if values.is_meta else values.normal_(std=std)


def fused_leaky_relu(x: Tensor, bias: Tensor) -> Tensor:
    """`sqrt(2) * leaky_relu(x + bias, 0.2)`, shape kept; `bias` broadcasts against `x`."""
    return F.leaky_relu(x + bias.to(x.dtype), NEGATIVE_SLOPE) * GAIN


class PixelNorm(nn.Module):
    """(N, C) -> (N, C) with a mean square of 1 per row."""

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()  # squares overflow half precision
        normed = wide * torch.rsqrt(wide.square().mean(dim=1, keepdim=True) + PIXEL_NORM_EPS)
        return normed.to(x.dtype)


class FusedLeakyReLU(nn.Module):
    """Bias, leaky ReLU and gain over (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return fused_leaky_relu(x, self.bias.view(1, -1, 1, 1))


class EqualLinear(nn.Module):
    """Equalized linear layer (N, in) -> (N, out), with a fused leaky ReLU where `activate`.

    Example:
        >>> EqualLinear(8, 4, activate=True)(torch.zeros(2, 8)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias_init: float = 0.0,
        lr_mul: float = 1.0,
        activate: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(normal(out_features, in_features, std=1 / lr_mul))
        self.bias = nn.Parameter(torch.full((out_features,), bias_init))
        self.scale = lr_mul / math.sqrt(in_features)
        self.lr_mul = lr_mul
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x * self.scale, self.weight)
        bias = self.bias * self.lr_mul
        return fused_leaky_relu(y, bias) if self.activate else y + bias.to(y.dtype)


class EqualConv2d(nn.Module):
    """Equalized convolution without bias, (N, in, H, W) -> (N, out, H', W').

    Example:
        >>> EqualConv2d(3, 8, kernel=3, stride=2)(torch.zeros(1, 3, 9, 9)).shape
        torch.Size([1, 8, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(normal(out_channels, in_channels, kernel, kernel))
        self.scale = 1.0 / math.sqrt(in_channels * kernel * kernel)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, stride=self.stride)


class ModulatedConv2d(nn.Module):
    """Convolution modulated by a style: (N, in, H, W), (N, style) -> (N, out, H', W').

    With `upsample`, H' = 2H: a stride-2 transposed convolution, then the blur.

    Example:
        >>> convolution = ModulatedConv2d(4, 8, kernel=3, style_dim=16, upsample=True)
        >>> convolution(torch.zeros(2, 4, 8, 8), torch.zeros(2, 16)).shape
        torch.Size([2, 8, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        style_dim: int,
        *,
        demodulate: bool = True,
        upsample: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(normal(1, out_channels, in_channels, kernel, kernel))
        if upsample:
            self.blur = Blur(pad=1, gain=4.0)
        self.modulation = EqualLinear(style_dim, in_channels, bias_init=1.0)
        self.scale = 1.0 / math.sqrt(in_channels * kernel * kernel)
        self.padding = kernel // 2
        self.demodulate = demodulate
        self.upsample = upsample

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        # The equalizing scale rides on the (N, in) style, so the weights are used as they are.
        style = self.modulation(style) * self.scale
        y = self._convolve(x * style[:, :, None, None].to(x.dtype))
        if self.demodulate:
            y = y * self.demodulation(style)[:, :, None, None].to(y.dtype)
        return self.blur(y) if self.upsample else y

    def demodulation(self, style: Tensor) -> Tensor:
        """1 / the norm of each modulated filter, (N, out) float, from the scaled style (N, in)."""
        energy = self.weight[0].float().square().sum(dim=(2, 3))
        return torch.rsqrt(F.linear(style.float().square(), energy).float() + DEMODULATION_EPS)

    def _convolve(self, x: Tensor) -> Tensor:
        weight = self.weight[0]
        if self.upsample:
            return F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        return F.conv2d(x, weight, padding=self.padding)


class FeatureConcat(nn.Module):
    """Appends the encoder's feature, times a learned scalar: (N, C, H, W) twice -> (N, 2C, H, W).

    The published state dicts call this layer `noise`: it stands where StyleGAN2 adds its noise.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        scaled = (feature * self.weight.to(feature.dtype)).to(x.dtype)
        return torch.cat((x, scaled.expand(x.shape[0], -1, -1, -1)), dim=1)


class StyledConv(nn.Module):
    """Modulated 3x3 convolution, encoder feature appended, activated: -> (N, 2 out, H', W').

    Example:
        >>> layer = StyledConv(4, 8, style_dim=16)
        >>> layer(torch.zeros(2, 4, 8, 8), torch.zeros(2, 16), torch.zeros(2, 8, 8, 8)).shape
        torch.Size([2, 16, 8, 8])
    """

    def __init__(
        self, in_channels: int, out_channels: int, style_dim: int, *, upsample: bool = False
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(in_channels, out_channels, 3, style_dim, upsample=upsample)
        self.noise = FeatureConcat()
        self.activate = FusedLeakyReLU(2 * out_channels)

    def forward(self, x: Tensor, style: Tensor, feature: Tensor) -> Tensor:
        return self.activate(self.noise(self.conv(x, style), feature))


class ToRGB(nn.Module):
    """(N, C, H, W) -> (N, 3, H, W), added to the upsampled RGB of the resolution below.

    Example:
        >>> layer = ToRGB(8, style_dim=16)
        >>> layer(torch.zeros(2, 8, 8, 8), torch.zeros(2, 16), torch.zeros(2, 3, 4, 4)).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(self, in_channels: int, style_dim: int, *, upsample: bool = True) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        if upsample:
            self.upsample = Upsample()
        self.conv = ModulatedConv2d(in_channels, 3, 1, style_dim, demodulate=False)

    def forward(self, x: Tensor, style: Tensor, skip: Tensor | None = None) -> Tensor:
        rgb = self.conv(x, style) + self.bias.to(x.dtype)
        return rgb if skip is None else rgb + self.upsample(skip)
