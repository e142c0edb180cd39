"""How well a network restores faces it has not seen."""

from __future__ import annotations

import torch
from torch import Tensor

from ..dataset.pairs import Batch
from ..images.grid import grid
from ..images.layouts import from_network
from ..metrics.pixels import psnr
from ..tasks.task import Task
from .likeness import PerceptualLosses
from .second import Restorer, answer

_BATCH = 4


@torch.inference_mode()
def restore_pairs(net: Restorer, pairs: Batch, task: Task, batch_size: int = _BATCH) -> Tensor:
    """What is made (N, 3, S, S) of every degraded face, on the CPU."""
    device = next(net.parameters()).device
    parts = [
        answer(net, part.to(device)).float().cpu() for part in pairs.degraded.split(batch_size)
    ]
    return task.combine(pairs.degraded, torch.cat(parts), pairs.holes)


def compare(
    net: Restorer, pairs: Batch, perceptual: PerceptualLosses, task: Task
) -> dict[str, float]:
    """Mean PSNR in dB of the degraded faces, of the restored ones, and the gain.

    And the restored faces' LPIPS and identity, where a loss has loaded the network for it.
    """
    faces = restore_pairs(net, pairs, task)
    restored = psnr(faces, pairs.truth).mean().item()
    degraded = psnr(pairs.degraded, pairs.truth).mean().item()
    measured = _measure(perceptual, faces, pairs.truth, next(net.parameters()).device)
    return {
        "psnr_degraded": degraded,
        "psnr": restored,
        "gain": restored - degraded,
        **measured,
    }


def _measure(
    perceptual: PerceptualLosses, faces: Tensor, truth: Tensor, device: torch.device
) -> dict[str, float]:
    parts = [
        perceptual.measure(a.to(device), b.to(device))
        for a, b in zip(faces.split(_BATCH), truth.split(_BATCH), strict=True)
    ]
    return {name: torch.cat([part[name] for part in parts]).mean().item() for name in parts[0]}


def sheet(pairs: Batch, restored: Tensor) -> Tensor:
    """Degraded | restored | truth, a row a face: (3, H, W) 0..1."""
    columns = [from_network(faces) for faces in (pairs.degraded, restored, pairs.truth)]
    return grid(list(zip(*columns, strict=True)), ["degraded", "restored", "truth"])
