"""Networks of the second generation (v2.0) in training: their start, their growth, their input.

The generator has no equalized weights, so a fresh one has to be made calm: its `to_rgb` is not
demodulated, and at full strength would paint noise of twenty times the picture's range.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..errors import InputError
from ..images.layouts import fit
from ..networks import GPEN
from ..networks.gpen_v2 import GPENv2, GPENv2Config

Restorer = GPEN | GPENv2
"""A network that can be trained."""

# Of a fresh network: how far the latent moves the styles, and how strong the colors are.
_MODULATION, _COLORS = 0.1, 0.02


def answer(net: Restorer, pictures: Tensor) -> Tensor:
    """What a network makes of pictures (N, 3, S, S), each at the size that its encoder takes."""
    return net(fit(pictures, net.config.in_size))


@torch.no_grad()
def start_second(config: GPENv2Config) -> GPENv2:
    """A fresh network whose pictures are gray at first; draws from PyTorch's generator.

    Example:
        >>> net = start_second(GPENv2Config.create(out_size=64, in_size=64, width=16))
        >>> float(net(torch.rand(1, 3, 64, 64)).abs().max()) < 2
        True
    """
    net = GPENv2(config)
    for name, parameter in net.generator.named_parameters():
        if name.endswith("affine.weight"):
            parameter.mul_(_MODULATION)
        elif name.endswith("affine.bias"):
            parameter.fill_(1.0)
        elif name.endswith("to_rgb.weight"):
            parameter.mul_(_COLORS)
    return net


@torch.no_grad()
def grow_second(net: GPENv2, width: int) -> GPENv2:
    """A network of twice the output that gives the old one's picture, each pixel four times.

    The new block duplicates the weights of the one below, cut to its width; its `to_rgb` is silent,
    so that nothing changes until it learns.

    Args:
        net: the old network; it is left alone.
        width: channels of the new block, at most as many as below.

    Returns:
        A new network, float32 on the CPU, in training mode.

    Raises:
        InputError: the new block would be wider than the one below.

    Example:
        >>> net = start_second(GPENv2Config.create(out_size=64, in_size=64, width=16))
        >>> grow_second(net, 8).config.out_size
        128
    """
    config = net.config
    if not 1 <= width <= config.widths[-1]:
        raise InputError(
            f"A v2.0 network grows by a block of 1 to {config.widths[-1]} channels, not {width}."
        )
    grown = GPENv2(replace(config, out_size=2 * config.out_size, widths=(*config.widths, width)))
    state = grown.state_dict()
    old = {key: value.float().cpu() for key, value in net.state_dict().items()}
    state |= old
    below, new = (f"generator.blocks.{len(config.widths) - at}" for at in (1, 0))
    for part in ("conv0", "conv1", "to_rgb"):
        for key in [key for key in state if key.startswith(f"{new}.{part}.")]:
            name = key.removeprefix(f"{new}.{part}")
            # The first block has no conv0, and that of others may read another width.
            source = old[f"{below}.{'to_rgb' if part == 'to_rgb' else 'conv1'}{name}"]
            state[key] = source[tuple(slice(0, side) for side in state[key].shape)].clone()
    state[f"{new}.to_rgb.weight"] = torch.zeros_like(state[f"{new}.to_rgb.weight"])
    state[f"{new}.to_rgb.bias"] = torch.zeros_like(state[f"{new}.to_rgb.bias"])
    grown.load_state_dict(state)
    return grown.train()
