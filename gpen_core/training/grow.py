"""Growth: a network of size 2S that starts out as the network of size S it is made from.

What exists at 2S only is one encoder step (`ecd0`; the old ones move up by one), two styled
convolutions and a `to_rgb`. The old layers are copied. The new ones are chosen so that the grown
network gives `up(old(down(x)))` exactly, `down` and `up` being StyleGAN2's FIR filters:

- the new `ecd0` keeps each color with both signs, as `start.py` does, and the following step,
  which blurs and halves, rebuilds from them what the old first layer saw;
- the new `to_rgb` adds nothing yet, so the RGB skip, upsampled by the generator, is the output;
- the new styled convolutions duplicate those below, cut to the new widths, so that `to_rgb` has
  features of the right kind to learn from.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError
from ..networks import GPEN, GPENConfig
from ..networks.layers import GAIN, NEGATIVE_SLOPE, EqualConv2d, StyledConv, ToRGB
from .start import PAIRED_CHANNELS, keep_colors


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
def grow(net: GPEN, width: int | None = None) -> GPEN:
    """A network of twice the size that gives the upsampled output of `net`.

    Args:
        net: sizes equal.
        width: channels at the new resolution; half of those below unless given.

    Returns:
        A new network, float32 on the CPU, in training mode; `net` is left alone.

    Raises:
        InputError: it cannot grow, see `grown_config`, or `width` is above the width below.
    """
    config = grown_config(net.config, width)
    if config.width(config.out_size) > net.config.width(net.config.out_size):
        raise InputError("A grown network cannot be wider at its new resolution than below it.")
    grown = GPEN(config)
    old = {key: value.float().cpu() for key, value in net.state_dict().items()}
    state = grown.state_dict()
    state |= {_moved(key): value for key, value in old.items() if not key.startswith("ecd0.")}
    grown.load_state_dict(state)
    _join_encoders(grown, old)
    _duplicate(grown)
    return grown


def _moved(key: str) -> str:
    """The key of an old layer in the grown network."""
    if not key.startswith("ecd"):
        return key
    index, _, rest = key[len("ecd") :].partition(".")
    return f"ecd{int(index) + 1}.{rest}"


def _join_encoders(grown: GPEN, old: dict[str, Tensor]) -> None:
    """Let `ecd0` keep the colors, and `ecd1` give the old `ecd0`'s feature of the halved picture.

    With slope s and gain g, `lrelu(x) - lrelu(-x) = g (1 + s) x`. The blur and the stride of `ecd1`
    center its middle tap between two pixels: it sees the picture halved by the FIR filter.
    """
    first = grown.get_submodule("ecd0.0.0")
    second = grown.get_submodule("ecd1.0.1")
    assert isinstance(first, EqualConv2d) and isinstance(second, EqualConv2d)
    keep_colors(first)
    wanted = old["ecd0.0.0.weight"][:, :, 0, 0] / 3**0.5  # (width, 3), the scale of its fan-in
    taps = torch.zeros_like(second.weight)
    pair_gain = GAIN * (1 + NEGATIVE_SLOPE)
    for color in range(3):
        for sign in (0, 1):
            taps[:, 2 * color + sign, 1, 1] = (1 - 2 * sign) * wanted[:, color]
    second.weight.copy_(taps / (pair_gain * second.scale))
    grown.get_parameter("ecd1.0.2.bias").copy_(old["ecd0.0.1.bias"])


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
    """Copy the first channels of each half: those of the convolution, those of the encoder."""
    out = new.conv.weight.shape[1]
    inputs = _halves(below.conv.weight.shape[2], new.conv.weight.shape[2])
    outputs = _halves(2 * below.conv.weight.shape[1], 2 * out)
    new.conv.weight.copy_(below.conv.weight[:, :out, inputs])
    new.conv.modulation.weight.copy_(below.conv.modulation.weight[inputs])
    new.conv.modulation.bias.copy_(below.conv.modulation.bias[inputs])
    new.activate.bias.copy_(below.activate.bias[outputs])
    new.noise.weight.copy_(below.noise.weight)


def _halves(there: int, here: int) -> Tensor:
    """Indices of the first `here / 2` channels of each half of `there`."""
    one = torch.arange(here // 2)
    return torch.cat((one, one + there // 2))
