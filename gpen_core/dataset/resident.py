"""Faces that stay on the device: cut out, damaged and judged there, without a file in between."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from ..errors import InputError
from .degradation import degrade_each
from .pairs import Batch, Framing, PairSampler, Plan, crops, read_pixels, reduce
from .posing import posed
from .regions import focus
from .sources import Face


class ResidentSampler(PairSampler):
    """`PairSampler` with every picture decoded once, into one uint8 tensor on the device.

    It draws the same faces, placements and damage for a step. Noise is the device's and JPEG is
    computed on tensors (`degrade`, `portable=False`), so pixels differ from those of `PairSampler`.
    2,591 pictures of 320 px take 0.8 GB.

    Args:
        faces: what to draw from; pictures of one size, in one template, with one rim.
        plan: of the run.
        device: where they stay.
        processes: how many share a step.
        index: which of them this is, from 0.

    Raises:
        InputError: a picture cannot be read, or is of another size.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> from gpen_core.dataset.degradation import Degradation
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = f"{folder}/face.png"
        ...     Image.new("RGB", (320, 320)).save(path)
        ...     plan = Plan(64, [(1, Degradation())], batch_size=2)
        ...     sampler = ResidentSampler([Face(path, "studio")], plan, torch.device("cpu"))
        >>> sampler.batch(step=0).degraded.shape
        torch.Size([2, 3, 64, 64])
    """

    def __init__(
        self,
        faces: Sequence[Face],
        plan: Plan,
        device: torch.device,
        processes: int = 1,
        index: int = 0,
    ) -> None:
        super().__init__(faces, plan, processes, index)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            pixels = list(pool.map(read_pixels, self.faces))
        for face, picture in zip(self.faces, pixels, strict=True):
            if picture.shape != pixels[0].shape:
                raise InputError(
                    f"Faces that stay on the device must have one size; {face.path} has "
                    f"{picture.shape[-1]} px, not {pixels[0].shape[-1]}."
                )
        self.device = device
        self.canvases = torch.stack(pixels).to(device)
        self.inside = torch.tensor([face.inside for face in self.faces]).to(device)
        self.framing = Framing(self.faces[0].template, self.faces[0].rim)

    def __getitem__(self, number: int) -> Batch:
        step, part = divmod(number, self.plan.accumulate)
        drawn = self._draw(step)[slice(*self.share(part))]
        plan = self.plan
        chosen = torch.tensor([draw.face for draw in drawn]).to(self.device)
        canvases = self.canvases[chosen].float() / 255
        placements = [draw.placement for draw in drawn]
        truth, weight = crops(
            canvases, self.inside[chosen], placements, plan.damage_size or plan.size, self.framing
        )
        recipes = [plan.recipes[draw.recipe][1] for draw in drawn]
        seeds = [draw.seed for draw in drawn]
        degraded = degrade_each(truth, recipes, seeds, portable=False)
        truth, degraded, weight = (reduce(one, plan.size) for one in (truth, degraded, weight))
        degraded, truth, holes = posed(plan.task, degraded, truth, seeds)
        places = torch.cat([placement.row() for placement in placements]).to(self.device)
        counted = focus(plan.factors, plan.size, places)
        return Batch(degraded * 2 - 1, truth * 2 - 1, weight, counted, places, holes)
