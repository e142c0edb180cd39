"""GPEN prepared for inference: the same weights and result, in a fraction of the time and memory.

`FastGPEN` is a `GPEN`: same parameters, same state dict, same call. Only the order of work differs.

- Channels last everywhere; styles multiply what is smaller, activations or weights, and the
  demodulation is a matrix product of squares.
- Gain, demodulation, bias and activation end in one pass that writes straight into one half of a
  joined buffer; the encoder's feature is written into the other half. Nothing is concatenated.
- On a CPU, high resolutions run in strips of rows that stay in the cache from the transposed
  convolution to the RGB, and the largest features never exist as a whole. Each thread takes a band
  of rows of the generator's for itself (`lanes.py`).
- On a CPU in float32, convolutions use Winograd's algorithm: in both directions where the channels
  are many, down the columns only where they are fewer.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.profiler import record_function

from ..gpen import GPEN, GPENConfig
from ..layers import (
    DEMODULATION_EPS,
    GAIN,
    EqualConv2d,
    FusedLeakyReLU,
    ModulatedConv2d,
    StyledConv,
    ToRGB,
    check_pictures,
)
from . import columns, strips, transposed, winograd
from .features import Computed, Feature, Stored
from .lanes import Lanes
from .prepared import Prepared
from .workspace import Workspace, keep_small_blocks

# Below this side whole pictures fit the cache, and the weights are larger than the activations.
STRIP_SIDE = 128
# Sides and input channels from which Winograd's algorithm beats the direct convolution.
WINOGRAD_SIDE, WINOGRAD_CHANNELS = 64, 512
# Input channels from which the same down the columns only beats the direct convolution of a strip.
COLUMNS_CHANNELS = 64
# From this size of picture on, 100 MB of derived weights are little beside the activations; they go
# to a lower WINOGRAD_SIDE and to transposed convolutions of so many input channels.
LARGE, LARGE_WINOGRAD_SIDE, TRANSPOSED_CHANNELS = 1024, 32, 256
# Up to this side, and below LARGE, reordering a weight at each call saves its copy (19 MB).
REORDERED_SIDE = 32
# Of a large network strips are taller by this where the second convolution is Winograd's: each of
# them reads and reorders the weights anew.
LARGE_STRIPS = 2
# Rows of zeros around an encoder feature: the blur before the next step pads by two.
MARGIN = 2
# Elsewhere (MPS and others) nothing here has been tried: the plain network runs.
FAST_DEVICES = ("cpu", "cuda")
HALF = (torch.float16, torch.bfloat16)


def prepare(
    network: GPEN, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> FastGPEN:
    """A `FastGPEN` with the weights of `network`, moved and cast where asked.

    Where neither device nor type changes, the weights are shared, not copied; `network` itself is
    left as it is either way.
    """
    with torch.device("meta"):
        fast = FastGPEN(network.config)
    fast.load_state_dict(network.state_dict(), assign=True)
    fast.requires_grad_(False).eval()
    return fast.to(device=device, dtype=dtype)


def plain(network: GPEN) -> GPEN:
    """A plain `GPEN` that shares the weights of `network`: for training, tracing, export."""
    with torch.device("meta"):
        copy = GPEN(network.config)
    copy.load_state_dict(network.state_dict(), assign=True)
    return copy.train(network.training)


class FastGPEN(GPEN):
    """GPEN v1 for inference: `GPEN` in all but speed, memory and gradients (it gives none).

    It may be moved, cast and patched like any module. What it derives from the weights is made at
    the first call, about a quarter of their size in float32 on a CPU, little elsewhere.
    """

    def __init__(self, config: GPENConfig) -> None:
        super().__init__(config)
        self.prepared = Prepared()
        self.lanes = Lanes()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FastGPEN:
        self.prepared.clear()
        self.lanes = Lanes()
        super()._apply(fn, recurse)
        return self

    @property
    def workspace(self) -> Workspace:
        """The buffers of the calling thread."""
        return self.lanes.workspace

    @torch.no_grad()
    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Restore aligned faces: see `GPEN.forward`, whose result this is up to rounding."""
        check_pictures(x, self.config.in_size)
        if x.device.type not in FAST_DEVICES:
            return super().forward(x, generator)
        if not len(self.prepared):
            self._make_energies()
        n, channels, height, width = x.shape
        picture = self.workspace.nhwc("input", n, channels, height, width, x).copy_(x)
        encoded = self.features(picture)
        lowest = encoded[0].whole()
        style = self._style(lowest.flatten(1))
        pairs = [(feature, feature) for feature in encoded]
        pairs += [
            (Stored(_channels_last(first)), Stored(_channels_last(second)))
            for first, second in self.noise(generator, lowest)
        ]
        result = self._generate(style, pairs).to(x.dtype)
        if x.device.type == "cpu":
            keep_small_blocks()
        return result

    def _style(self, code: Tensor) -> Tensor:
        """The lowest feature, flattened, -> (N, style_dim); computed in float32.

        Nine small layers in a row round by a hundredth in bfloat16, the largest part of the whole
        network's error; in float32 they cost next to nothing.
        """
        layers = nn.Sequential(self.final_linear, self.generator.style)
        if code.dtype not in HALF:
            style: Tensor = layers(code)
            return style
        weights = dict(layers.named_parameters())
        exact = self.prepared.get(
            "style",
            tuple(weights.values()),
            lambda: {name: weight.detach().float() for name, weight in weights.items()},
        )
        return functional_call(layers, exact, code.float()).to(code.dtype)

    # Encoder

    def features(self, x: Tensor) -> list[Feature]:
        """(N, 3, in, in) -> the features for 4, 8, ... in."""
        with record_function(f"encoder {x.shape[3]}"):
            features: list[Feature] = [self._first(x)]
        for index in range(1, self.depth):
            with record_function(f"encoder {x.shape[3] >> index}"):
                features.append(self._next(index, features[-1], x))
        return features[::-1]

    def _next(self, index: int, feature: Feature, x: Tensor) -> Feature:
        """Step `index` of the encoder."""
        step, side = self._down(index), x.shape[3] >> index
        out = self.workspace.rows(f"ecd{index}", len(x), len(step.weight), side, MARGIN, x)
        if _in_strips(x, side):
            strips.encode(feature, step, out, MARGIN)
        else:
            rows = F.pad(feature.whole(), (0, 0, MARGIN, MARGIN))
            strips.activate(step.strip(rows), out[:, :, MARGIN:-MARGIN])
        return Stored(out, MARGIN)

    def _first(self, x: Tensor) -> Feature:
        conv, act = self._encoder_step(0)
        weight, bias = self.prepared.get(
            "ecd0",
            (conv.weight, act.bias),
            lambda: (
                conv.weight.detach().flatten(1) * (conv.scale * GAIN),
                act.bias.detach() * GAIN,
            ),
        )
        step = Computed(x, weight, bias)
        return step if _in_strips(x, x.shape[3]) else Stored(step.whole())

    def _down(self, index: int) -> strips.Down:
        conv, act = self._encoder_step(index)
        kernel = self.get_submodule(f"ecd{index}.0.0").get_buffer("kernel")

        def make() -> tuple[Tensor, Tensor]:
            blur = _depthwise(kernel * (conv.scale * GAIN), conv.weight.shape[1], conv.weight)
            return blur, act.bias.detach() * GAIN

        blur, bias = self.prepared.get(f"ecd{index}", (kernel, conv.weight, act.bias), make)
        return strips.Down(blur, self._weight(conv.weight, f"ecd{index}"), bias)

    def _encoder_step(self, index: int) -> tuple[EqualConv2d, FusedLeakyReLU]:
        conv = self.get_submodule(f"ecd{index}.0.{min(index, 1)}")
        act = self.get_submodule(f"ecd{index}.0.{2 if index else 1}")
        assert isinstance(conv, EqualConv2d)
        assert isinstance(act, FusedLeakyReLU)
        return conv, act

    # Generator

    def _generate(self, style: Tensor, pairs: list[tuple[Feature, Feature]]) -> Tensor:
        """Styles (N, style_dim) and the features beside each pair of convolutions -> RGB."""
        net = self.generator
        x = _channels_last(net.input(len(style)))
        with record_function("generator 4"):
            x = self._styled(net.conv1, "conv1", x, style, pairs[0][0])
            picture = self._rgb(net.to_rgb1, x, style, None)
        for level, pair in enumerate(pairs[1:]):
            with record_function(f"generator {8 << level}"):
                step = self._strips if _in_strips(x, 8 << level) else self._whole
                x, picture = step(level, x, style, pair, picture)
        return picture.contiguous()

    def _convs(self, level: int) -> tuple[StyledConv, StyledConv]:
        first, second = self.generator.convs[2 * level : 2 * level + 2]
        assert isinstance(first, StyledConv)
        assert isinstance(second, StyledConv)
        return first, second

    def _to_rgb(self, level: int) -> ToRGB:
        layer = self.generator.to_rgbs[level]
        assert isinstance(layer, ToRGB)
        return layer

    def _styled(
        self, layer: StyledConv, name: str, x: Tensor, style: Tensor, feature: Feature
    ) -> Tensor:
        """One styled convolution of whole pictures, (N, C, H, W) -> (N, 2K, H', W')."""
        factors, gain = self._modulation(layer.conv, name, style, x.dtype)
        bias, bias_beside, gain_beside = self._activation(layer, name)
        k = len(bias)
        side = x.shape[3] * (2 if layer.conv.upsample else 1)
        joined = self.workspace.rows(self.workspace.other(x), len(x), 2 * k, side, 0, x)
        self._convolve(layer.conv, name, x, factors, gain, bias, joined[:, :k])
        torch.addcmul(
            bias_beside.view(1, -1, 1, 1), feature.whole(), gain_beside, out=joined[:, k:]
        )
        return F.leaky_relu_(joined, strips.NEGATIVE_SLOPE)

    def _convolve(
        self,
        conv: ModulatedConv2d,
        name: str,
        x: Tensor,
        factors: Tensor,
        gain: Tensor,
        bias: Tensor,
        out: Tensor,
    ) -> None:
        """`out = conv(x * factors) * gain + bias`."""
        if self._by_winograd(conv, x.shape[3], x):
            padded = F.pad(x, (1, 1, 1, 1)).contiguous(memory_format=torch.channels_last)
            weight = self._winograd_weight(conv, name)
            rows, target = padded.permute(0, 2, 3, 1), out.permute(0, 2, 3, 1)
            winograd.convolve(rows, weight, factors, gain, bias, target, self.workspace)
            return
        x = x * factors[:, :, None, None]
        if conv.upsample:
            y = F.conv_transpose2d(x, self._transposed_weight(conv, name, x), stride=2)
            blur = self._blur(conv, name)
            y = F.conv2d(y, blur, padding=1, groups=len(blur))
        else:
            y = F.conv2d(x, self._weight(conv.weight, name), padding=conv.padding)
        torch.addcmul(bias.view(1, -1, 1, 1), y, gain[:, :, None, None], out=out)

    def _whole(
        self,
        level: int,
        x: Tensor,
        style: Tensor,
        pair: tuple[Feature, Feature],
        picture: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """One resolution, the whole batch at once: (N, 2C, H, W) -> (N, 2K, 2H, 2W), RGB."""
        for index, (conv, feature) in enumerate(zip(self._convs(level), pair, strict=True)):
            x = self._styled(conv, f"convs.{2 * level + index}", x, style, feature)
        return x, self._rgb(self._to_rgb(level), x, style, picture)

    def _strips(
        self,
        level: int,
        x: Tensor,
        style: Tensor,
        pair: tuple[Feature, Feature],
        picture: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """One resolution in strips, sample by sample.

        `x` and `picture` are (N, C, H, W) from a whole level or (N, C, H + 2, W) from another in
        strips.
        """
        side, last = 8 << level, level + 1 == len(self.generator.to_rgbs)
        if x.shape[2] == x.shape[3]:
            x, picture = (_channels_last(F.pad(low, (0, 0, 1, 1))) for low in (x, picture))
        n, convs = len(x), self._convs(level)
        if last:
            out, rgb = None, x.new_empty(n, 3, side, side)
            target = rgb
        else:
            k = convs[0].conv.weight.shape[1]
            out = self.workspace.rows(self.workspace.other(x), n, 2 * k, side, 1, x)
            rgb = self.workspace.rows(f"rgb{level % 2}", n, 3, side, 1, x)
            target = rgb[:, :, 1:-1]
        for sample in range(n):
            one = slice(sample, sample + 1)
            own = style[one]
            strips.Level(
                x[one],
                self._up(convs[0], f"convs.{2 * level}", own, x),
                self._same(convs[1], f"convs.{2 * level + 1}", own, x, side),
                pair,
                self._rgb_rows(self._to_rgb(level), own, picture[one]),
                sample,
                LARGE_STRIPS if self._is_large else 1,
            ).run(target[one], None if out is None else out[one], self.lanes)
        return (x if out is None else out), rgb

    def _up(self, layer: StyledConv, name: str, style: Tensor, x: Tensor) -> strips.Up:
        bias = self._activation(layer, name)[0]
        beside = self._beside(layer, name, 2 * x.shape[3])
        factors, gain = self._modulation(layer.conv, name, style, torch.float32)
        blur = self._blur(layer.conv, name) * gain.view(-1, 1, 1, 1)
        wide = layer.conv.weight.shape[2] >= TRANSPOSED_CHANNELS
        if wide and self._is_large and x.dtype == torch.float32:
            weight = self._columns_weight(layer.conv, name) * factors.view(-1, 1, 1, 1)
        else:
            weight = self._transposed_weight(layer.conv, name, x) * factors.view(-1, 1, 1, 1)
        return strips.Up(weight.to(x.dtype), transposed.Blur(blur.to(x.dtype), bias), beside)

    def _same(
        self, layer: StyledConv, name: str, style: Tensor, like: Tensor, side: int
    ) -> strips.Same | strips.ColumnsSame | strips.WinogradSame:
        bias = self._activation(layer, name)[0]
        beside = self._beside(layer, name, side)
        if self._by_winograd(layer.conv, side, like):
            factors, gain = self._modulation(layer.conv, name, style, like.dtype)
            weight = self._winograd_weight(layer.conv, name)
            return strips.WinogradSame(weight, factors, gain, bias, beside)
        factors, gain = self._modulation(layer.conv, name, style, torch.float32)
        weight = layer.conv.weight[0] * factors.view(1, -1, 1, 1) * gain.view(-1, 1, 1, 1)
        if _by_columns(layer.conv, like):
            return strips.ColumnsSame(columns.transform_weight(weight, bias), beside)
        return strips.Same(_channels_last(weight.to(like.dtype)), bias, beside)

    # Constants

    @property
    def _is_large(self) -> bool:
        return self.config.out_size >= LARGE

    def _modulation(
        self, conv: ModulatedConv2d, name: str, style: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Factors of the input (N, C) and of the output (N, K), the latter with the gain.

        In half precision the factors are divided by their largest, which the demodulation undoes,
        so that the activations cannot overflow (as in StyleGAN3).
        """
        factors = (conv.modulation(style) * conv.scale).float()
        eps: float | Tensor = DEMODULATION_EPS
        if dtype in HALF:
            largest = factors.abs().amax(1, keepdim=True).clamp(min=1e-12)
            factors, eps = factors / largest, eps / largest.square()
        gain = torch.rsqrt(F.linear(factors.square(), self._energy(conv, name)) + eps) * GAIN
        return factors.to(dtype), gain.to(dtype)

    def _energy(self, conv: ModulatedConv2d, name: str) -> Tensor:
        """(K, C): squares of the weights, summed over the kernel."""
        return self.prepared.get(
            f"{name}.energy",
            (conv.weight,),
            lambda: conv.weight.detach()[0].float().square().sum((2, 3)),
        )

    def _make_energies(self) -> None:
        """Before a first pass: among its temporaries these would pin 40 MB of holes."""
        for level in range(len(self.generator.to_rgbs)):
            for index, layer in enumerate(self._convs(level)):
                self._energy(layer.conv, f"convs.{2 * level + index}")

    def _activation(self, layer: StyledConv, name: str) -> tuple[Tensor, Tensor, Tensor]:
        """The biases (K,) of the convolution and of the feature beside it, and its gain (1,)."""

        def make() -> tuple[Tensor, Tensor, Tensor]:
            own, other = (layer.activate.bias.detach() * GAIN).chunk(2)
            return own.contiguous(), other.contiguous(), layer.noise.weight.detach() * GAIN

        return self.prepared.get(
            f"{name}.activation", (layer.activate.bias, layer.noise.weight), make
        )

    def _beside(self, layer: StyledConv, name: str, side: int) -> strips.Beside:
        _, bias, gain = self._activation(layer, name)
        row = self.prepared.get(f"{name}.row", (layer.activate.bias,), lambda: bias.repeat(side))
        return strips.Beside(float(gain), row)

    def _blur(self, conv: ModulatedConv2d, name: str) -> Tensor:
        kernel, k = conv.blur.kernel, conv.weight.shape[1]
        return self.prepared.get(
            f"{name}.blur", (kernel, conv.weight), lambda: _depthwise(kernel, k, conv.weight)
        )

    def _weight(self, weight: Tensor, name: str) -> Tensor:
        """(K, C, 3, 3) as the device's convolution likes it.

        CUDA's wants channels last. The CPU's reorders any layout for itself, in a hundredth of the
        whole time; a copy of all weights in memory would cost more than it saves.
        """
        if weight.device.type == "cpu":
            return weight.view(weight.shape[-4:])
        return self.prepared.get(
            f"{name}.weight",
            (weight,),
            lambda: _channels_last(weight.detach().view(weight.shape[-4:])),
        )

    def _transposed_weight(self, conv: ModulatedConv2d, name: str, x: Tensor) -> Tensor:
        """(C, K, 3, 3), channels last: otherwise every call would reorder it."""
        weight = conv.weight.detach()[0].transpose(0, 1)
        if x.device.type == "cpu" and x.shape[3] <= REORDERED_SIDE and not self._is_large:
            return weight
        return self.prepared.get(
            f"{name}.transposed", (conv.weight,), lambda: _channels_last(weight)
        )

    def _columns_weight(self, conv: ModulatedConv2d, name: str) -> Tensor:
        """The upsampling convolution's for `transposed.Columns`: twice the size."""
        return self.prepared.get(
            f"{name}.columns",
            (conv.weight,),
            lambda: transposed.transform_weight(conv.weight.detach()[0].transpose(0, 1)),
        )

    def _winograd_weight(self, conv: ModulatedConv2d, name: str) -> Tensor:
        return self.prepared.get(
            f"{name}.winograd",
            (conv.weight,),
            lambda: winograd.transform_weight(conv.weight.detach()[0]),
        )

    def _by_winograd(self, conv: ModulatedConv2d, side: int, like: Tensor) -> bool:
        return (
            not conv.upsample
            and like.device.type == "cpu"
            and like.dtype == torch.float32
            and side >= (LARGE_WINOGRAD_SIDE if self._is_large else WINOGRAD_SIDE)
            and conv.weight.shape[2] >= WINOGRAD_CHANNELS
        )

    # RGB

    def _rgb(self, layer: ToRGB, x: Tensor, style: Tensor, skip: Tensor | None) -> Tensor:
        """(N, 2K, H, W) -> (N, 3, H, W), added to the upsampled RGB below."""
        n, _, h, w = x.shape
        flat = x.permute(0, 2, 3, 1).reshape(n, h * w, -1)
        weight = self._rgb_weight(layer, style).transpose(1, 2)
        rgb = torch.bmm(flat, weight).view(n, h, w, 3).permute(0, 3, 1, 2)
        rgb = rgb + layer.bias
        return rgb if skip is None else rgb + layer.upsample(skip)

    def _rgb_rows(self, layer: ToRGB, style: Tensor, below: Tensor) -> strips.RGB:
        kernel = layer.upsample.kernel.to(below.dtype).expand(3, 1, 4, 4)
        weight = self._rgb_weight(layer, style)[0]
        return strips.RGB(weight, layer.bias.view(3), kernel, below)

    def _rgb_weight(self, layer: ToRGB, style: Tensor) -> Tensor:
        """(N, 3, 2K), modulated."""
        factors = layer.conv.modulation(style) * layer.conv.scale
        return factors[:, None] * layer.conv.weight.view(3, -1)


def _in_strips(x: Tensor, side: int) -> bool:
    return x.device.type == "cpu" and side >= STRIP_SIDE


def _by_columns(conv: ModulatedConv2d, like: Tensor) -> bool:
    return like.dtype == torch.float32 and conv.weight.shape[2] >= COLUMNS_CHANNELS


def _depthwise(kernel: Tensor, channels: int, like: Tensor) -> Tensor:
    """(4, 4) -> (C, 1, 4, 4) for `conv2d`, which correlates: flipped."""
    kernel = kernel.detach().flip(0, 1).to(like)
    return kernel.expand(channels, 1, *kernel.shape).contiguous()


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
