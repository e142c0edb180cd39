"""GPEN v1 as the papers write it: the reference that the fast network is compared with.

Every operation is the direct transcription of its formula: weights modulated and demodulated per
sample into one grouped convolution (Karras et al., StyleGAN2, 2020, equations 1 and 3), features
joined by concatenation, the FIR as "insert zeros, pad, convolve" over single-channel pictures.
Nothing is reordered, cached or fused; fp32, NCHW. It reads the official state-dict keys.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE, GAIN, EPS = 0.2, 2**0.5, 1e-8


def activate(x: Tensor, bias: Tensor) -> Tensor:
    """`sqrt(2) * leaky_relu(x + bias, 0.2)` over the channels (dimension 1) of `x`."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    return F.leaky_relu(x + bias.view(shape), SLOPE) * GAIN


def fir(x: Tensor, kernel: Tensor, pad: tuple[int, int], up: int = 1) -> Tensor:
    """(N, C, H, W) -> the FIR-filtered picture: `up - 1` zeros after each pixel, pad, convolve."""
    n, c, h, w = map(int, x.shape)  # plain integers, so that an export has constant shapes
    y = x.reshape(n * c, 1, h, 1, w, 1)
    y = F.pad(y, (0, up - 1, 0, 0, 0, up - 1)).reshape(n * c, 1, h * up, w * up)
    y = F.conv2d(F.pad(y, (*pad, *pad)), torch.flip(kernel, (0, 1))[None, None])
    return y.reshape(n, c, *map(int, y.shape[-2:]))


def equal_linear(x: Tensor, weight: Tensor, bias: Tensor, lr_mul: float = 1.0) -> Tensor:
    """(N, in) -> (N, out), the stored weight scaled by `lr_mul / sqrt(in)`."""
    return F.linear(x, weight * (lr_mul / weight.shape[1] ** 0.5), bias * lr_mul)


