"""A wider network that starts out as the narrower one it is made from.

Old channels keep their places. New ones of a layer are drawn as in a new network; whoever reads
them does so with the weight 0 at first, so the picture stays the same, and learns to use them
because their gradient is not 0. A layer with twice the inputs divides by the root of the new
fan-in: its old weights are multiplied by the ratio, except where demodulation takes every common
factor out.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..networks import GPEN, GPENConfig
from ..networks.layers import EqualConv2d, EqualLinear, ModulatedConv2d, StyledConv, ToRGB


@torch.no_grad()
def widen(net: GPEN, config: GPENConfig) -> GPEN:
    """A network of the shape `config` that gives what `net` gives.

    Args:
        net: of the same sizes, nowhere wider than `config`.
        config: the shape wanted.

    Returns:
        A new network, float32, in training mode; `net` is left alone.

    Raises:
        InputError: other sizes, or a resolution with fewer channels than `net` has there.
    """
    _check(net.config, config)
    wide = GPEN(config)
    for index in range(net.depth):
        step = f"ecd{index}"
        _widen_encoder(wide.get_submodule(step), net.get_submodule(step), first=index == 0)
    _widen_latent(wide, net)
    wide.generator.style.load_state_dict(net.generator.style.state_dict())
    constant, was = wide.generator.input.input, net.generator.input.input
    constant[:, : was.shape[1]] = was
    _widen_conv(wide.generator.conv1, net.generator.conv1, halves=False)
    _widen_rgb(wide.generator.to_rgb1, net.generator.to_rgb1)
    for new, old in zip(wide.generator.convs, net.generator.convs, strict=True):
        _widen_conv(cast(StyledConv, new), cast(StyledConv, old))
    for new, old in zip(wide.generator.to_rgbs, net.generator.to_rgbs, strict=True):
        _widen_rgb(cast(ToRGB, new), cast(ToRGB, old))
    return wide.train()


def _check(old: GPENConfig, new: GPENConfig) -> None:
    sizes = (old.in_size, old.out_size, old.style_dim, old.n_mlp)
    if sizes != (new.in_size, new.out_size, new.style_dim, new.n_mlp):
        raise InputError(
            f"Only the channels of a network can be widened: it has {old.in_size} px in and "
            f"{old.out_size} px out, not {new.in_size} and {new.out_size}."
        )
    for resolution, width in new.channels:
        if width < old.width(resolution):
            raise InputError(
                f"The network to start from has {old.width(resolution)} channels at "
                f"{resolution} px, more than the {width} of this one; channels can only be added."
            )


def _places(there: int, here: int, *, halves: bool = True) -> Tensor:
    """Where the old channels go: in front, or in front of each half (convolution, feature)."""
    if not halves:
        return torch.arange(there)
    one = torch.arange(there // 2)
    return torch.cat((one, one + here // 2))


def _widen_encoder(new: nn.Module, old: nn.Module, *, first: bool) -> None:
    here, there = new.get_submodule("0"), old.get_submodule("0")
    at = 0 if first else 1
    conv, was = here.get_submodule(str(at)), there.get_submodule(str(at))
    assert isinstance(conv, EqualConv2d) and isinstance(was, EqualConv2d)
    out, inputs = was.weight.shape[:2]
    if not first:  # the first layer sees the same three colors
        conv.weight[:, inputs:] = 0
    conv.weight[:out, :inputs] = was.weight * (was.scale / conv.scale)
    here.get_parameter(f"{at + 1}.bias")[:out] = there.get_parameter(f"{at + 1}.bias")


def _widen_latent(new: GPEN, old: GPEN) -> None:
    """The code comes from flattened (C, 4, 4) features: old channels stay in front."""
    here, there = (cast(EqualLinear, net.final_linear[0]) for net in (new, old))
    inputs = there.weight.shape[1]
    here.weight[:, inputs:] = 0
    here.weight[:, :inputs] = there.weight * (there.scale / here.scale)
    here.bias.copy_(there.bias)


def _widen_modulated(
    new: ModulatedConv2d, old: ModulatedConv2d, places: Tensor, factor: float
) -> None:
    """Inputs of a modulated convolution: old ones to their places, new ones silent."""
    out = old.weight.shape[1]
    inputs = torch.ones(new.weight.shape[2], dtype=torch.bool)
    inputs[places] = False
    new.weight[:, :, inputs] = 0
    new.weight[:, :out] = new.weight[:, :out].index_copy(2, places, old.weight * factor)
    new.modulation.weight[places] = old.modulation.weight
    new.modulation.bias[places] = old.modulation.bias


def _widen_conv(new: StyledConv, old: StyledConv, *, halves: bool = True) -> None:
    inputs = _places(old.conv.weight.shape[2], new.conv.weight.shape[2], halves=halves)
    # Demodulation divides by the norm of a filter, which its new inputs do not change.
    _widen_modulated(new.conv, old.conv, inputs, 1.0)
    outputs = _places(2 * old.conv.weight.shape[1], 2 * new.conv.weight.shape[1])
    new.activate.bias[outputs] = old.activate.bias
    new.noise.weight.copy_(old.noise.weight)


def _widen_rgb(new: ToRGB, old: ToRGB) -> None:
    inputs = _places(old.conv.weight.shape[2], new.conv.weight.shape[2])
    _widen_modulated(new.conv, old.conv, inputs, old.conv.scale / new.conv.scale)
    new.bias.copy_(old.bias)
