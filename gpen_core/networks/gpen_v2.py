"""GPEN v2.0: a ResNet's 512-d code, mapped to a StyleGAN2 latent that modulates every block.

Known from a description only (docs/checkpoint-formats.md gives the key layout taken here): nothing
but the latent passes from the encoder to the generator, up-sampling is nearest neighbor followed
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
from .layers import DEMODULATION_EPS, NEGATIVE_SLOPE, check_pictures, fused_leaky_relu

_STAGES = 4
_EXPANSION = 4
_DEFAULT_ENCODER_INPUT = 256
_MIN_IN_SIZE, _MAX_IN_SIZE = 32, 4096  # a ResNet halves its input five times
_LATENT = 512
# Far beyond any published network; a file's numbers are held against them before one is built.
_MAX_BLOCKS, _MAX_STAGE, _MAX_WIDTH = 9, 64, 8192
_BASE = 8
_FULL_WIDTH_UP_TO = 64
_BLOCKS_OF_DEPTH = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
_LARGEST = 1_000_000_000
_IN_SIZE_NAMES = ("input_resolution", "input_size", "in_size")
_OUT_SIZE_NAMES = ("output_resolution", "output_size", "out_size", "size")
_VERSION = re.compile(r"v(\d+)(?:\.\d+)*-(\d+)$")


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
        in_size_stated: False where no argument gave `in_size` and 256 was taken.

    Example:
        >>> config = GPENv2Config.create(out_size=256)
        >>> config.stages, config.widths
        ((3, 4, 6, 3), (512, 512, 512, 512, 256, 128))
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
    in_size_stated: bool = True

    @classmethod
    def create(
        cls, out_size: int = 2048, in_size: int = 256, depth: int = 50, width: int = 512
    ) -> GPENv2Config:
        """The described network: a ResNet of `depth` 50 or 101, blocks 8, 16, ... `out_size`.

        `width` is the channels up to 64 px; they halve with every doubling above.

        Raises:
            InputError: a depth or size that the layout does not have.
        """
        blocks = out_size.bit_length() - _BASE.bit_length() + 1
        if depth not in _BLOCKS_OF_DEPTH or blocks < 1 or out_size != _BASE << (blocks - 1):
            raise InputError(
                f"GPEN v2.0 has a ResNet of depth 50 or 101 and a power of two from {_BASE} px "
                f"as its output, not depth {depth} and {out_size} px."
            )
        sizes = [_BASE << index for index in range(blocks)]
        widths = tuple(max(1, width * _FULL_WIDTH_UP_TO // max(size, 64)) for size in sizes)
        stages = _BLOCKS_OF_DEPTH[depth]
        return cls(in_size, out_size, stages, 64, True, _LATENT, 2, _BASE, widths)

    @classmethod
    def from_state_dict(
        cls, state: Mapping[str, Tensor], args: Mapping[str, Any] | None = None
    ) -> GPENv2Config:
        """Sizes from shapes; `args` gives the input resolution and is checked for the output's.

        Args:
            state: keys as `official_keys` gives them.
            args: of the file; `input_resolution`, `output_resolution` and `version` are looked at.

        Raises:
            CheckpointError: a key is missing or has another shape than the rest implies, or an
                argument contradicts the shapes.
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
    """GPEN v2.0: (N, 3, in, in) RGB -1..1 -> (N, 3, out, out) RGB, about -1..1.

    Example:
        >>> network = GPENv2(GPENv2Config.create(out_size=64, in_size=64, width=16))
        >>> network(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 3, 64, 64])
    """

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
        check_pictures(x, self.config.in_size)
        return self.generator(self.mapper(self.encoder(x)))


# A number as PyTorch writes it; "01" or another script's digits name no layer.
_MAPPER_KEY = re.compile(r"mapper\.(0|[1-9][0-9]{0,2})\.weight")
_CONV = r"^encoder\.(?:conv1|layer\d+\.\d+\.(?:conv\d|downsample\.0))"


