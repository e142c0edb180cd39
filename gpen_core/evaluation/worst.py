"""The faces that a model restores worst, by each metric: where a good mean hides what is bad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..dataset.degradation import degrade
from ..dataset.sources import Face
from ..errors import InputError
from ..faces.restore import restore_crops
from ..hooks import Hooks
from ..images.grid import grid
from ..images.layouts import from_network, to_network
from ..metrics.catalogue import METRICS
from ..models.model import Model
from ..options import RestoreOptions
from .compare import MODEL, Figures, Options, as_posed
from .faces import cut


def worst(values: Tensor, *, higher: bool, count: int = 10) -> list[int]:
    """Indices of the `count` worst of (N,) values, the worst first.

    Args:
        values: figures of one metric.
        higher: whether higher is better.
        count: at most so many.

    Example:
        >>> worst(torch.tensor([3.0, 1.0, 2.0]), higher=True, count=2)
        [1, 2]
    """
    order = values.argsort(descending=not higher, stable=True)
    return order[:count].tolist()


def worst_sheets(
    model: Model, figures: Figures, options: Options, count: int = 10
) -> dict[tuple[str, str], Tensor]:
    """(preset, metric) -> a sheet (3, H, W) 0..1: degraded | restored | truth of the worst faces.

    The faces are damaged and restored once more, with the seeds they were measured with.

    Args:
        model: the one measured.
        figures: what was measured.
        options: with which.
        count: faces on a sheet.

    Raises:
        InputError: `count` is below 1.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> from gpen_core.models.load import load_model
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = f"{folder}/face.png"
        ...     Image.new("RGB", (320, 320)).save(path)
        ...     values = {MODEL: {"psnr": torch.tensor([20.0])}}
        ...     figures = Figures([Face(path, "studio")], {"mild": values}, [], [])
        ...     sheets = worst_sheets(load_model(), figures, Options(("mild",)))
        >>> sheets["mild", "psnr"].shape
        torch.Size([3, 280, 768])
    """
    if count < 1:
        raise InputError(f"A sheet of the worst faces needs at least 1, not {count}.")
    sheets = {}
    for damage in options.presets:
        chosen = {
            name: worst(values, higher=METRICS[name].higher, count=count)
            for name, values in figures.values[damage][MODEL].items()
        }
        needed = sorted({index for indices in chosen.values() for index in indices})
        rows = {
            index: _row(model, figures.faces, index, replace(options, presets=(damage,)))
            for index in needed
        }
        for name, indices in chosen.items():
            values = figures.values[damage][MODEL][name]
            label, digits = METRICS[name].label, METRICS[name].digits
            span = f"{values[indices[0]]:.{digits}f}..{values[indices[-1]]:.{digits}f}"
            titles = [f"{damage}: degraded", f"worst {label}", f"truth ({span})"]
            sheets[damage, name] = grid([rows[index] for index in indices], titles)
    return sheets


@torch.inference_mode()
def _row(model: Model, faces: Sequence[Face], index: int, options: Options) -> list[Tensor]:
    """Degraded, restored, truth of one face, (3, S, S) 0..1 each."""
    truth = cut([faces[index]], model.output_size).to(model.device)
    damaged = degrade(truth, options.presets[0], options.seed + index)
    restoring = RestoreOptions(batch_size=1, seed=options.seed)
    damaged, looks = as_posed(model, damaged, options.seed + index)
    restored = restore_crops(to_network(damaged), model, restoring, Hooks(), looks)
    return [damaged[0].cpu(), from_network(restored[0]).cpu(), truth[0].cpu()]
