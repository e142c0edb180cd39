"""GPEN v2.0: a ResNet's 512-d code, mapped to a StyleGAN2 latent that modulates every block.

Known from a description only (docs/checkpoint-formats.md gives the key layout taken here): nothing
but the latent passes from the encoder to the generator, up-sampling is nearest neighbour followed
by a 3x3 convolution, and batch norm is folded away. Modulation and demodulation are StyleGAN2's
(Karras et al., 2020, section 2.2), applied to the activations as in `layers`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError, InputError
from .layers import DEMODULATION_EPS, NEGATIVE_SLOPE, fused_leaky_relu

_STAGES = 4
_EXPANSION = 4
_DEFAULT_ENCODER_INPUT = 256
_STEM_BIAS = "encoder.conv1.bias"


@dataclass(frozen=True)
class GPENv2Config:
    """Everything that shapes a GPEN v2.0 network; all but `in_size` is read from shapes.

    Attributes:
        in_size: side of the encoder's input in pixels, from the file's arguments.
        out_size: side of the output, the generator's last block.
        stages: bottleneck blocks in each of the ResNet's four stages ((3, 4, 6, 3) for ResNet-50).
        stem: channels of the ResNet's first convolution.
        conv_bias: whether the encoder's convolutions have biases (folded batch norms).
        latent: length of code and latent.
        norms: LayerNorms in the mapper, 0, 1 or 2.
        base: side of the learned constant.
        widths: channels of the constant and of every block, `base`, 2 `base`, ... `out_size`.
    """

    in_size: int
    out_size: int
    stages: tuple[int, ...]
    stem: int
    conv_bias: bool
    latent: int
    norms: int
    base: int
    widths: tuple[int, ...]

    @classmethod
    def from_state_dict(
        cls, state: Mapping[str, Tensor], args: Mapping[str, Any] | None = None
    ) -> GPENv2Config:
        """Sizes from shapes; `args` gives the input resolution and is checked for the output's.

        Raises:
            CheckpointError: a key is missing or has another shape than the rest implies.
        """
        config = _infer(state, args or {})
        _check(state, config)
        return config


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a shortcut: (N, in, H, W) -> (N, 4 width, H/stride, W/stride)."""

    def __init__(self, in_channels: int, width: int, stride: int, bias: bool) -> None:
        super().__init__()
        out = _EXPANSION * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=bias)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=bias)
        self.conv3 = nn.Conv2d(width, out, 1, bias=bias)
        if stride != 1 or in_channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(in_channels, out, 1, stride, bias=bias))
        else:
            self.downsample = nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))
        return F.relu(y + self.downsample(x))


class ResNetEncoder(nn.Module):
    """(N, 3, in, in) -> (N, latent)."""

    def __init__(self, config: GPENv2Config) -> None:
        super().__init__()
        bias = config.conv_bias
        self.conv1 = nn.Conv2d(3, config.stem, 7, 2, 3, bias=bias)
        channels = config.stem
        for stage, blocks in enumerate(config.stages):
            width = config.stem << stage
            layers = []
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(Bottleneck(channels, width, stride, bias))
                channels = _EXPANSION * width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(channels, config.latent)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 3, 2, 1)
        for stage in range(_STAGES):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return self.fc(x.mean(dim=(2, 3)))


