"""Aligned faces on disk -> training pairs, every step drawn from its own seed.

A step's batch depends on the run's seed and the step's number alone, so that a resumed run sees
the pictures an unbroken run would have seen.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..degradation import Degradation, degrade
from ..errors import InputError
from .config import Data, Jitter, TrainConfig

CANVAS = 320
RIM = 32
# Pixels of the FFHQ alignment at 256 px (the canvas without its rim) -> the GPEN template at 256
# px: the least-squares similarity between the two five-point templates (it turns by 0.01 degrees,
# left out).
GPEN_SCALE = 0.890178
FFHQ_CENTRE = (128.2869, 153.6722)  # the mean of the FFHQ points ...
GPEN_CENTRE = (128.0399, 152.2298)  # ... lands on that of the GPEN points
_SEED_STRIDE = 1_000_003


@dataclass(frozen=True)
class Face:
    """One row of the manifest."""

    path: Path
    source: str
    inside: float
    """Share of the crop that lies inside the source picture, 0..1."""


@dataclass(frozen=True)
class Batch:
    """Pairs for one step: RGB (N, 3, S, S) -1..1 and the loss's weights (N, 1, S, S) 0..1."""

    degraded: Tensor
    truth: Tensor
    weight: Tensor

    def to(self, device: torch.device | str) -> Batch:
        return Batch(self.degraded.to(device), self.truth.to(device), self.weight.to(device))


def read_manifest(data: Data) -> list[Face]:
    """The faces a run may use, in the manifest's order.

    Raises:
        InputError: no manifest, a column or a picture is missing, or no row is left.
    """
    manifest = data.root / "manifest.csv"
    if not manifest.is_file():
        raise InputError(f"The training data have no manifest: {manifest} is missing.")
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = {"file", "source", "strict", "inside"} - set(rows[0] if rows else ())
    if missing:
        raise InputError(f"{manifest} lacks the columns {', '.join(sorted(missing))}.")
    faces = [
        Face(data.root / row["file"], row["source"], float(row["inside"]))
        for row in rows
        if row["source"] not in data.exclude
        and (not data.strict_only or row["strict"] == "1" or row["source"] in data.also)
    ]
    if not faces:
        raise InputError(f"{manifest} leaves no face to train on; loosen strict_only or exclude.")
    for face in faces:
        if not face.path.is_file():
            raise InputError(f"{manifest} names a picture that is missing: {face.path}.")
    return faces


def split(faces: Sequence[Face], data: Data) -> tuple[list[Face], list[Face]]:
    """(training, validation): the last share of every source is held out.

    The last files rather than random ones: a source keeps the shots of one person together, so a
    person is on one side, but for the one at the boundary.
    """
    by_source: dict[str, list[Face]] = defaultdict(list)
    for face in faces:
        by_source[face.source].append(face)
    training, validation = [], []
    for group in by_source.values():
        kept = len(group) - max(1, round(data.holdout * len(group)))
        training += group[:kept]
        validation += group[kept:]
    if not training:
        raise InputError("The training data are too few: everything fell into the validation set.")
    stride = max(1, math.ceil(len(validation) / data.max_validation))
    return training, validation[::stride]


class PairSampler:
    """Draws the batch of a step."""

    def __init__(self, faces: Sequence[Face], config: TrainConfig) -> None:
        self.faces = list(faces)
        self.config = config
        self.recipes = [damage.recipe() for damage in config.damage]
        self.shares = torch.tensor([damage.share for damage in config.damage])
        weights = config.data.weights
        self.weights = torch.tensor([weights.get(face.source, 1.0) for face in faces])

    def batch(self, step: int) -> Batch:
        """The pairs of a step, the same for the same seed, step and data."""
        config = self.config
        generator = torch.Generator().manual_seed(config.seed * _SEED_STRIDE + step)
        chosen = torch.multinomial(
            self.weights, config.batch_size, replacement=True, generator=generator
        )
        recipes = torch.multinomial(
            self.shares, config.batch_size, replacement=True, generator=generator
        )
        pairs = []
        for face, recipe in zip(chosen.tolist(), recipes.tolist(), strict=True):
            draws = torch.rand(5, generator=generator).tolist()
            seed = int(torch.randint(2**31, (1,), generator=generator))
            placement = Placement.draw(config.jitter, draws)
            pairs.append(
                make_pair(
                    self.faces[face], config.model.size, placement, self.recipes[recipe], seed
                )
            )
        return Batch(*(torch.cat(part) for part in zip(*pairs, strict=True)))