def modulated_conv(
    x: Tensor,
    weight: Tensor,
    style: Tensor,
    *,
    demodulate: bool = True,
    kernel: Tensor | None = None,
) -> Tensor:
    """(N, in, H, W) -> (N, out, H', W'), one filter bank per sample.

    Args:
        weight: (1, out, in, k, k), unit variance.
        style: (N, in) factors of the input channels.
        kernel: (4, 4) FIR with gain 4; with it H' = 2H, by a transposed convolution and that blur.
    """
    n, c, h, w = map(int, x.shape)
    out, k = int(weight.shape[1]), int(weight.shape[-1])
    weight = weight * (1 / (c * k * k) ** 0.5) * style.view(n, 1, c, 1, 1)
    if demodulate:
        weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + EPS)
    x = x.reshape(1, n * c, h, w)
    if kernel is None:
        y = F.conv2d(x, weight.reshape(n * out, c, k, k), padding=k // 2, groups=n)
        return y.reshape(n, out, h, w)
    weight = weight.transpose(1, 2).reshape(n * c, out, k, k)
    y = F.conv_transpose2d(x, weight, stride=2, groups=n)
    return fir(y.reshape(n, out, *map(int, y.shape[-2:])), kernel, (1, 1))


class Textbook(nn.Module):
    """The network of a v1 state dict with the official keys.

    The SR form's noise above the input's resolution is N(0, 1), one (1, C, r, r) draw for each
    convolution, shared by the batch, from a generator seeded with 0 unless one is given.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.keys = [key.replace(".", "/") for key in state]
        for key, tensor in state.items():
            self.register_buffer(key.replace(".", "/"), tensor.detach().float())
        self.depth = 1 + max(int(key.split("/")[0][3:]) for key in self.keys if key[:3] == "ecd")
        self.levels = sum(key.endswith("/upsample/kernel") for key in self.keys)
        self.mlp = sum(key.startswith("generator/style/") for key in self.keys) // 2

    def weight(self, key: str) -> Tensor:
        """The tensor of an official key."""
        return self.get_buffer(key.replace(".", "/"))

    @property
    def in_size(self) -> int:
        return 4 << (self.depth - 1)

    @property
    def out_size(self) -> int:
        return 4 << self.levels

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(N, 3, in, in) RGB -1..1 -> (N, 3, out, out)."""
        features = self.encode(x)
        code = features[0].flatten(1)
        code = equal_linear(code, self.weight("final_linear.0.weight"), torch.zeros(()))
        return self.generate(
            activate(code, self.weight("final_linear.0.bias")), features, generator
        )

    def encode(self, x: Tensor) -> list[Tensor]:
        """The features at 4, 8, ... in_size."""
        features = []
        for index in range(self.depth):
            weight = self.weight(f"ecd{index}.0.{min(index, 1)}.weight")
            weight = weight / weight[0].numel() ** 0.5
            if index:
                x = fir(x, self.weight(f"ecd{index}.0.0.kernel"), (2, 2))
            x = F.conv2d(x, weight, stride=2 if index else 1)
            x = activate(x, self.weight(f"ecd{index}.0.{2 if index else 1}.bias"))
            features.append(x)
        return features[::-1]

    def map(self, code: Tensor) -> Tensor:
        """Latent -> style, both (N, style_dim)."""
        style = code * torch.rsqrt(code.square().mean(1, keepdim=True) + EPS)
        for index in range(1, self.mlp + 1):
            weight = self.weight(f"generator.style.{index}.weight")
            style = equal_linear(style, weight, torch.zeros(()), lr_mul=0.01)
            style = activate(style, self.weight(f"generator.style.{index}.bias") * 0.01)
        return style

    def generate(
        self, code: Tensor, features: list[Tensor], generator: torch.Generator | None
    ) -> Tensor:
        """Latent and features -> the picture."""
        generator = generator or torch.Generator().manual_seed(0)
        style = self.map(code)
        x = self.weight("generator.input.input").expand(len(code), -1, -1, -1)
        x = self.styled(x, "generator.conv1", style, features[0])
        rgb = self.rgb(x, "generator.to_rgb1", style, None)
        for level in range(self.levels):
            first, second = f"generator.convs.{2 * level}", f"generator.convs.{2 * level + 1}"
            if level + 1 < len(features):
                maps = [features[level + 1]] * 2
            else:
                width, side = self.weight(f"{first}.conv.weight").shape[1], 8 << level
                maps = [
                    torch.randn(1, width, side, side, generator=generator).to(x) for _ in range(2)
                ]
            x = self.styled(x, first, style, maps[0])
            x = self.styled(x, second, style, maps[1])
            rgb = self.rgb(x, f"generator.to_rgbs.{level}", style, rgb)
        return rgb

    def styles(self, key: str, style: Tensor) -> Tensor:
        """The factors (N, in) of a modulated convolution's input channels."""
        weight, bias = (self.weight(f"{key}.conv.modulation.{part}") for part in ("weight", "bias"))
        return equal_linear(style, weight, bias)

    def styled(self, x: Tensor, key: str, style: Tensor, feature: Tensor) -> Tensor:
        """Modulated convolution, the scaled feature appended, activated."""
        kernel = f"{key}.conv.blur.kernel"
        blur = self.weight(kernel) if kernel.replace(".", "/") in self.keys else None
        y = modulated_conv(
            x, self.weight(f"{key}.conv.weight"), self.styles(key, style), kernel=blur
        )
        feature = feature.expand(len(y), -1, -1, -1) * self.weight(f"{key}.noise.weight")
        return activate(torch.cat((y, feature), 1), self.weight(f"{key}.activate.bias"))

    def rgb(self, x: Tensor, key: str, style: Tensor, skip: Tensor | None) -> Tensor:
        """To three channels, added to the FIR-upsampled picture of the level below."""
        weight = self.weight(f"{key}.conv.weight")
        y = modulated_conv(x, weight, self.styles(key, style), demodulate=False)
        y = y + self.weight(f"{key}.bias")
        if skip is None:
            return y
        return y + fir(skip, self.weight(f"{key}.upsample.kernel"), (2, 1), up=2)
