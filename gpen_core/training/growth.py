"""Growth: a network of size 2S that starts out as the network of size S it is made from.

What exists at 2S only is one encoder step (`ecd0`; the old ones move up by one), two styled
convolutions and a `to_rgb`. The old layers are copied. The new ones are chosen so that the grown
network gives `up(old(halved(x))) + detail * fine(x)` exactly:

- `halved`: the new `ecd0` keeps each color with both signs, as `start.py` does; the next step blurs
  by StyleGAN2's FIR filter and takes every other pixel with `HALVING`, which together come within
  54 dB of an antialiased bicubic reduction, what the old network was trained on.
- `up`: the RGB skip, upsampled by the generator's FIR filter.
- `fine`: six filters of the last convolution see the colors through the feature appended before it
  and compute the 3x3 high-pass `FINE`, with both signs, for the new `to_rgb`. Where the old network
  returns its input, reducing and enlarging lose what `FINE` restores, but for an error of 40 dB
  (both kernels are least-squares fits to 24 photographs of faces at 128 and 256 px).
- The other filters of the new convolutions duplicate those below, cut to the new widths, so that
  `to_rgb`, silent on them, has features of the right kind to learn from.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError
from ..networks import GPEN, GPENConfig
from ..networks.layers import (
    DEMODULATION_EPS,
    GAIN,
    NEGATIVE_SLOPE,
    EqualConv2d,
    ModulatedConv2d,
    StyledConv,
    ToRGB,
)
from .start import PAIRED_CHANNELS, keep_colors

# 3x3 kernels: middle, edges, corners. `HALVING` sums to 1, `FINE` to 0.
HALVING = (2.06, -0.22, -0.045)
FINE = (0.94, -0.0675, -0.1675)
_PAIR_GAIN = GAIN * (1 + NEGATIVE_SLOPE)
"""`lrelu(x) - lrelu(-x)` is so many times `x`."""


def grown_config(config: GPENConfig, width: int | None = None) -> GPENConfig:
    """The shape of twice the size.

    Args:
        config: of the old network.
        width: channels at the new resolution; half of those below unless given.

    Raises:
        InputError: the SR form, too large a size, or too few channels to keep the colors.
    """
    if config.is_sr:
        raise InputError(
            f"Only networks with equal sizes grow, not one from {config.in_size} to "
            f"{config.out_size} px."
        )
    size = 2 * config.in_size
    width = config.width(config.in_size) // 2 if width is None else width
    if width < PAIRED_CHANNELS:
        raise InputError(
            f"Growing to {size} px needs {PAIRED_CHANNELS} channels there, not {width}; start from "
            f"a wider network."
        )
    channels = (*config.channels, (size, width))
    return GPENConfig(size, size, channels, config.style_dim, config.n_mlp)


@torch.no_grad()
def grow(net: GPEN, width: int | None = None, detail: float = 0.0) -> GPEN:
    """A network of twice the size that gives the upsampled output of `net`, and fine detail.

    Args:
        net: sizes equal.
        width: channels at the new resolution; half of those below unless given.
        detail: share of the input's fine detail that is added, 0 to 1. 1 keeps a nearly undamaged
            picture sharp; its noise passes as well, until training tells the two apart.

    Returns:
        A new network, float32 on the CPU, in training mode; `net` is left alone.

    Raises:
        InputError: it cannot grow, see `grown_config`, or `detail` is no share.

    Example:
        >>> from gpen_core.networks import GPEN, GPENConfig
        >>> grow(GPEN(GPENConfig.create(64, 1 / 16)), width=16, detail=1).config.out_size
        128
    """
    if not 0 <= detail <= 1:
        raise InputError(f"The share of fine detail is 0 to 1, not {detail}.")
    config = grown_config(net.config, width)
    grown = GPEN(config)
    old = {key: value.float().cpu() for key, value in net.state_dict().items()}
    state = grown.state_dict()
    state |= {_moved(key): value for key, value in old.items() if not key.startswith("ecd0.")}
    grown.load_state_dict(state)
    _join_encoders(grown, old)
    _duplicate(grown)
    if detail:
        _pass_detail(grown, detail)
    return grown


def kernel(values: tuple[float, float, float]) -> Tensor:
    """(3, 3) from its middle, its edges and its corners.

    Example:
        >>> kernel((4, 2, 1)).tolist()
        [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]
    """
    middle, edge, corner = values
    rows = [[corner, edge, corner], [edge, middle, edge], [corner, edge, corner]]
    return torch.tensor(rows, dtype=torch.float32)


def _moved(key: str) -> str:
    """The key of an old layer in the grown network."""
    if not key.startswith("ecd"):
        return key
    index, _, rest = key[len("ecd") :].partition(".")
    return f"ecd{int(index) + 1}.{rest}"


def _join_encoders(grown: GPEN, old: dict[str, Tensor]) -> None:
    """Let `ecd0` keep the colors, and `ecd1` give the old `ecd0`'s feature of the halved picture.

    The blur and the stride of `ecd1` center its middle tap between two pixels.
    """
    first = grown.get_submodule("ecd0.0.0")
    second = grown.get_submodule("ecd1.0.1")
    assert isinstance(first, EqualConv2d) and isinstance(second, EqualConv2d)
    keep_colors(first)
    wanted = old["ecd0.0.0.weight"][:, :, 0, 0] / 3**0.5  # (width, 3), the scale of its fan-in
    taps = torch.zeros_like(second.weight)
    for color in range(3):
        for index, sign in _pair(color):
            taps[:, index] = sign * wanted[:, color, None, None] * kernel(HALVING)
    second.weight.copy_(taps / (_PAIR_GAIN * second.scale))
    grown.get_parameter("ecd1.0.2.bias").copy_(old["ecd0.0.1.bias"])


def _pair(color: int) -> tuple[tuple[int, float], tuple[int, float]]:
    """Channel and sign of the two that hold a color."""
    return (2 * color, 1.0), (2 * color + 1, -1.0)


def _pass_detail(grown: GPEN, detail: float) -> None:
    """Let `to_rgb` add `detail` times the high-pass of the input, whatever the style.

    The first convolution only has to append the colors unchanged; six filters of the second read
    them, so its demodulation is a known number for those.
    """
    before, last = grown.generator.convs[-2], grown.generator.convs[-1]
    to_rgb = grown.generator.to_rgbs[-1]
    assert isinstance(before, StyledConv) and isinstance(last, StyledConv)
    assert isinstance(to_rgb, ToRGB)
    width = last.conv.weight.shape[1]
    before.noise.weight.fill_(1.0)
    before.activate.bias[width : width + PAIRED_CHANNELS] = 0
    _fix_style(last.conv, range(width, width + PAIRED_CHANNELS))
    # Two activations, each with both signs: g² (1 + s²) times the color.
    colors_gain = GAIN * GAIN * (1 + NEGATIVE_SLOPE**2)
    high_pass = kernel(FINE)
    scale = last.conv.scale
    energy = 2 * high_pass.square().sum() * scale**2
    seen = colors_gain * scale * torch.rsqrt(energy + DEMODULATION_EPS)
    filters = range(width - PAIRED_CHANNELS, width)
    last.activate.bias[width - PAIRED_CHANNELS : width] = 0
    _fix_style(to_rgb.conv, filters)
    for color in range(3):
        for offset, sign in _pair(color):
            out = filters[offset]
            last.conv.weight[0, out].zero_()
            for index, half in _pair(color):
                last.conv.weight[0, out, width + index] = sign * half * high_pass
            to_rgb.conv.weight[0, color, out] = (
                sign * detail / (_PAIR_GAIN * seen * to_rgb.conv.scale)
            )


def _fix_style(conv: ModulatedConv2d, channels: range) -> None:
    """Let no style reach these inputs yet."""
    chosen = slice(channels.start, channels.stop)
    conv.modulation.weight[chosen] = 0
    conv.modulation.bias[chosen] = 1


def _duplicate(grown: GPEN) -> None:
    """The new styled convolutions from those below; the new `to_rgb` silent."""
    convs, to_rgb = grown.generator.convs, grown.generator.to_rgbs[-1]
    for new, below in ((convs[-2], convs[-4]), (convs[-1], convs[-3])):
        assert isinstance(new, StyledConv) and isinstance(below, StyledConv)
        _copy_cut(new, below)
    assert isinstance(to_rgb, ToRGB)
    to_rgb.conv.weight.zero_()
    to_rgb.bias.zero_()


def _copy_cut(new: StyledConv, below: StyledConv) -> None:
    """Copy the first channels of each half, that of the convolution and that of the encoder.

    Where the new one is the wider, the rest stays as it was drawn.
    """
    out, had = new.conv.weight.shape[1], below.conv.weight.shape[1]
    kept = min(out, had)
    to, of = _common(new.conv.weight.shape[2], below.conv.weight.shape[2])
    new.conv.weight[:, :kept, to] = below.conv.weight[:, :kept, of]
    new.conv.modulation.weight[to] = below.conv.modulation.weight[of]
    new.conv.modulation.bias[to] = below.conv.modulation.bias[of]
    to, of = _common(2 * out, 2 * had)
    new.activate.bias[to] = below.activate.bias[of]
    new.noise.weight.copy_(below.noise.weight)


def _common(here: int, there: int) -> tuple[Tensor, Tensor]:
    """Indices here and there of the channels that each half has on both sides."""
    one = torch.arange(min(here, there) // 2)
    return torch.cat((one, one + here // 2)), torch.cat((one, one + there // 2))