def official_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict under the keys of `GPENv2`, from the variants that occur.

    The mapper may be an unnamed sequence (`mapper.0.weight`, ...); where some convolutions of the
    encoder have biases, the others get zeros, which change nothing.

    Example:
        >>> list(official_keys({"mapper.0.weight": torch.zeros(8, 8)}))
        ['mapper.fc1.weight']
    """
    named = _mapper_keys(state)
    renamed = {named.get(key, key): value for key, value in state.items()}
    convolutions = [
        key[: -len(".weight")] for key in renamed if re.search(_CONV + r"\.weight$", key)
    ]
    if any(f"{name}.bias" in renamed for name in convolutions):
        for name in convolutions:
            weight = renamed[f"{name}.weight"]
            if not weight.ndim:
                raise CheckpointError(f"GPEN v2.0 key {name + '.weight'!r} is a single number.")
            renamed.setdefault(f"{name}.bias", weight.new_zeros(weight.shape[:1]))
    return renamed


def _mapper_keys(state: Mapping[str, Tensor]) -> dict[str, str]:
    """New names of an unnamed mapper's keys: its k-th matrix is `fck`, what follows it `normk`."""
    indices = sorted(int(match[1]) for key in state if (match := _MAPPER_KEY.fullmatch(key)))
    renamed, layer = {}, 0
    for index in indices:
        is_linear = state[f"mapper.{index}.weight"].ndim == 2
        layer += is_linear
        module = f"mapper.{'fc' if is_linear else 'norm'}{layer}"
        for name in ("weight", "bias"):
            renamed[f"mapper.{index}.{name}"] = f"{module}.{name}"
    return renamed


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
    if blocks > _MAX_BLOCKS or max(stages) > _MAX_STAGE:
        raise CheckpointError(
            f"This GPEN v2.0 file has stages of {stages} layers and {blocks} blocks, more than a "
            f"network of 2048 px."
        )
    base = int(const.shape[-1])
    out_size = base << (blocks - 1)
    _check_output(args, out_size)
    in_size = _whole_number(args, _IN_SIZE_NAMES)
    if in_size is not None and not _MIN_IN_SIZE <= in_size <= _MAX_IN_SIZE:
        raise CheckpointError(
            f"This GPEN v2.0 file states input_resolution {in_size}; "
            f"{_MIN_IN_SIZE} to {_MAX_IN_SIZE} px can be used."
        )
    stem = int(_tensor(state, "encoder.conv1.weight", 4).shape[0])
    latent = int(_tensor(state, "encoder.fc.weight", 2).shape[0])
    if not all(1 <= width <= _MAX_WIDTH for width in (stem, latent, base, *widths)):
        raise CheckpointError(
            f"This GPEN v2.0 file has layers of {(stem, latent, base, *widths)} channels; 1 to "
            f"{_MAX_WIDTH} can be used."
        )
    return GPENv2Config(
        in_size=_DEFAULT_ENCODER_INPUT if in_size is None else in_size,
        out_size=out_size,
        stages=stages,
        stem=stem,
        conv_bias=any(re.search(_CONV + r"\.bias$", key) for key in state),
        latent=latent,
        norms=sum(f"mapper.norm{index}.weight" in state for index in (1, 2)),
        base=base,
        widths=widths,
        in_size_stated=in_size is not None,
    )


def _check_output(args: Mapping[str, Any], out_size: int) -> None:
    stated = _whole_number(args, _OUT_SIZE_NAMES)
    if stated is not None and stated != out_size:
        raise CheckpointError(
            f"This GPEN v2.0 file states output_resolution {stated}, but its generator makes "
            f"{out_size} px."
        )
    said = args.get("version")
    version = _VERSION.search(said) if isinstance(said, str) else None
    if version and (int(version[1]), int(version[2])) != (2, out_size):
        raise CheckpointError(
            f"This GPEN v2.0 file states version {args['version']!r}, but its weights are those "
            f"of a v2.0 network of {out_size} px."
        )


def _whole_number(args: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """The first argument of these names; a pair such as (256, 256) counts as its side."""
    name = next((name for name in names if args.get(name) is not None), None)
    if name is None:
        return None
    value = args[name]
    if isinstance(value, list | tuple) and value and all(side == value[0] for side in value):
        value = value[0]
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        value = int(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # Infinity and NaN fail the comparison, and so does a number of a thousand digits.
    if not is_number or not 0 <= value <= _LARGEST or value != int(value):
        raise CheckpointError(
            f"This GPEN v2.0 file states {name} {_shown(args[name])}, which is not a size in "
            f"pixels."
        )
    return int(value)


def _shown(value: Any) -> str:
    """A value of a file in an error: numbers without end are not written out."""
    if isinstance(value, int) and abs(value) > _LARGEST:
        return "of very many digits"
    return repr(value)[:80]


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
