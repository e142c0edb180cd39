"""Operations of a training step, counted without running it, and what they cost on GPUs.

    python benchmarks/training_operations.py docs/gpen-paper-2048.yaml

Every network of the config is made on PyTorch's `meta` device, which computes shapes only, and its
convolutions and matrix products are counted by PyTorch (a multiplication and an addition are two).
What the rest costs (memory traffic, optimizers, reading pictures) is in the share of its peak that
a GPU reaches, which is assumed and not measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gpen_core.networks.discriminator import PatchDiscriminators, StyleDiscriminator
from gpen_core.perception.arcface import IRSE50
from gpen_core.perception.vgg import VGG16
from gpen_core.perception.vgg19 import VGG19
from gpen_core.training.config import TrainConfig, read_config
from gpen_core.training.network import empty_network

# NVIDIA's data sheet: dense fp16 and bf16 on the tensor cores of an A100.
PEAK, SHARE = 312e12, 0.3


def counted(work: Callable[[], object]) -> int:
    """Floating-point operations of a piece of work on the `meta` device."""
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return counter.get_total_flops()


def through(net: Callable[[Tensor], object], size: int, *, learns: bool, gradient: bool) -> int:
    """A pass of one picture forward, and backward where a gradient is wanted."""

    def work() -> None:
        x = torch.zeros(1, 3, size, size, device="meta", requires_grad=gradient)
        made = net(x)
        if learns or gradient:
            parts = _tensors(made)
            torch.stack([part.float().sum() for part in parts]).sum().backward()

    return counted(work)


def _tensors(made: object) -> list[Tensor]:
    if isinstance(made, Tensor):
        return [made]
    return [tensor for part in made for tensor in _tensors(part)]  # type: ignore[attr-defined]


def frozen(net: nn.Module) -> nn.Module:
    return net.eval().requires_grad_(False)


def operations(config: TrainConfig) -> dict[str, float]:
    """Operations for one picture of one step, by part."""
    size, losses = config.model.size, config.losses
    with torch.device("meta"):
        net = empty_network(config.model)
        found: dict[str, float] = {
            "generator": through(net, net.config.in_size, learns=True, gradient=False)
        }
        looking: dict[str, tuple[nn.Module, int]] = {}
        if losses.perceptual and config.backbones.perceptual == "vgg19":
            looking["VGG-19"] = (VGG19(config.backbones.layers), size)
        if losses.lpips:
            looking["LPIPS"] = (VGG16(), size)
        if losses.identity:
            looking["identity"] = (IRSE50(), 112)
        for name, (look, side) in looking.items():
            look = frozen(look)
            wanted = through(look, side, learns=False, gradient=False)
            found[name] = wanted + through(look, side, learns=False, gradient=True)
        judges: list[nn.Module] = []
        options = config.discriminators
        if losses.adversarial and options.style:
            judges.append(StyleDiscriminator(config.model.judge(options.narrow)))
        if losses.adversarial and options.patch:
            judges.append(PatchDiscriminators(size, options.patch_width, options.patch_layers))
        for judge in judges:
            name = type(judge).__name__
            both = 2 * through(judge, size, learns=True, gradient=False)
            # The penalty's gradient of a gradient: about twice a pass forward and backward.
            penalty = 2 * through(judge, size, learns=True, gradient=True) / options.r1_every
            fooling = through(frozen(judge), size, learns=False, gradient=True)
            found[name] = both + penalty + fooling
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("--gpus", type=int, default=8)
    arguments = parser.parse_args()
    config = read_config(arguments.config)
    found = operations(config)
    total = sum(found.values())
    for name, value in found.items():
        print(f"{name:<22} {value / 1e12:8.2f} TFLOP a picture  {value / total:5.0%}")
    batch = config.batch_size * config.accumulate * arguments.gpus
    work = config.steps * batch * total
    hours = work / (arguments.gpus * PEAK * SHARE) / 3600
    print(f"{'together':<22} {total / 1e12:8.2f} TFLOP a picture")
    print(
        f"{config.steps} steps of {batch} pictures: {work / 1e18:.0f} EFLOP, {hours:.0f} hours on "
        f"{arguments.gpus} A100 at {SHARE:.0%} of {PEAK / 1e12:.0f} TFLOP/s (assumed)"
    )


if __name__ == "__main__":
    main()
