"""GPEN v1: a strided encoder feeding a StyleGAN2 generator (Yang et al., CVPR 2021).

Module names give the state-dict keys of the published checkpoints, in their order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, InputError
from .fir import Blur
from .layers import (
    EqualConv2d,
    EqualLinear,
    FusedLeakyReLU,
    PixelNorm,
    StyledConv,
    ToRGB,
    check_pictures,
    normal,
)

MIN_SIZE, MAX_SIZE = 64, 2048
# Far beyond any published network; a file's numbers are held against them before one is built.
MAX_WIDTH, MAX_MLP = 8192, 64
BASE = 4
STYLE_LR_MUL = 0.01
_FULL_WIDTH = 512
# Channels at resolution r >= 64 are (16384 / r) * multiplier * narrow.
_FALLING_WIDTH = 16384


@dataclass(frozen=True)
class GPENConfig:
    """Everything that shapes a GPEN v1 network.

    Attributes:
        in_size: side of the input in pixels, a power of two.
        out_size: side of the output in pixels, `>= in_size`; larger means the SR form.
        channels: (resolution, channels) from 4 to `out_size`, ascending. A table rather than a
            formula, so that any published or home-made width is described exactly.
        style_dim: length of the latent.
        n_mlp: linear layers between the encoder's latent and the style.

    Example:
        >>> config = GPENConfig.create(512)
        >>> config.width(4), config.width(512), config.is_sr
        (512, 64, False)
    """

    in_size: int
    out_size: int
    channels: tuple[tuple[int, int], ...]
    style_dim: int = 512
    n_mlp: int = 8

    def __post_init__(self) -> None:
        for name, size in (("in_size", self.in_size), ("out_size", self.out_size)):
            if not (MIN_SIZE <= size <= MAX_SIZE) or size & (size - 1):
                raise InputError(
                    f"GPEN {name} must be a power of two from {MIN_SIZE} to {MAX_SIZE}, not {size}."
                )
        if self.in_size > self.out_size:
            raise InputError(
                f"GPEN cannot shrink: in_size {self.in_size} is above out_size {self.out_size}."
            )
        if [resolution for resolution, _ in self.channels] != self.resolutions:
            raise InputError(
                f"GPEN channels must be given for {self.resolutions}, not for "
                f"{[resolution for resolution, _ in self.channels]}."
            )

        widths = [width for _, width in self.channels]
        if not all(1 <= width <= MAX_WIDTH for width in (*widths, self.style_dim)):
            raise InputError(
                f"GPEN channels and style_dim must be from 1 to {MAX_WIDTH}, not {widths} and "
                f"{self.style_dim}."
            )
        if not 0 <= self.n_mlp <= MAX_MLP:
            raise InputError(f"GPEN n_mlp must be from 0 to {MAX_MLP}, not {self.n_mlp}.")

    @property
    def resolutions(self) -> list[int]:
        """4, 8, ... `out_size`."""
        return _resolutions(self.out_size)

    @property
    def is_sr(self) -> bool:
        """Whether the output is larger than the input."""
        return self.out_size > self.in_size

    @property
    def narrow(self) -> float:
        """The width relative to 512 channels at 4x4; descriptive."""
        return self.width(BASE) / _FULL_WIDTH

    @property
    def multiplier(self) -> float:
        """The official `channel_multiplier` that this width at 64x64 belongs to; descriptive."""
        return self.width(64) * 64 / (_FALLING_WIDTH * self.narrow)

    def width(self, resolution: int) -> int:
        """Channels at `resolution`."""
        return dict(self.channels)[resolution]

    @classmethod
    def create(
        cls,
        size: int,
        narrow: float = 1.0,
        channel_multiplier: float = 2,
        in_size: int | None = None,
    ) -> GPENConfig:
        """The official widths: `512 narrow` up to 32 px, then `16384 / r * multiplier * narrow`.

        Args:
            size: output side in pixels.
            in_size: input side, `size` unless given.

        Raises:
            InputError: a size is no power of two from 64 to 2048, or `narrow` leaves no channel.
        """
        table = tuple(
            (
                resolution,
                int(_FULL_WIDTH * narrow)
                if resolution < 64
                else int(_FALLING_WIDTH // resolution * channel_multiplier * narrow),
            )
            for resolution in _resolutions(size)
        )
        if any(width < 1 for _, width in table):
            raise InputError(f"GPEN narrow {narrow} leaves a layer without channels at {size} px.")
        return cls(in_size=in_size or size, out_size=size, channels=table)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> GPENConfig:
        """Sizes and widths from the keys and shapes of an unwrapped GPEN v1 state dict.

        Raises:
            CheckpointError: a key is missing, unknown or of the wrong shape; the text names it,
                with the shape expected and found.
        """
        config = _infer(state)
        _check_shapes(state, config)
        return config


class Encoder(nn.Sequential):
    """One step of the encoder, (N, in, H, W) -> (N, out, H/2, W/2); the first keeps H, W."""

    def __init__(self, in_channels: int, out_channels: int, *, first: bool = False) -> None:
        if first:
            layers: list[nn.Module] = [EqualConv2d(in_channels, out_channels, 1)]
        else:
            layers = [Blur(pad=2), EqualConv2d(in_channels, out_channels, 3, stride=2)]
        # Nested once more because the published keys read `ecd1.0.1.weight`.
        super().__init__(nn.Sequential(*layers, FusedLeakyReLU(out_channels)))


class ConstantInput(nn.Module):
    """The learned 4x4 start of the generator."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(normal(1, channels, BASE, BASE))

    def forward(self, batch: int) -> Tensor:
        return self.input.expand(batch, -1, -1, -1)


