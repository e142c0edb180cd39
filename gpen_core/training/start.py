"""A start from which a restorer learns fast: the network passes its input through.

A GPEN initialized like StyleGAN2 starts from a gray picture with every encoder feature switched
off. But its last `to_rgb` sees the first encoder feature through the concatenated half, so weights
exist for which input and output are equal, and training only has to learn the correction.
"""

from __future__ import annotations

from typing import cast

import torch

from ..errors import InputError
from ..networks import GPEN
from ..networks.layers import GAIN, NEGATIVE_SLOPE, EqualConv2d, ModulatedConv2d, ToRGB

# Per-face modulation starts faint: at full strength random styles drown what the features say.
_MODULATION = 0.1
_CORRECTION = 0.01
PAIRED_CHANNELS = 6
"""Channels that hold each color with both signs."""


@torch.no_grad()
def start_as_identity(net: GPEN) -> None:
    """Set a freshly made network so that it returns nearly what it is given.

    The first encoder layer holds each color twice, with both signs: after two leaky ReLUs with
    slope s and gain g, the difference of such a pair is `g^2 (1 + s^2)` times the color, exactly.

    Args:
        net: an untrained network whose sizes are equal.

    Raises:
        InputError: its first layer has fewer than 6 channels.
    """
    width = net.config.width(net.config.in_size)
    if width < PAIRED_CHANNELS:
        raise InputError(
            f"model.start identity needs {PAIRED_CHANNELS} channels at {net.config.in_size} px, "
            f"not {width}; take a larger narrow, or start: random."
        )
    for module in net.modules():
        if isinstance(module, ModulatedConv2d):
            module.modulation.weight.mul_(_MODULATION)
        if isinstance(module, ToRGB):
            module.conv.weight.mul_(_CORRECTION)
    for name, parameter in net.named_parameters():
        if name.endswith("noise.weight"):
            parameter.fill_(1.0)
    first = cast(EqualConv2d, net.get_submodule("ecd0.0.0"))
    last = cast(ToRGB, net.generator.to_rgbs[-1])
    pair_gain = GAIN * GAIN * (1 + NEGATIVE_SLOPE**2)
    last.conv.modulation.weight.zero_()
    last.conv.weight[0, :, width:].zero_()
    keep_colors(first)
    for color in range(3):
        for sign in (0, 1):
            last.conv.weight[0, color, width + 2 * color + sign] = (1 - 2 * sign) / (
                pair_gain * last.conv.scale
            )


@torch.no_grad()
def keep_colors(first: EqualConv2d) -> None:
    """Let the first six channels of a 1x1 layer over RGB be r, -r, g, -g, b and -b."""
    first.weight[:PAIRED_CHANNELS].zero_()
    for color in range(3):
        for sign in (0, 1):
            first.weight[2 * color + sign, color] = (1 - 2 * sign) / first.scale
