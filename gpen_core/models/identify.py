"""What network a state dict belongs to, told by its keys and shapes alone.

`ARCHITECTURES` lists what this project runs; each entry detects its state dicts and builds its
network from shapes. `STRANGERS` lists what people load by mistake, so that the refusal can say what
the file looks like.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, InputError
from ..networks.fast.network import FastGPEN
from ..networks.fir import fir_kernel
from ..networks.gpen import GPENConfig
from ..networks.gpen_v2 import GPENv2, GPENv2Config, official_keys
from ..text import printable, quoted
from .unwrap import Weights

log = logging.getLogger(__name__)

# What a file may count more than once: a network that holds one tensor under several keys.
_SHARED, _SHARED_BYTES = 2, 16 << 20
_LONGEST = 600  # characters of an error's text
# fp16 files round the kernel's 1/64 steps; a trained or foreign kernel differs by far more.
_KERNEL_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Identified:
    """A network without its weights yet, its weights, and the facts about it.

    Attributes:
        architecture: "gpen-v1" or "gpen-v2".
        network: on the `meta` device.
        state: exactly the keys and shapes of `network`.
        input_size, output_size: side of the crops in pixels.
        narrow, channel_multiplier: the official width parameters, None where they do not apply.
    """

    architecture: str
    network: nn.Module
    state: dict[str, Tensor]
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
            network = FastGPEN(config)
        return Identified(
            self.name,
            network,
            weights.state,
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
        state = official_keys(weights.state)
        config = GPENv2Config.from_state_dict(state, weights.args)
        if not config.in_size_stated:
            log.warning(
                "The file does not say the encoder's input size; %d px is assumed.", config.in_size
            )
        with torch.device("meta"):
            network = GPENv2(config)
        return Identified(self.name, network, state, config.in_size, config.out_size)


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
    (f"GFPGAN; {_USELESS}", _starts("stylegan_decoder", "condition_scale")),
    (f"CodeFormer; {_USELESS}", _has("position_emb", "quantize.embedding.weight")),
    (f"RestoreFormer; {_USELESS}", _starts("vqvae.")),
    (f"a VQGAN, such as RestoreFormer's; {_USELESS}", _has("quantize.embedding.weight")),
    ("RetinaFace, a face detector; give it as the detector's weights", _starts("BboxHead.")),
    ("ParseNet, a face parser; give it as the parser's weights", _starts("out_mask_conv.")),
    ("BiSeNet, a face parser; this program uses ParseNet", _starts("cp.resnet.")),
    (
        "ESRGAN, an upscaler; load it with the host's upscale nodes",
        # The oldest files lose their `model.` when prefixes are taken off.
        _starts("RRDB_trunk.", "model.1.sub.", "1.sub.", "body.0.rdb1."),
    ),
    (
        "a compact upscaler (SRVGG); load it with the host's upscale nodes",
        _has("body.0.weight", "body.1.weight", "body.2.weight"),
    ),
    (f"a transformer upscaler such as SwinIR; {_USELESS}", _starts("layers.0.residual_group.")),
    (f"Stable Diffusion; {_USELESS}", _starts("model.diffusion_model.", "diffusion_model.")),
    (f"a VAE; {_USELESS}", _starts("first_stage_model.", "decoder.up.")),
    (f"a LoRA; {_USELESS}", lambda keys: any("lora_" in key for key in keys)),
    (
        "a plain StyleGAN2 generator without GPEN's encoder; use a whole GPEN file",
        _has("style.1.weight", "convs.0.conv.weight"),
    ),
    (
        "the generator half of a GPEN model; use the whole file",
        _has("generator.style.1.weight", "generator.conv1.conv.weight"),
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
            check_kinds(weights.state, name)
            try:
                found = architecture.build(weights)
            except (CheckpointError, InputError) as error:
                raise CheckpointError(f"{name}: {printable(str(error), _LONGEST)}") from error
            check_numbers(found.state, name)
            return found
    raise CheckpointError(f"{name} is not a GPEN model: it looks like {describe(keys)}.")


def describe(keys: Iterable[str]) -> str:
    """What a state dict with these keys looks like."""
    present = set(keys)
    for description, matches in STRANGERS:
        if matches(present):
            return description
    sample = ", ".join(printable(key, 60) for key in sorted(present)[:3])
    return f"a network this program does not know ({len(present)} tensors: {sample}, ...)"


def check_kinds(state: Mapping[str, Tensor], name: str) -> None:
    """Refuse weights that are no plain floating-point numbers, before a network is made for them.

    Raises:
        CheckpointError: names the first key at fault.
    """
    for key, tensor in state.items():
        kind = _strange_kind(tensor)
        if kind:
            raise CheckpointError(
                f"{name}: the weights {quoted(key)} are stored as {kind}, which cannot be run; get "
                f"the file in fp32, fp16 or bf16."
            )
        if not tensor.numel():
            raise CheckpointError(
                f"{name}: the weights {quoted(key)} have the shape {tuple(tensor.shape)} and so no "
                f"values; download the file again."
            )
    held = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in state.values()}
    used = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if used > _SHARED * sum(held.values()) + _SHARED_BYTES:
        raise CheckpointError(
            f"{name}: its {used >> 20} MB of weights are the same few numbers over and over; get "
            f"the original file."
        )


def check_numbers(state: Mapping[str, Tensor], name: str) -> None:
    """Refuse weights that are not finite.

    Raises:
        CheckpointError: names the first key at fault.
    """
    for key, tensor in state.items():
        if not _is_finite(tensor):
            raise CheckpointError(
                f"{name}: the weights {quoted(key)} hold NaN or infinite values; download the file "
                f"again."
            )


def _strange_kind(tensor: Tensor) -> str:
    """What a tensor is instead of plain floating-point numbers in memory; empty if it is none."""
    if tensor.is_nested:
        return "a nested tensor"
    if tensor.is_quantized:
        return f"quantized numbers ({str(tensor.dtype).removeprefix('torch.')})"
    if tensor.layout != torch.strided:
        return f"a {str(tensor.layout).removeprefix('torch.')} tensor"
    if tensor.is_meta:
        return "no values"
    try:
        can_be_widened = tensor.is_floating_point() and tensor[:0].float() is not None
    except (IndexError, RuntimeError, TypeError):
        can_be_widened = tensor.is_floating_point() and not tensor.ndim
    return "" if can_be_widened else str(tensor.dtype).removeprefix("torch.")


def _is_finite(tensor: Tensor) -> bool:
    """Without a copy of the tensor, unlike `torch.isfinite`: NaN passes through min and max."""
    if not tensor.numel():
        return True
    wide = tensor.float() if tensor.element_size() == 1 else tensor
    low, high = torch.aminmax(wide.detach())
    return bool(torch.isfinite(low)) and bool(torch.isfinite(high))


def _check_kernels(state: Mapping[str, Tensor]) -> None:
    """The blur kernels are constants of the architecture; anything else is another network."""
    for key, kernel in state.items():
        if not key.endswith(".kernel"):
            continue
        gain = 1.0 if key.startswith("ecd") else 4.0
        # As the file's type can write it: float8 has two or three digits.
        expected = fir_kernel(gain).to(kernel.dtype).float()
        same_shape = kernel.shape == expected.shape
        if not same_shape or not torch.allclose(kernel.float(), expected, atol=_KERNEL_TOLERANCE):
            raise CheckpointError(
                f"The filter {quoted(key)} is not the [1, 3, 3, 1] kernel of GPEN; "
                f"this file was made by another network."
            )


def load_weights(found: Identified, dtype: torch.dtype, *, copy: bool = True) -> nn.Module:
    """The network with its weights, on the CPU, in `dtype`, ready for inference.

    Args:
        found: from `identify`; where `copy` is False its state is used up on the way, so that
            old and new weights are never both whole in memory.
        dtype: of the weights.
        copy: keep the tensors of `found` out of the network; False where nobody else has them.
    """
    state = dict(found.state) if copy else found.state
    weights = {}
    for key in list(state):
        tensor = state.pop(key).detach()
        # A slice of a large tensor would keep the whole of it alive.
        slice_of_more = tensor.untyped_storage().nbytes() > tensor.numel() * tensor.element_size()
        weights[key] = tensor.to("cpu", dtype, copy=copy or slice_of_more).contiguous()
    network = found.network.to(dtype)
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False)