@dataclass(frozen=True)
class Placement:
    """Where a crop lies, relative to the GPEN template."""

    rotation: float = 0.0
    """Radians."""
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    """Share of the crop's side."""
    flip: bool = False

    @classmethod
    def draw(cls, jitter: Jitter, draws: Sequence[float]) -> Placement:
        """From five numbers 0..1."""
        low, high = jitter.scale
        return cls(
            rotation=math.radians(jitter.rotation) * (2 * draws[0] - 1),
            scale=low + (high - low) * draws[1],
            shift=(jitter.shift * (2 * draws[2] - 1), jitter.shift * (2 * draws[3] - 1)),
            flip=jitter.flip and draws[4] < 0.5,
        )


def make_pair(
    face: Face, size: int, placement: Placement, recipe: Degradation | str, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(degraded, truth, weight) of one face: (1, 3, S, S) -1..1 twice, (1, 1, S, S) 0..1."""
    truth, weight = crop(face, size, placement)
    degraded = degrade(truth, recipe, seed)
    return degraded * 2 - 1, truth * 2 - 1, weight


def crop(face: Face, size: int, placement: Placement) -> tuple[Tensor, Tensor]:
    """A face in the GPEN template: (1, 3, S, S) 0..1 and its weights (1, 1, S, S).

    The rim of the canvas may be made up (replicated and blurred), so it counts by the face's
    `inside`; what lies outside the canvas does not count.
    """
    canvas = _read(face.path)
    weight = torch.full((1, 1, CANVAS, CANVAS), face.inside)
    weight[..., RIM:-RIM, RIM:-RIM] = 1
    if placement.flip:
        canvas, weight = canvas.flip(-1), weight.flip(-1)
    grid = _grid(size, placement)
    if size < 256:
        # Sampling on a coarser grid would alias.
        shrunk = round(CANVAS * size / 256)
        canvas = F.interpolate(canvas, (shrunk, shrunk), mode="bilinear", antialias=True)
    truth = F.grid_sample(canvas, grid, mode="bicubic", padding_mode="border", align_corners=False)
    counted = F.grid_sample(weight, grid, padding_mode="zeros", align_corners=False)
    return truth.clamp(0, 1), counted


def validation_pairs(
    faces: Sequence[Face], size: int, recipe: Degradation | str, seed: int = 0
) -> Batch:
    """Every face once, exactly in the template, degraded with the seeds `seed + i`."""
    pairs = [
        make_pair(face, size, Placement(), recipe, seed + index) for index, face in enumerate(faces)
    ]
    return Batch(*(torch.cat(part) for part in zip(*pairs, strict=True)))


def _read(path: Path) -> Tensor:
    try:
        with Image.open(path) as image:
            pixels = np.array(image.convert("RGB"))
    except OSError as error:
        raise InputError(f"The training picture {path} cannot be read: {error}") from error
    if pixels.shape != (CANVAS, CANVAS, 3):
        raise InputError(
            f"The training picture {path} must be {CANVAS} x {CANVAS}, not "
            f"{pixels.shape[1]} x {pixels.shape[0]}."
        )
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def _grid(size: int, placement: Placement) -> Tensor:
    """Sampling grid (1, S, S, 2) of a crop over the canvas, -1..1 from edge to edge."""
    unit = 256 / size
    shift_x, shift_y = (part * 256 for part in placement.shift)
    zoom = GPEN_SCALE * placement.scale
    cos, sin = math.cos(placement.rotation) / zoom, math.sin(placement.rotation) / zoom
    centres = (torch.arange(size) + 0.5) * unit - 0.5
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    x, y = x - GPEN_CENTRE[0] - shift_x, y - GPEN_CENTRE[1] - shift_y
    source_x = cos * x + sin * y + FFHQ_CENTRE[0] + RIM
    source_y = -sin * x + cos * y + FFHQ_CENTRE[1] + RIM
    return torch.stack((2 * source_x + 1, 2 * source_y + 1), dim=-1)[None] / CANVAS - 1