class Generator(nn.Module):
    """StyleGAN2 with an encoder feature appended after every convolution."""

    def __init__(self, config: GPENConfig) -> None:
        super().__init__()
        dim = config.style_dim
        mapping = [
            EqualLinear(dim, dim, lr_mul=STYLE_LR_MUL, activate=True) for _ in range(config.n_mlp)
        ]
        width = config.width(BASE)
        self.style = nn.Sequential(PixelNorm(), *mapping)
        self.input = ConstantInput(width)
        self.conv1 = StyledConv(width, width, dim)
        self.to_rgb1 = ToRGB(2 * width, dim, upsample=False)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for resolution in config.resolutions[1:]:
            below, width = width, config.width(resolution)
            self.convs.append(StyledConv(2 * below, width, dim, upsample=True))
            self.convs.append(StyledConv(2 * width, width, dim))
            self.to_rgbs.append(ToRGB(2 * width, dim))

    def forward(self, code: Tensor, features: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Latent (N, style_dim) and features -> (N, 3, out, out).

        Args:
            features: per resolution, ascending, the (N or 1, C, r, r) maps appended after its
                first and its second convolution (at 4x4 there is only one).
        """
        style = self.style(code)
        x = self.conv1(self.input(len(code)), style, features[0][0])
        rgb = self.to_rgb1(x, style)
        for level, to_rgb in enumerate(self.to_rgbs):
            first, second = features[level + 1]
            x = self.convs[2 * level](x, style, first)
            x = self.convs[2 * level + 1](x, style, second)
            rgb = to_rgb(x, style, rgb)
        return rgb


class GPEN(nn.Module):
    """GPEN v1 for any power of two from 64 to 2048; its SR form where the output is larger.

    Example:
        >>> network = GPEN(GPENConfig.create(64, narrow=0.0625))
        >>> network(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 3, 64, 64])
    """

    def __init__(self, config: GPENConfig) -> None:
        super().__init__()
        self.config = config
        self.generator = Generator(config)
        sizes = [size for size in reversed(config.resolutions) if size <= config.in_size]
        width = 3
        for index, size in enumerate(sizes):
            step = Encoder(width, config.width(size), first=index == 0)
            width = config.width(size)
            self.add_module(f"ecd{index}", step)
        self.depth = len(sizes)
        self.final_linear = nn.Sequential(
            EqualLinear(width * BASE * BASE, config.style_dim, activate=True)
        )

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Restore aligned faces.

        Args:
            x: (N, 3, in, in), RGB -1..1.
            generator: source of the SR form's noise; without one a fresh CPU generator with seed
                0, so that a run can be repeated. Unused where the sizes are equal.

        Returns:
            (N, 3, out, out), RGB, about -1..1 (not clamped).

        Raises:
            InputError: `x` has another shape.
        """
        check_pictures(x, self.config.in_size)
        # Depthwise and strided convolutions are several times slower in NCHW on a CPU.
        encoded = self.encode(x.contiguous(memory_format=torch.channels_last))
        code = self.final_linear(encoded[0].flatten(1))
        features = [(feature, feature) for feature in encoded]
        features += self.noise(generator, encoded[0])
        return self.generator(code, features)

    def encode(self, x: Tensor) -> list[Tensor]:
        """(N, 3, in, in) -> the features (N, C, r, r) for r = 4, 8, ... in."""
        features = []
        for index in range(self.depth):
            x = self.get_submodule(f"ecd{index}")(x)
            features.append(x)
        return features[::-1]

    def noise(self, generator: torch.Generator | None, like: Tensor) -> list[tuple[Tensor, Tensor]]:
        """N(0, 1) maps (1, C, r, r) for the resolutions above `in_size`, two for each.

        One draw serves the whole batch: a face alone gives what it gives among others. Drawn in
        float32 and moved to the device and type of `like`.
        """
        if generator is None:
            generator = torch.Generator().manual_seed(0)

        def draw(resolution: int) -> Tensor:
            shape = (1, self.config.width(resolution), resolution, resolution)
            noise = torch.randn(shape, generator=generator, device=generator.device)
            return noise.to(like)

        above = [size for size in self.config.resolutions if size > self.config.in_size]
        return [(draw(size), draw(size)) for size in above]


