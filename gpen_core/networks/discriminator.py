"""Discriminators for training: StyleGAN2's, and PatchGANs at several scales.

`StyleDiscriminator` is the residual discriminator of Karras et al., *Analyzing and Improving the
Image Quality of StyleGAN*, 2020 (arXiv 1912.04958), with the key layout that the discriminators of
self-trained GPEN files have. `PatchDiscriminators` judge overlapping patches (Isola et al., 2017,
arXiv 1611.07004) of the picture at 64 px and every doubling up to its size (the scales of Wang et
al., 2018, arXiv 1711.11585), with equalized layers.
"""

from __future__ import annotations

import itertools
import math
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .fir import Blur
from .gpen import BASE, MIN_SIZE, GPENConfig
from .layers import EqualConv2d, EqualLinear, FusedLeakyReLU

STDDEV_GROUP = 4
_STDDEV_EPS = 1e-8
_HALF_POWER = math.sqrt(0.5)
_WIDEST_PATCH_FACTOR = 8


class PaddedConv2d(EqualConv2d):
    """Equalized convolution with zero padding that keeps H, W at stride 1."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel, stride)
        self.padding = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, stride=self.stride, padding=self.padding)


def _activated(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        PaddedConv2d(in_channels, out_channels, kernel), FusedLeakyReLU(out_channels)
    )


class ResidualDown(nn.Module):
    """(N, in, H, W) -> (N, out, H/2, W/2): two convolutions beside a 1x1 shortcut."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = _activated(in_channels, in_channels, 3)
        self.conv2 = nn.Sequential(
            Blur(pad=2),
            EqualConv2d(in_channels, out_channels, 3, stride=2),
            FusedLeakyReLU(out_channels),
        )
        self.skip = nn.Sequential(Blur(pad=1), EqualConv2d(in_channels, out_channels, 1, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        # Both branches have unit variance; the sum keeps it.
        return (self.conv2(self.conv1(x)) + self.skip(x)) * _HALF_POWER


class StyleDiscriminator(nn.Module):
    """StyleGAN2's discriminator for pictures of one size.

    Its widths are those of a generator's config, so that both sides are equally strong.

    Example:
        >>> judge = StyleDiscriminator(GPENConfig.create(64, narrow=0.0625))
        >>> logits, features = judge(torch.zeros(2, 3, 64, 64))
        >>> logits.shape
        torch.Size([2, 1])
    """

    def __init__(self, config: GPENConfig) -> None:
        super().__init__()
        sizes = config.resolutions[::-1]
        width = config.width(sizes[0])
        blocks: list[nn.Module] = [_activated(3, width, 1)]
        for size in sizes[1:]:
            blocks.append(ResidualDown(width, config.width(size)))
            width = config.width(size)
        self.size = config.out_size
        self.convs = nn.Sequential(*blocks)
        self.final_conv = _activated(width + 1, width, 3)
        self.final_linear = nn.Sequential(
            EqualLinear(width * BASE * BASE, width, activate=True), EqualLinear(width, 1)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Judge pictures.

        Args:
            x: (N, 3, size, size), RGB -1..1.

        Returns:
            Logits (N, 1), positive for "real", and the features after every block.
        """
        features = []
        for block in self.convs:
            x = block(x)
            features.append(x)
        x = self.final_conv(append_stddev(x))
        return self.final_linear(x.flatten(1)), features


def append_stddev(x: Tensor, group: int = STDDEV_GROUP) -> Tensor:
    """(N, C, H, W) -> (N, C + 1, H, W): how much the pictures of a group differ (Karras 2018).

    The pictures `i, i + N/g, i + 2N/g, ...` form a group of `g`, the largest divisor of N up to
    `group`; the standard deviation over the group, averaged over C, H and W, is the new channel.
    """
    n, _, height, width = x.shape
    members = max(size for size in range(1, min(group, n) + 1) if n % size == 0)
    grouped = x.float().view(members, n // members, *x.shape[1:])
    deviation = (grouped.var(dim=0, unbiased=False) + _STDDEV_EPS).sqrt().mean(dim=(1, 2, 3))
    channel = deviation.repeat(members).view(n, 1, 1, 1).expand(n, 1, height, width)
    return torch.cat((x, channel.to(x.dtype)), dim=1)


class PatchDiscriminator(nn.Module):
    """(N, C, S, S) -> a map of logits (N, 1, S/2^layers, S/2^layers), one for every patch.

    Args:
        width: channels after the first layer.
        layers: halvings.
        channels: C.
    """

    def __init__(self, width: int, layers: int, channels: int = 3) -> None:
        super().__init__()
        widths = [width * min(2**index, _WIDEST_PATCH_FACTOR) for index in range(layers + 1)]
        self.first = _activated(channels, width, 3)
        self.down = nn.ModuleList(
            nn.Sequential(
                Blur(pad=2), EqualConv2d(before, after, 3, stride=2), FusedLeakyReLU(after)
            )
            for before, after in itertools.pairwise(widths)
        )
        self.last = PaddedConv2d(widths[-1], 1, 3)
        self.bias = nn.Parameter(torch.zeros(1, 1, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits and the features after every block."""
        x = self.first(x)
        features = [x]
        for block in self.down:
            x = block(x)
            features.append(x)
        return self.last(x) + self.bias.to(x.dtype), features


class PatchDiscriminators(nn.Module):
    """One PatchGAN for each scale 64, 128, ... `size`, each on the picture shrunk to its scale.

    Raises:
        InputError: `size` is no power of two from 64 on.

    Example:
        >>> judges = PatchDiscriminators(128, width=4)
        >>> [logits.shape[-1] for logits, _ in judges(torch.zeros(1, 3, 128, 128))]
        [8, 16]
    """

    def __init__(self, size: int, width: int = 64, layers: int = 3) -> None:
        super().__init__()
        if size < MIN_SIZE or size & (size - 1):
            raise InputError(
                f"Patch discriminators need a power of two from {MIN_SIZE}, not {size}."
            )
        self.size = size
        self.scales = [MIN_SIZE << step for step in range((size // MIN_SIZE).bit_length())]
        self.nets = nn.ModuleDict(
            {str(scale): PatchDiscriminator(width, layers) for scale in self.scales}
        )

    def forward(self, x: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
        """(N, 3, size, size), RGB -1..1 -> (logits, features) of every scale, ascending."""
        return [self.nets[str(scale)](_shrink(x, scale)) for scale in self.scales]


class RegionDiscriminators(nn.Module):
    """A small PatchGAN for the eyes and one for the mouth, each seeing its own square.

    Wang et al., *Towards Real-World Blind Face Restoration with Generative Facial Prior*, 2021
    (arXiv 2101.04061), judge eyes and mouth apart; here both eyes lie on one another, so that one
    judge sees whether they match. Four halvings, so that a logit sees its whole square.

    Args:
        width: channels after the first layer.

    Example:
        >>> logits, _ = RegionDiscriminators(4)("mouth", torch.zeros(2, 3, 80, 80))
        >>> logits.shape
        torch.Size([2, 1, 5, 5])
    """

    LAYERS = 4
    CHANNELS = MappingProxyType({"eyes": 6, "mouth": 3})

    def __init__(self, width: int) -> None:
        super().__init__()
        self.nets = nn.ModuleDict(
            {
                name: PatchDiscriminator(width, self.LAYERS, channels)
                for name, channels in self.CHANNELS.items()
            }
        )

    def forward(self, name: str, squares: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits and features of a region cut out of faces by `dataset.regions.squares`."""
        return self.nets[name](squares.contiguous(memory_format=torch.channels_last))


def _shrink(x: Tensor, side: int) -> Tensor:
    """The mean of whole squares of pixels: exact for powers of two, and differentiable twice."""
    factor = x.shape[-1] // side
    return x if factor == 1 else F.avg_pool2d(x, factor)
