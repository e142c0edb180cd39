"""The network a run starts with: new, going on from a file, or grown from one of half the size."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch

from ..errors import CheckpointError, InputError
from ..models.load import read_model
from ..networks import GPEN, GPENConfig
from ..networks.gpen_v2 import GPENv2
from .config import Network
from .growth import grow
from .second import Restorer, grow_second, start_second
from .start import start_as_identity
from .widening import widen

log = logging.getLogger(__name__)


def new_network(options: Network, seed: int) -> Restorer:
    """The network of a run at step 0, float32 on the CPU, in training mode.

    Raises:
        CheckpointError: the file to start from is not a GPEN v1 network, or of another shape.
        InputError: it cannot grow, or is too narrow for the start asked for.
        MissingWeightsError: the file is not there.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _make(options)
    return net.train().requires_grad_(True)


def empty_network(options: Network) -> Restorer:
    """A network of the shape asked for, in training mode, for weights to be loaded into."""
    if options.architecture == "v2":
        return GPENv2(options.second()).train()
    return GPEN(options.shape()).train()


def compiled(net: Restorer) -> Restorer:
    """The same weights, behind a pass that PyTorch compiles when it is first used.

    Raises:
        InputError: on a CPU, without a C++ compiler.
    """
    compiler = os.environ.get("CXX", "g++")
    if next(net.parameters()).device.type == "cpu" and shutil.which(compiler) is None:
        raise InputError(f"compile needs the C++ compiler {compiler}; install it, or set false.")
    return cast(Restorer, torch.compile(net, dynamic=False))


def read_generator(path: Path) -> GPEN:
    """The GPEN v1 network of a file, float32 on the CPU.

    Raises:
        CheckpointError: it holds something else.
        MissingWeightsError: it is not there.
    """
    net = read_model(path).network
    if not isinstance(net, GPEN):
        raise CheckpointError(f"{path} is not a GPEN v1 network; training starts from those only.")
    plain = GPEN(net.config)  # the loaded one may be the fast form, for inference only
    plain.load_state_dict(net.state_dict())
    return plain


def _make(options: Network) -> Restorer:
    if options.architecture == "v2":
        return _make_second(options)
    shape = options.shape()
    if options.grow_from is not None:
        return _grown(options.grow_from, shape, options.detail)
    if options.start_from is not None:
        net = read_generator(options.start_from)
        if _narrower(net.config.channels, shape.channels):
            log.info("widening %s", options.start_from)
            return widen(net, shape)
        _check(options.start_from, net.config.channels, shape.channels)
        if net.config != shape:
            raise CheckpointError(
                f"{options.start_from} takes {net.config.in_size} px and gives "
                f"{net.config.out_size} px; training starts from networks with equal sizes."
            )
        log.info("starting from %s", options.start_from)
        return net
    net = GPEN(shape)
    if options.start == "identity":
        start_as_identity(net)
    return net


def _make_second(options: Network) -> GPENv2:
    shape = options.second()
    path = options.grow_from or options.start_from
    if path is None:
        return start_second(shape)
    net = read_model(path).network
    if not isinstance(net, GPENv2):
        raise CheckpointError(f"{path} is not a GPEN v2.0 network; set model.architecture to v1.")
    if options.grow_from is not None:
        log.info("growing %s to %d px", path, shape.out_size)
        net = grow_second(net, shape.widths[-1])
    if replace(net.config, in_size_stated=True) != shape:
        raise CheckpointError(
            f"{path} has stages {net.config.stages} and blocks of {net.config.widths} channels for "
            f"{net.config.in_size} px, but this config asks for {shape.stages}, {shape.widths} and "
            f"{shape.in_size} px; set depth, width, size or encoder_size of model."
        )
    return net


def _grown(path: Path, shape: GPENConfig, detail: float) -> GPEN:
    """A file's network at twice its size, wider wherever `shape` is."""
    old = read_generator(path)
    table = shape.channels[:-1]
    if not _narrower(old.config.channels, table):
        _check(path, old.config.channels, table)
    log.info("growing %s to %d px", path, shape.out_size)
    net = grow(old, shape.width(shape.out_size), detail)
    return net if net.config == shape else widen(net, shape)


Channels = tuple[tuple[int, int], ...]


def _narrower(found: Channels, wanted: Channels) -> bool:
    """Whether the same resolutions have fewer channels somewhere, and nowhere more."""
    if found == wanted or [size for size, _ in found] != [size for size, _ in wanted]:
        return False
    return all(have <= want for (_, have), (_, want) in zip(found, wanted, strict=True))


def _check(path: Path, found: Channels, expected: Channels) -> None:
    """Compare the tables of (resolution, channels)."""
    if found == expected:
        return
    size, wanted = found[-1][0], expected[-1][0]
    if size != wanted:
        raise CheckpointError(
            f"{path} is a network of {size} px, but this config needs one of {wanted} px; "
            f"set model.size."
        )
    have, want = dict(found), dict(expected)
    at = next(resolution for resolution in have if have[resolution] != want[resolution])
    raise CheckpointError(
        f"{path} has {have[at]} channels at {at} px, but this config asks for {want[at]}; set "
        f"{_width_options(have)}."
    )


def _width_options(have: dict[int, int]) -> str:
    """The options of `model` that give these channels, at least at the resolutions there are."""
    narrow, multiplier = have[4] / 512, 2 * have[64] / have[4]
    size = max(have)
    if GPENConfig.create(size, narrow, multiplier).channels == tuple(have.items()):
        return f"model.narrow to {narrow:g} and channel_multiplier to {multiplier:g}"
    return f"model.channels to {have}"