def _resolutions(size: int) -> list[int]:
    return [1 << power for power in range(2, size.bit_length())]


def _infer(state: Mapping[str, Tensor]) -> GPENConfig:
    """Sizes and widths, from counts of layers and first dimensions of weights."""
    depth = _count(state, r"ecd(\d+)\.0\.[01]\.weight")
    convs = _count(state, r"generator\.convs\.(\d+)\.conv\.weight")
    n_mlp = _count(state, r"generator\.style\.(\d+)\.weight")
    if not depth or not convs:
        missing = "generator.convs.0.conv.weight" if depth else "ecd0.0.0.weight"
        raise CheckpointError(f"This is not a GPEN v1 state dict: key {missing!r} is missing.")
    most = MAX_SIZE.bit_length()
    if depth > most or convs > 2 * most:
        raise CheckpointError(
            f"This GPEN v1 state dict has {depth} encoder steps and {convs} convolutions, more "
            f"than a network of {MAX_SIZE} px."
        )
    widths = [_dim(state, "generator.conv1.conv.weight", 5, 1)]
    widths += [
        _dim(state, f"generator.convs.{2 * level}.conv.weight", 5, 1)
        for level in range((convs + 1) // 2)
    ]
    out_size = BASE << (len(widths) - 1)
    try:
        return GPENConfig(
            in_size=BASE << (depth - 1),
            out_size=out_size,
            channels=tuple(zip(_resolutions(out_size), widths, strict=True)),
            style_dim=_dim(state, "final_linear.0.weight", 2, 0),
            n_mlp=n_mlp,
        )
    except InputError as error:
        raise CheckpointError(
            f"This GPEN v1 state dict describes no usable size: {error}"
        ) from error


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for key in state if (match := re.fullmatch(pattern, key))})


def _dim(state: Mapping[str, Tensor], key: str, ndim: int, index: int) -> int:
    if key not in state:
        raise CheckpointError(f"This GPEN v1 state dict is incomplete: key {key!r} is missing.")
    shape = tuple(state[key].shape)
    if len(shape) != ndim:
        raise CheckpointError(
            f"GPEN key {key!r} must have {ndim} dimensions; found the shape {shape}."
        )
    return int(shape[index])


def _check_shapes(state: Mapping[str, Tensor], config: GPENConfig) -> None:
    with torch.device("meta"):
        expected = GPEN(config).state_dict()
    for key, tensor in expected.items():
        if key not in state:
            raise CheckpointError(
                f"This GPEN v1 state dict is incomplete: key {key!r} with the shape "
                f"{tuple(tensor.shape)} is missing."
            )
        if state[key].shape != tensor.shape:
            raise CheckpointError(
                f"GPEN key {key!r} has the wrong shape: expected {tuple(tensor.shape)}, "
                f"found {tuple(state[key].shape)}."
            )
    for key in state:
        if key not in expected:
            raise CheckpointError(
                f"This GPEN v1 state dict has an unknown key {key!r} with the shape "
                f"{tuple(state[key].shape)}; GPEN {config.out_size} has no such layer."
            )
