"""What network a state dict belongs to, told by its keys and shapes alone.

`ARCHITECTURES` lists what this project runs; each entry detects its state dicts and builds its
network from shapes. `STRANGERS` lists what people load by mistake, so that the refusal can say what
the file looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, InputError
from ..networks.fir import fir_kernel
from ..networks.gpen import GPEN, GPENConfig
from ..networks.gpen_v2 import GPENv2, GPENv2Config
from .unwrap import Weights

# fp16 files round the kernel's 1/64 steps; a trained or foreign kernel differs by far more.
_KERNEL_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Identified:
    """A network without its weights yet, and the facts about it."""

    architecture: str
    network: nn.Module
    input_size: int
    output_size: int
    narrow: float | None = None
    channel_multiplier: float | None = None


class Architecture(Protocol):
    """A kind of network this project runs."""

    name: str

    def detect(self, keys: set[str]) -> bool:
        """Whether a state dict with these keys is of this kind, complete or not."""

    def build(self, weights: Weights) -> Identified:
        """The network on the `meta` device. Raises CheckpointError naming the key at fault."""


class GPENv1Architecture:
    """The published layout, see docs/checkpoint-formats.md."""

    name = "gpen-v1"

    def detect(self, keys: set[str]) -> bool:
        has_encoder = any(key.startswith("ecd") for key in keys)
        return has_encoder and any(key.startswith("generator.") for key in keys)

    def build(self, weights: Weights) -> Identified:
        config = GPENConfig.from_state_dict(weights.state)
        _check_kernels(weights.state)
        with torch.device("meta"):
            network = GPEN(config)
        return Identified(
            self.name,
            network,
            config.in_size,
            config.out_size,
            round(config.narrow, 4),
            round(config.multiplier, 4),
        )


class GPENv2Architecture:
    """The `encoder`/`mapper`/`generator` layout, see docs/checkpoint-formats.md."""

    name = "gpen-v2"

    def detect(self, keys: set[str]) -> bool:
        parts = {key.partition(".")[0] for key in keys}
        return parts == {"encoder", "mapper", "generator"}

    def build(self, weights: Weights) -> Identified:
        config = GPENv2Config.from_state_dict(weights.state, weights.args)
        with torch.device("meta"):
            network = GPENv2(config)
        return Identified(self.name, network, config.in_size, config.out_size)


ARCHITECTURES: tuple[Architecture, ...] = (GPENv1Architecture(), GPENv2Architecture())


def _has(*keys: str) -> Callable[[set[str]], bool]:
    """Every key is there."""
    return lambda present: all(key in present for key in keys)


def _starts(*prefixes: str) -> Callable[[set[str]], bool]:
    """Some key starts with one of the prefixes."""
    return lambda present: any(key.startswith(prefixes) for key in present)


_USELESS = "it cannot restore faces with this program"
STRANGERS: tuple[tuple[str, Callable[[set[str]], bool]], ...] = (
    (
        "a discriminator, which is only of use in training; use the generator's file",
        _has("final_conv.0.weight", "final_linear.0.weight"),
    ),
    (
        f"GFPGAN; {_USELESS}",
        _starts("stylegan_decoder", "condition_scale", "stylegan_decoderdotto"),
    ),
    (f"CodeFormer; {_USELESS}", _has("position_emb", "quantize.embedding.weight")),
    (f"RestoreFormer; {_USELESS}", _starts("vqvae.")),
    (f"a VQGAN; {_USELESS}", _has("quantize.embedding.weight")),
    ("RetinaFace, a face detector; put it where --weights_dir points", _starts("BboxHead.")),
    ("ParseNet, a face parser; put it where --weights_dir points", _starts("out_mask_conv.")),
    ("BiSeNet, a face parser; this program uses ParseNet", _starts("cp.resnet.")),
    (
        "ESRGAN, an upscaler; load it with the host's upscale nodes",
        _starts("RRDB_trunk.", "model.1.sub.", "body.0.rdb1."),
    ),
    (f"a transformer upscaler such as SwinIR; {_USELESS}", _starts("layers.0.residual_group.")),
    (f"Stable Diffusion; {_USELESS}", _starts("model.diffusion_model.", "diffusion_model.")),
    (f"a VAE; {_USELESS}", _starts("first_stage_model.", "decoder.up.")),
    (f"a LoRA; {_USELESS}", lambda keys: any("lora_" in key for key in keys)),
    (
        "a plain StyleGAN2 generator without GPEN's encoder; use a whole GPEN file",
        _has("style.1.weight", "convs.0.conv.weight"),
    ),
)


def identify(weights: Weights, name: str) -> Identified:
    """The network of a state dict; `name` is what to call the file in an error.

    Raises:
        CheckpointError: it is another network, incomplete, of wrong shapes, or holds NaN.
    """
    keys = set(weights.state)
    for architecture in ARCHITECTURES:
        if architecture.detect(keys):
            try:
                found = architecture.build(weights)
            except (CheckpointError, InputError) as error:
                raise CheckpointError(f"{name}: {error}") from error
            check_finite(weights.state, name)
            return found
    raise CheckpointError(f"{name} is not a GPEN model: it looks like {describe(keys)}.")


def describe(keys: Iterable[str]) -> str:
    """What a state dict with these keys looks like."""
    present = set(keys)
    for description, matches in STRANGERS:
        if matches(present):
            return description
    sample = ", ".join(sorted(present)[:3])
    return f"a network this program does not know ({len(present)} tensors: {sample}, ...)"


def check_finite(state: Mapping[str, Tensor], name: str) -> None:
    """Refuse weights with NaN or infinity.

    Raises:
        CheckpointError: names the first key at fault.
    """
    for key, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{name}: the weights {key!r} hold NaN or infinite values; download the file again."
            )


def _check_kernels(state: Mapping[str, Tensor]) -> None:
    """The blur kernels are constants of the architecture; anything else is another network."""
    for key, kernel in state.items():
        if not key.endswith(".kernel"):
            continue
        gain = 1.0 if key.startswith("ecd") else 4.0
        if not torch.allclose(kernel.float(), fir_kernel(gain), atol=_KERNEL_TOLERANCE):
            raise CheckpointError(
                f"The filter {key!r} is not the [1, 3, 3, 1] kernel of GPEN; "
                f"this file was made by another network."
            )


def load_weights(found: Identified, state: Mapping[str, Any], dtype: torch.dtype) -> nn.Module:
    """The network with its weights, on the CPU, in `dtype`, ready for inference.

    The weights are copied: the file may change afterwards.
    """
    network = found.network.to(dtype).to_empty(device="cpu")
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)
