"""Restore: aligned crops through the network, in bounded batches, with every fall-back said.

The loop knows three troubles and one answer to each: memory runs out -> see `memory.allowance`;
half precision overflows -> that batch again in fp32; the host wants to stop -> its exception passes
through between two batches.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import GPENError, InputError
from ..hooks import Hooks
from ..images.fade import Fade
from ..images.layouts import fit, from_network, to_network
from ..images.monochrome import Tone
from ..memory.allowance import Allowance, moved
from ..options import RestoreOptions
from ..tasks.known import task_named
from ..text import counted
from .found import Faces

if TYPE_CHECKING:
    from ..models.model import Model

# Output size from which a batch is no faster than its faces alone, on a CPU.
_ALONE = 512


@dataclass(frozen=True)
class Look:
    """How a face's picture looks as a whole, which the face keeps, and what is missing of it.

    Attributes:
        tone: None where it has colors.
        fade: None where it is not faded.
        hole: (1, S, S) 0..1, 1 where the crop's pixels are missing; None where nobody said so.

    Example:
        >>> Look(Tone()).tone.is_gray
        True
    """

    tone: Tone | None = None
    fade: Fade | None = None
    hole: Tensor | None = None


def restore(
    faces: Faces,
    model: Model,
    options: RestoreOptions | None = None,
    hooks: Hooks | None = None,
) -> Faces:
    """The faces with `restored` (N, 3, T, T) -1..1 filled in, on the device of `crops`.

    What is made of them follows the model's task, see `tasks`. T is the model's output size; of a
    model that colorizes or inpaints, the crops' own. Crops of another size than the model's input
    are resized. A face of a picture in one tone comes back in that tone, unless it is colored; one
    of a faded picture goes through the network with more contrast, which is taken back. Restoring
    a face alone or among others gives the same result.

    Raises:
        InputError: the faces have not been aligned, or a model that inpaints was given no holes.
        OutOfMemory: not even one face fits, on the CPU.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> from gpen_core.models.load import load_model
        >>> restore(as_faces(torch.rand(1, 3, 256, 256), "gpen"), load_model()).restored.shape
        torch.Size([1, 3, 256, 256])
    """
    if faces.crops is None:
        raise InputError("These faces have no crops; align them first.")
    options, hooks = options or RestoreOptions(), hooks or Hooks()
    # Two restorers in a row: the second one improves what the first one made.
    inputs = faces.crops if faces.restored is None else faces.restored
    if len(faces) == 0:
        size = task_named(model.task).size(inputs.shape[-1], model.output_size)
        return faces.with_(restored=faces.crops.new_zeros(0, 3, size, size))
    holes = [None] * len(faces) if faces.holes is None else list(faces.holes)
    parts = zip(faces.tones_of_faces(), faces.fades_of_faces(), holes, strict=True)
    looks = [Look(tone, fade, hole) for tone, fade, hole in parts]
    restored = restore_crops(inputs, model, options, hooks, looks)
    return faces.with_(restored=restored)


def restore_crops(
    crops: Tensor,
    model: Model,
    options: RestoreOptions,
    hooks: Hooks,
    looks: Sequence[Look] = (),
) -> Tensor:
    """(N, 3, S, S) -1..1 -> (N, 3, T, T) -1..1 on the same device, in batches.

    Args:
        crops: aligned faces.
        model, options, hooks: see `restore`.
        looks: of the picture of each crop; unless given, all have colors and none is faded.

    Raises:
        InputError: the model inpaints, and a crop has no hole.

    Example:
        >>> from gpen_core.models.load import load_model
        >>> crops = torch.zeros(1, 3, 128, 128)
        >>> restore_crops(crops, load_model(), RestoreOptions(strength=0.5), Hooks()).shape
        torch.Size([1, 3, 256, 256])
    """
    total, task = len(crops), task_named(model.task)
    size = task.size(crops.shape[-1], model.output_size)
    runner_on = functools.cache(functools.partial(moved, model))

    def batch(chosen: slice, device: torch.device) -> Tensor:
        chunk, runner = crops[chosen], runner_on(device)
        hooks.prepare(runner, len(chunk))
        own = looks[chosen]
        holes = _holes(own)
        inputs = task.prepare(_fresh(chunk, own), holes, model.input_size)
        outputs = _restore_batch(inputs, runner, options, hooks).to(chunk.device)
        if not task.keeps_tone:
            own = [replace(look, tone=None) for look in own]
        outputs = task.combine(chunk, _as_pictures(outputs, own), holes)
        return blend(chunk, outputs, options.strength)

    allowance = Allowance(
        "restoring faces",
        hooks.event,
        at_once=min(at_once(model, options), total),
        device=model.device,
    )
    room = Allowance("restoring faces", hooks.event, device=crops.device)
    restored = room(lambda _, device: torch.empty(total, 3, size, size, device=device))
    for chosen, faces in allowance.over(total, batch):
        restored[chosen] = faces
        hooks.progress("restore", chosen.stop, total)
    return restored


def at_once(model: Model, options: RestoreOptions) -> int:
    """How many faces a pass of the network gets at most: large ones go alone on a CPU.

    There they take as long in a batch (512 and 1024 px: within 2 % a face), and memory for each.

    Example:
        >>> from gpen_core.models.load import load_model
        >>> at_once(load_model(), RestoreOptions(batch_size=8))
        8
    """
    alone = model.device.type == "cpu" and model.output_size >= _ALONE
    return 1 if alone else options.batch_size


def _holes(looks: Sequence[Look]) -> Tensor | None:
    """(N, 1, S, S) of the crops that these looks are of; None where one has none."""
    holes = [look.hole for look in looks if look.hole is not None]
    return torch.stack(holes) if holes and len(holes) == len(looks) else None


def _restore_batch(inputs: Tensor, model: Model, options: RestoreOptions, hooks: Hooks) -> Tensor:
    inputs = inputs.to(model.device, torch.float32)
    outputs = model(inputs, seed=options.seed).float()
    if not bool(torch.isfinite(outputs).all()):
        outputs = _restore_in_fp32(inputs, model, options, hooks)
    return outputs.clamp(-1, 1)


def _fresh(crops: Tensor, looks: Sequence[Look]) -> Tensor:
    """Crops (N, 3, S, S) -1..1, those of faded pictures with more contrast; others bit for bit.

    Networks have learned from pictures with contrast: of a faded face they make a dark outline
    around a flat one.
    """
    if all(look.fade is None for look in looks):
        return crops
    fresh = crops.clone()
    for index, look in enumerate(looks):
        if look.fade is not None:
            fresh[index] = to_network(look.fade.fresh(from_network(crops[index : index + 1])))[0]
    return fresh


def _as_pictures(faces: Tensor, looks: Sequence[Look]) -> Tensor:
    """Faces (N, 3, T, T) -1..1 in the contrast and the tones of their pictures."""
    for index, look in enumerate(looks):
        if look.fade is None and look.tone is None:
            continue
        face = from_network(faces[index : index + 1])
        face = face if look.fade is None else look.fade.faded(face)
        face = face if look.tone is None else look.tone.apply(face)
        faces[index] = to_network(face)[0]
    return faces


def blend(crops: Tensor, faces: Tensor, strength: float | Tensor) -> Tensor:
    """Restored faces (N, 3, T, T) mixed with what they were made from (N, 3, S, S).

    Args:
        crops, faces: -1..1.
        strength: 0..1, 1 is the restored face; for all, or (N,).

    Example:
        >>> before, after = torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 8, 8)
        >>> blend(before, after, torch.tensor([0.0, 1.0])).mean(dim=(1, 2, 3))
        tensor([0., 1.])
    """
    if isinstance(strength, Tensor):
        weights = strength.to(faces).view(-1, 1, 1, 1)
        return torch.lerp(fit(crops.to(faces), faces.shape[-1]), faces, weights)
    if strength == 1:
        return faces
    return torch.lerp(fit(crops.float(), faces.shape[-1]), faces, strength)


def _restore_in_fp32(inputs: Tensor, model: Model, options: RestoreOptions, hooks: Hooks) -> Tensor:
    """The same batch in fp32, after half precision gave NaN or infinity."""
    if model.precision == "fp32":
        raise GPENError(
            "The network returned NaN or infinite values in fp32; its file may be damaged."
        )
    again = counted(len(inputs), "face")
    hooks.event(f"{model.precision} overflowed; {again} restored again in fp32.")
    outputs = model.with_precision("fp32")(inputs, seed=options.seed)
    if not bool(torch.isfinite(outputs).all()):
        raise GPENError(
            "The network returned NaN or infinite values in fp32; its file may be damaged."
        )
    return outputs
