"""Restore: aligned crops through the network, in bounded batches, with every fall-back said.

The loop knows three troubles and one answer to each: memory runs out -> half the batch, and at one
face the CPU; half precision overflows -> that batch again in fp32; the host wants to stop -> its
exception passes through between two batches.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import GPENError, InputError
from ..images.layouts import from_network, resize, to_network
from .found import Faces

if TYPE_CHECKING:
    from ..models.model import Model

log = logging.getLogger(__name__)

OUT_OF_MEMORY: tuple[type[BaseException], ...] = (torch.OutOfMemoryError, MemoryError)
_OUT_OF_MEMORY_TEXTS = ("out of memory", "can't allocate memory", "not enough memory")

# Output size from which a batch is no faster than its faces alone, on a CPU.
_ALONE = 512


@dataclass(frozen=True)
class RestoreOptions:
    """How the crops are restored.

    Attributes:
        strength: 0..1; the result is `strength * restored + (1 - strength) * aligned input`.
        batch_size: largest number of faces in one pass of the network, at least 1; on a CPU faces
            of 512 px and more go one by one.
        seed: of the noise that super-resolution models need above their input size.
    """

    strength: float = 1.0
    batch_size: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise InputError(f"strength must be from 0 to 1, not {self.strength}.")
        if self.batch_size < 1:
            raise InputError(f"The face batch must hold at least 1 face, not {self.batch_size}.")


@dataclass
class Monitor:
    """What a caller may hook into a run of the network, and what the run tells it.

    Attributes:
        prepare: called with the number of faces before every pass; a host frees memory here.
        progress: called with the number of faces just done; raising from it stops the run.
        events: fall-backs that happened, one sentence each; each is logged as a warning too.
    """

    prepare: Callable[[Model, int], None] = lambda model, faces: None
    progress: Callable[[int], None] = lambda faces: None
    events: list[str] = field(default_factory=list)

    def tell(self, sentence: str) -> None:
        """Log a fall-back and keep it for the report."""
        log.warning(sentence)
        self.events.append(sentence)


def restore(
    faces: Faces,
    model: Model,
    options: RestoreOptions | None = None,
    monitor: Monitor | None = None,
) -> Faces:
    """The faces with `restored` (N, 3, T, T) -1..1 filled in, on the device of `crops`.

    T is the model's output size. Crops of another size than the model's input are resized.
    Restoring a face alone or among others gives the same result.

    Raises:
        InputError: the faces have not been aligned.
    """
    if faces.crops is None:
        raise InputError("These faces have no crops; align them before restoring.")
    options, monitor = options or RestoreOptions(), monitor or Monitor()
    size = model.output_size
    if len(faces) == 0:
        return faces.with_(restored=faces.crops.new_zeros(0, 3, size, size))
    # Two restorers in a row: the second one improves what the first one made.
    inputs = faces.crops if faces.restored is None else faces.restored
    return faces.with_(restored=restore_crops(inputs, model, options, monitor))


def restore_crops(crops: Tensor, model: Model, options: RestoreOptions, monitor: Monitor) -> Tensor:
    """(N, 3, S, S) -1..1 -> (N, 3, T, T) -1..1 on the same device, in batches."""
    total, size = len(crops), model.output_size
    restored = torch.empty(total, 3, size, size, dtype=torch.float32, device=crops.device)
    batch, done = min(at_once(model, options), total), 0
    runner = model
    while done < total:
        chunk = crops[done : done + batch]
        try:
            monitor.prepare(runner, len(chunk))
            restored[done : done + len(chunk)] = _restore_batch(chunk, runner, options, monitor)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            runner, batch = _after_out_of_memory(runner, batch, monitor, error)
            continue
        done += len(chunk)
        monitor.progress(len(chunk))
    return restored


def at_once(model: Model, options: RestoreOptions) -> int:
    """How many faces a pass of the network gets at most: large ones go alone on a CPU.

    There they take as long in a batch (512 and 1024 px: within 2 % a face), and memory for each.
    """
    alone = model.device.type == "cpu" and model.output_size >= _ALONE
    return 1 if alone else options.batch_size


def _restore_batch(
    crops: Tensor, model: Model, options: RestoreOptions, monitor: Monitor
) -> Tensor:
    inputs = fit(crops, model.input_size).to(model.device, torch.float32)
    outputs = model(inputs, seed=options.seed).float()
    if not bool(torch.isfinite(outputs).all()):
        outputs = _restore_in_fp32(inputs, model, options, monitor)
    outputs = outputs.clamp(-1, 1).to(crops.device)
    if options.strength < 1:
        aligned = fit(crops.float(), model.output_size)
        outputs = torch.lerp(aligned, outputs, options.strength)
    return outputs


def _restore_in_fp32(
    inputs: Tensor, model: Model, options: RestoreOptions, monitor: Monitor
) -> Tensor:
    """The same batch in fp32, after half precision gave NaN or infinity."""
    if model.precision == "fp32":
        raise GPENError("The network gave NaN or infinite values in fp32; is its file damaged?")
    monitor.tell(f"{model.precision} gave non-finite values; {len(inputs)} face(s) redone in fp32.")
    outputs = model.with_precision("fp32")(inputs, seed=options.seed)
    if not bool(torch.isfinite(outputs).all()):
        raise GPENError("The network gave NaN or infinite values in fp32; is its file damaged?")
    return outputs


def _after_out_of_memory(
    model: Model, batch: int, monitor: Monitor, error: Exception
) -> tuple[Model, int]:
    """The next model and batch size to try, or the error where nothing is left to try."""
    if model.device.type == "cuda":
        torch.cuda.empty_cache()
    if batch > 1:
        monitor.tell(f"Out of memory with {batch} faces at once; going on with {batch // 2}.")
        return model, batch // 2
    if model.device.type != "cpu":
        monitor.tell(f"Out of memory on {model.device} with one face; going on on the CPU.")
        return model.on("cpu"), 1
    raise GPENError("Not enough memory to restore a single face; use a smaller model.") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch or Python ran out of memory, on any device."""
    if isinstance(error, OUT_OF_MEMORY):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(part in text for part in _OUT_OF_MEMORY_TEXTS)


def fit(crops: Tensor, size: int) -> Tensor:
    """(N, 3, S, S) -1..1 resized to `size`, antialiased; the same tensor where it fits already."""
    if crops.shape[-1] == size:
        return crops
    return to_network(resize(from_network(crops), (size, size)))