class Mapper(nn.Module):
    """Code to latent W: two linear layers, each with an optional LayerNorm and a leaky ReLU."""

    def __init__(self, latent: int, norms: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(latent, latent)
        self.norm1 = nn.LayerNorm(latent) if norms > 0 else nn.Identity()
        self.fc2 = nn.Linear(latent, latent)
        self.norm2 = nn.LayerNorm(latent) if norms > 1 else nn.Identity()

    def forward(self, code: Tensor) -> Tensor:
        hidden = F.leaky_relu(self.norm1(self.fc1(code)), NEGATIVE_SLOPE)
        return F.leaky_relu(self.norm2(self.fc2(hidden)), NEGATIVE_SLOPE)


class ModulatedConv(nn.Module):
    """Convolution modulated by the latent: (N, in, H, W) -> (N, out, H, W)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, latent: int, demodulate: bool
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.affine = nn.Linear(latent, in_channels)
        self.demodulate = demodulate

    def forward(self, x: Tensor, latent: Tensor) -> Tensor:
        style = self.affine(latent)
        y = F.conv2d(x * style[:, :, None, None], self.weight, padding=self.weight.shape[-1] // 2)
        if self.demodulate:
            # In float32: squares of fp16 numbers overflow.
            energy = self.weight.float().square().sum(dim=(2, 3))
            norm = torch.rsqrt(style.float().square() @ energy.T + DEMODULATION_EPS)
            y = y * norm[:, :, None, None].to(y.dtype)
        return y


class Block(nn.Module):
    """One resolution: (up,) convolution(s), and what it adds to the picture."""

    def __init__(self, in_channels: int, out_channels: int, latent: int, first: bool) -> None:
        super().__init__()
        if not first:
            self.conv0 = ModulatedConv(in_channels, out_channels, 3, latent, demodulate=True)
        self.conv1 = ModulatedConv(out_channels, out_channels, 3, latent, demodulate=True)
        self.to_rgb = ModulatedConv(out_channels, 3, 1, latent, demodulate=False)
        self.first = first

    def forward(self, x: Tensor, rgb: Tensor | None, latent: Tensor) -> tuple[Tensor, Tensor]:
        if not self.first:
            x = _activate(self.conv0, F.interpolate(x, scale_factor=2, mode="nearest"), latent)
        x = _activate(self.conv1, x, latent)
        added = self.to_rgb(x, latent) + self.to_rgb.bias[:, None, None]
        if rgb is not None:
            added = added + F.interpolate(rgb, scale_factor=2, mode="nearest")
        return x, added


def _activate(conv: ModulatedConv, x: Tensor, latent: Tensor) -> Tensor:
    return fused_leaky_relu(conv(x, latent), conv.bias[:, None, None])


class Synthesis(nn.Module):
    """Latent (N, latent) -> (N, 3, out, out)."""

    def __init__(self, config: GPENv2Config) -> None:
        super().__init__()
        widths = config.widths
        self.const = nn.Parameter(torch.randn(1, widths[0], config.base, config.base))
        inputs = (widths[0], *widths[:-1])
        self.blocks = nn.ModuleList(
            Block(below, width, config.latent, first=index == 0)
            for index, (below, width) in enumerate(zip(inputs, widths, strict=True))
        )

    def forward(self, latent: Tensor) -> Tensor:
        x, rgb = self.const.expand(len(latent), -1, -1, -1), None
        for block in self.blocks:
            x, rgb = block(x, rgb, latent)
        assert rgb is not None
        return rgb


class GPENv2(nn.Module):
    """GPEN v2.0: (N, 3, in, in) RGB -1..1 -> (N, 3, out, out) RGB, about -1..1."""

    def __init__(self, config: GPENv2Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = ResNetEncoder(config)
        self.mapper = Mapper(config.latent, config.norms)
        self.generator = Synthesis(config)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Restore aligned faces; `generator` is not used, this network has no noise.

        Raises:
            InputError: `x` has another shape.
        """
        size = self.config.in_size
        if x.ndim != 4 or tuple(x.shape[1:]) != (3, size, size):
            raise InputError(
                f"This GPEN takes (N, 3, {size}, {size}) pictures, not {tuple(x.shape)}; "
                f"resize the aligned faces to {size} px."
            )
        return self.generator(self.mapper(self.encoder(x)))


def _infer(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> GPENv2Config:
    stages = tuple(
        len({m[1] for key in state if (m := re.match(rf"encoder\.layer{stage}\.(\d+)\.", key))})
        for stage in range(1, _STAGES + 1)
    )
    const = _tensor(state, "generator.const", 4)
    blocks = len({m[1] for key in state if (m := re.match(r"generator\.blocks\.(\d+)\.", key))})
    widths = tuple(
        int(_tensor(state, f"generator.blocks.{index}.conv1.weight", 4).shape[0])
        for index in range(blocks)
    )
    if not blocks or 0 in stages:
        raise CheckpointError("This GPEN v2.0 file is incomplete: whole stages are missing.")
    base = int(const.shape[-1])
    out_size = base << (blocks - 1)
    stated = args.get("output_resolution", out_size)
    if int(stated) != out_size:
        raise CheckpointError(
            f"This GPEN v2.0 file states output_resolution {stated}, but its generator makes "
            f"{out_size} px."
        )
    return GPENv2Config(
        in_size=int(args.get("input_resolution", _DEFAULT_ENCODER_INPUT)),
        out_size=out_size,
        stages=stages,
        stem=int(_tensor(state, "encoder.conv1.weight", 4).shape[0]),
        conv_bias=_STEM_BIAS in state,
        latent=int(_tensor(state, "encoder.fc.weight", 2).shape[0]),
        norms=sum(f"mapper.norm{index}.weight" in state for index in (1, 2)),
        base=base,
        widths=widths,
    )


def _tensor(state: Mapping[str, Tensor], key: str, ndim: int) -> Tensor:
    if key not in state:
        raise CheckpointError(f"This GPEN v2.0 file is incomplete: key {key!r} is missing.")
    if state[key].ndim != ndim:
        raise CheckpointError(
            f"GPEN v2.0 key {key!r} must have {ndim} dimensions; "
            f"found the shape {tuple(state[key].shape)}."
        )
    return state[key]


def _check(state: Mapping[str, Tensor], config: GPENv2Config) -> None:
    with torch.device("meta"):
        expected = GPENv2(config).state_dict()
    for key in expected.keys() | state.keys():
        if key not in state:
            raise CheckpointError(f"This GPEN v2.0 file is incomplete: key {key!r} is missing.")
        if key not in expected:
            raise CheckpointError(f"This GPEN v2.0 file has an unknown key {key!r}.")
        if state[key].shape != expected[key].shape:
            raise CheckpointError(
                f"GPEN v2.0 key {key!r} has the wrong shape: expected "
                f"{tuple(expected[key].shape)}, found {tuple(state[key].shape)}."
            )
