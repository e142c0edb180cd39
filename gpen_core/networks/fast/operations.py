"""The fast operations of a network's layers, with the constants that each of them needs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..layers import GAIN, EqualConv2d, FusedLeakyReLU, ModulatedConv2d, StyledConv, ToRGB
from .constant_cache import ConstantCache
from .encoder_features import ComputedFeature, Feature
from .encoder_step import EncoderStep
from .generator_level import Convolution, DirectConvolution, FeatureHalf, RGBRows
from .modulation import HALF, Modulation, modulate
from .tuning import Tuning
from .upsampling import Upsampling
from .winograd_1d import Winograd1dConvolution
from .winograd_2d import Winograd2dConvolution, transform_weight


class Operations:
    """Makes them from layers, and decides by a `Tuning` which form a convolution takes.

    Attributes:
        constants: what is derived from the weights.
    """

    def __init__(self, tuning: Tuning) -> None:
        self.tuning = tuning
        self.constants = ConstantCache()

    # Encoder

    def first_feature(self, step: nn.Module, picture: Tensor) -> ComputedFeature:
        """The encoder's first step: a 1x1 convolution of the picture."""
        conv, act = _parts(step, 0)
        weight, bias = self.constants.get(
            conv,
            "first",
            (conv.weight, act.bias),
            lambda: (
                conv.weight.detach().flatten(1) * (conv.scale * GAIN),
                act.bias.detach() * GAIN,
            ),
        )
        return ComputedFeature(picture, weight, bias)

    def encoder_step(self, step: nn.Module) -> EncoderStep:
        """One of the further steps."""
        conv, act = _parts(step, 1)
        kernel = step.get_submodule("0.0").get_buffer("kernel")

        def make() -> tuple[Tensor, Tensor]:
            blur = _depthwise(kernel * (conv.scale * GAIN), conv.weight.shape[1], conv.weight)
            return blur, act.bias.detach() * GAIN

        blur, bias = self.constants.get(conv, "blur", (kernel, conv.weight, act.bias), make)
        return EncoderStep(blur, self.weight(conv), bias)

    # Style

    def style(self, layers: nn.Sequential, owner: nn.Module, code: Tensor) -> Tensor:
        """The lowest feature, flattened, -> (N, style_dim); computed in float32.

        Nine small layers in a row round by a hundredth in bfloat16, the largest part of the whole
        network's error; in float32 they cost next to nothing.
        """
        if code.dtype not in HALF:
            style: Tensor = layers(code)
            return style
        weights = dict(layers.named_parameters())
        exact = self.constants.get(
            owner,
            "style",
            tuple(weights.values()),
            lambda: {name: weight.detach().float() for name, weight in weights.items()},
        )
        return functional_call(layers, exact, code.float()).to(code.dtype)

    def modulation(self, layer: StyledConv, style: Tensor, dtype: torch.dtype) -> Modulation:
        """Of a styled convolution, for styles (N, style_dim)."""
        factors = (layer.conv.modulation(style) * layer.conv.scale).float()
        return modulate(factors, self.energy(layer.conv), self.biases(layer)[0], dtype)

    def energy(self, conv: ModulatedConv2d) -> Tensor:
        """(K, C): squares of the weights, summed over the kernel."""
        return self.constants.get(
            conv,
            "energy",
            (conv.weight,),
            lambda: conv.weight.detach()[0].float().square().sum((2, 3)),
        )

    def biases(self, layer: StyledConv) -> tuple[Tensor, Tensor, Tensor]:
        """(K,) of the convolution, (K,) of the feature beside it, and that one's gain (1,)."""

        def make() -> tuple[Tensor, Tensor, Tensor]:
            own, other = (layer.activate.bias.detach() * GAIN).chunk(2)
            return own.contiguous(), other.contiguous(), layer.noise.weight.detach() * GAIN

        sources = (layer.activate.bias, layer.noise.weight)
        return self.constants.get(layer, "biases", sources, make)

    # Of one sample, for a level in strips

    def upsampling(self, layer: StyledConv, style: Tensor, like: Tensor) -> Upsampling:
        """The first convolution of a level."""
        modulation = self.modulation(layer, style, torch.float32)
        kernel = self.blur(layer.conv) * modulation.gain.view(-1, 1, 1, 1)
        weight = self.transposed_weight(layer.conv) * modulation.style.view(-1, 1, 1, 1)
        return Upsampling(weight.to(like.dtype), kernel.to(like.dtype), modulation.bias)

    def convolution(self, layer: StyledConv, style: Tensor, side: int, like: Tensor) -> Convolution:
        """The second convolution of a level."""
        if self.by_winograd_2d(layer.conv, side, like):
            return self.winograd_2d(layer.conv, self.modulation(layer, style, like.dtype))
        modulation = self.modulation(layer, style, torch.float32)
        weight = modulation.weight(layer.conv.weight[0])
        wide = weight.shape[1] >= self.tuning.winograd_1d_channels
        if wide and like.dtype == torch.float32:
            return Winograd1dConvolution.of(weight, modulation.bias)
        return DirectConvolution(channels_last(weight.to(like.dtype)), modulation.bias)

    def feature_half(self, layer: StyledConv, feature: Feature, side: int) -> FeatureHalf:
        """The encoder's feature beside a convolution's channels."""
        _, bias, gain = self.biases(layer)
        row = self.constants.get(layer, "row", (layer.activate.bias,), lambda: bias.repeat(side))
        return FeatureHalf(feature, float(gain), row)

    def rgb_rows(self, layer: ToRGB, style: Tensor, below: Tensor) -> RGBRows:
        """The step to RGB of a level."""
        kernel = layer.upsample.kernel.to(below.dtype).expand(3, 1, 4, 4)
        return RGBRows(rgb_weight(layer, style)[0], layer.bias.view(3), kernel, below)

    # Weights

    def by_winograd_2d(self, conv: ModulatedConv2d, side: int, like: Tensor) -> bool:
        """Whether a convolution of pictures of this side takes the two-dimensional form."""
        return (
            not conv.upsample
            and like.device.type == "cpu"
            and like.dtype == torch.float32
            and side >= self.tuning.winograd_2d_side
            and conv.weight.shape[2] >= self.tuning.winograd_2d_channels
        )

    def winograd_2d(self, conv: ModulatedConv2d, modulation: Modulation) -> Winograd2dConvolution:
        """That form, for a batch."""
        weight = conv.weight.detach()[0]
        transformed = self.constants.get(
            conv, "winograd 2d", (conv.weight,), lambda: transform_weight(weight)
        )
        chunk_bytes = self.tuning.winograd_2d_chunk_bytes
        return Winograd2dConvolution(weight, transformed, modulation, chunk_bytes)

    def blur(self, conv: ModulatedConv2d) -> Tensor:
        """(K, 1, 4, 4), after an upsampling convolution."""
        kernel, k = conv.blur.kernel, conv.weight.shape[1]
        return self.constants.get(
            conv, "blur", (kernel, conv.weight), lambda: _depthwise(kernel, k, conv.weight)
        )

    def weight(self, conv: EqualConv2d | ModulatedConv2d) -> Tensor:
        """(K, C, 3, 3) as the device's convolution likes it.

        CUDA's wants channels last. The CPU's reorders any layout for itself, in a hundredth of the
        whole time; a copy of all weights in memory would cost more than it saves.
        """
        weight = conv.weight.detach()
        weight = weight.view(weight.shape[-4:])
        if weight.device.type == "cpu":
            return weight
        return self.constants.get(conv, "weight", (conv.weight,), lambda: channels_last(weight))

    def transposed_weight(self, conv: ModulatedConv2d) -> Tensor:
        """(C, K, 3, 3), channels last where it is stored: else every call reorders it."""
        weight = conv.weight.detach()[0].transpose(0, 1)
        if weight.device.type == "cpu" and weight.nbytes > self.tuning.stored_weight_bytes:
            return weight
        return self.constants.get(conv, "transposed", (conv.weight,), lambda: channels_last(weight))


def rgb_weight(layer: ToRGB, style: Tensor) -> Tensor:
    """(N, 3, 2K), modulated."""
    factors = layer.conv.modulation(style) * layer.conv.scale
    return factors[:, None] * layer.conv.weight.view(3, -1)


def channels_last(x: Tensor) -> Tensor:
    """(N, C, H, W) whose channels lie side by side in memory."""
    return x.contiguous(memory_format=torch.channels_last)


def _parts(step: nn.Module, index: int) -> tuple[EqualConv2d, FusedLeakyReLU]:
    """Convolution and activation of a step of the encoder; `index` is the convolution's."""
    conv, act = step.get_submodule(f"0.{index}"), step.get_submodule(f"0.{index + 1}")
    assert isinstance(conv, EqualConv2d)
    assert isinstance(act, FusedLeakyReLU)
    return conv, act


def _depthwise(kernel: Tensor, channels: int, like: Tensor) -> Tensor:
    """(4, 4) -> (C, 1, 4, 4) for `conv2d`, which correlates: flipped."""
    kernel = kernel.detach().flip(0, 1).to(like)
    return kernel.expand(channels, 1, *kernel.shape).contiguous()
