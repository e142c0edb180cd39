"""Restore: aligned crops through the network, in bounded batches, with every fall-back said.

The loop knows three troubles and one answer to each: memory runs out -> half the batch, and at one
face the CPU; half precision overflows -> that batch again in fp32; the host wants to stop -> its
exception passes through between two batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import GPENError, InputError
from ..hooks import Hooks
from ..images.fade import Fade
from ..images.layouts import from_network, resize, to_network
from ..images.monochrome import Tone
from ..options import RestoreOptions
from ..text import counted
from .found import Faces

if TYPE_CHECKING:
    from ..models.model import Model

OUT_OF_MEMORY: tuple[type[BaseException], ...] = (torch.OutOfMemoryError, MemoryError)
_OUT_OF_MEMORY_TEXTS = ("out of memory", "can't allocate memory", "not enough memory")

# Output size from which a batch is no faster than its faces alone, on a CPU.
_ALONE = 512


@dataclass(frozen=True)
class Look:
    """How a picture looks as a whole, which its restored faces keep.

    Attributes:
        tone: None where it has colors.
        fade: None where it is not faded.
    """

    tone: Tone | None = None
    fade: Fade | None = None


def restore(
    faces: Faces,
    model: Model,
    options: RestoreOptions | None = None,
    hooks: Hooks | None = None,
) -> Faces:
    """The faces with `restored` (N, 3, T, T) -1..1 filled in, on the device of `crops`.

    T is the model's output size. Crops of another size than the model's input are resized. A face
    of a picture in one tone comes back in that tone; one of a faded picture goes through the
    network with more contrast, which is taken back. Restoring a face alone or among others gives
    the same result.

    Raises:
        InputError: the faces have not been aligned.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> from gpen_core.models.load import load_model
        >>> restore(as_faces(torch.rand(1, 3, 256, 256), "gpen"), load_model()).restored.shape
        torch.Size([1, 3, 256, 256])
    """
    if faces.crops is None:
        raise InputError("These faces have no crops; align them first.")
    options, hooks = options or RestoreOptions(), hooks or Hooks()
    size = model.output_size
    if len(faces) == 0:
        return faces.with_(restored=faces.crops.new_zeros(0, 3, size, size))
    # Two restorers in a row: the second one improves what the first one made.
    inputs = faces.crops if faces.restored is None else faces.restored
    pairs = zip(faces.tones_of_faces(), faces.fades_of_faces(), strict=True)
    looks = [Look(tone, fade) for tone, fade in pairs]
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

    Example:
        >>> from gpen_core.models.load import load_model
        >>> crops = torch.zeros(1, 3, 128, 128)
        >>> restore_crops(crops, load_model(), RestoreOptions(strength=0.5), Hooks()).shape
        torch.Size([1, 3, 256, 256])
    """
    total, size = len(crops), model.output_size
    restored = torch.empty(total, 3, size, size, dtype=torch.float32, device=crops.device)
    batch, done = min(at_once(model, options), total), 0
    runner = model
    while done < total:
        chunk = crops[done : done + batch]
        try:
            hooks.prepare(runner, len(chunk))
            own = looks[done : done + len(chunk)]
            outputs = _restore_batch(_fresh(chunk, own), runner, options, hooks)
            outputs = _as_pictures(outputs, own)
            restored[done : done + len(chunk)] = _blend(chunk, outputs, options.strength)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            runner, batch = _after_out_of_memory(runner, batch, hooks, error)
            continue
        done += len(chunk)
        hooks.progress("restore", done, total)
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


def _restore_batch(crops: Tensor, model: Model, options: RestoreOptions, hooks: Hooks) -> Tensor:
    inputs = fit(crops, model.input_size).to(model.device, torch.float32)
    outputs = model(inputs, seed=options.seed).float()
    if not bool(torch.isfinite(outputs).all()):
        outputs = _restore_in_fp32(inputs, model, options, hooks)
    return outputs.clamp(-1, 1).to(crops.device)


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


def _blend(crops: Tensor, faces: Tensor, strength: float) -> Tensor:
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


def _after_out_of_memory(
    model: Model, batch: int, hooks: Hooks, error: Exception
) -> tuple[Model, int]:
    """The next model and batch size to try, or the error where nothing is left to try."""
    if model.device.type == "cuda":
        torch.cuda.empty_cache()
    if batch > 1:
        hooks.event(f"Out of memory with {batch} faces at once; continuing with {batch // 2}.")
        return model, batch // 2
    if model.device.type != "cpu":
        hooks.event(f"Out of memory on {model.device} with one face; continuing on the CPU.")
        return model.on("cpu"), 1
    raise GPENError("Not enough memory to restore a single face; use a smaller model.") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch or Python ran out of memory, on any device.

    Example:
        >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError("wrong shape"))
        (True, False)
    """
    if isinstance(error, OUT_OF_MEMORY):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(part in text for part in _OUT_OF_MEMORY_TEXTS)


def fit(crops: Tensor, size: int) -> Tensor:
    """(N, 3, S, S) -1..1 resized to `size`, antialiased; the same tensor where it fits already."""
    if crops.shape[-1] == size:
        return crops
    return to_network(resize(from_network(crops), (size, size)))
