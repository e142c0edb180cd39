"""Aligned faces on disk -> training pairs, every step drawn from its own seed.

A step's batch depends on the run's seed and the step's number alone, so that a resumed run sees
the pictures an unbroken run would have seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import InputError
from .degradation import Degradation, degrade
from .placement import Jitter, Placement
from .posing import posed
from .regions import focus
from .sources import Face

# Pixels of an alignment at 256 px (a picture without its rim) -> the GPEN template at 256 px: for
# FFHQ the least-squares similarity between the two five-point templates (it turns by 0.01 degrees,
# left out). Scale, and the mean of the five points.
_UNITS = 256
_SCALES = {"ffhq": 0.890178, "gpen": 1.0}
_CENTERS = {"ffhq": (128.2869, 153.6722), "gpen": (128.0399, 152.2298)}
_SEED_STRIDE = 1_000_003


@dataclass(frozen=True)
class Batch:
    """Pairs for one step.

    Attributes:
        degraded: (N, 3, S, S), RGB -1..1.
        truth: the same shape.
        weight: (N, 1, S, S), 0..1: how far each pixel of the truth can be trusted.
        focus: (N, 1, S, S), from 1 up: how much a pixel counts because of where in the face it is.
        places: (N, 4), `Placement.row` of each pair.
        holes: (N, 1, S, S), 1 where the degraded picture has a hole, see `posing`.

    Example:
        >>> pictures, ones = torch.zeros(4, 3, 64, 64), torch.ones(4, 1, 64, 64)
        >>> places = Placement().row().expand(4, -1)
        >>> Batch(pictures, pictures, ones, ones, places, 0 * ones).first(2).truth.shape
        torch.Size([2, 3, 64, 64])
    """

    degraded: Tensor
    truth: Tensor
    weight: Tensor
    focus: Tensor
    places: Tensor
    holes: Tensor

    @classmethod
    def of(cls, pairs: Iterable[Batch]) -> Batch:
        """Several, one after the other."""
        columns = zip(*(pair.parts for pair in pairs), strict=True)
        return cls(*(torch.cat(column) for column in columns))

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """Degraded, truth, weight, focus, places, holes."""
        return self.degraded, self.truth, self.weight, self.focus, self.places, self.holes

    def first(self, count: int) -> Batch:
        """The first pairs."""
        return Batch(*(part[:count] for part in self.parts))

    def to(self, device: torch.device | str) -> Batch:
        return Batch(*(part.to(device, non_blocking=True) for part in self.parts))

    def pin_memory(self) -> Batch:
        """The same in memory that a GPU can read while the CPU goes on."""
        return Batch(*(part.pin_memory() for part in self.parts))


@dataclass(frozen=True)
class Plan:
    """What is drawn for every step of a run.

    Attributes:
        size: side of the pairs in pixels.
        recipes: kinds of damage, each with how often it is drawn relative to the others.
        damage_size: side in pixels at which pairs are damaged before they are reduced to `size`;
            `size` unless given.
        batch_size: pairs in one pass of one process.
        accumulate: passes in a step.
        seed: of everything drawn.
        weights: how often a picture of a source is drawn; 1 unless named.
        jitter: of the crops.
        factors: how much more each of `regions.NAMES` counts; 1 unless named.
        task: what the network learns, one of `posing.LEARNED`.

    Example:
        >>> damage = [(0.7, Degradation(blur=(1, 2))), (0.3, Degradation(noise=(5, 10)))]
        >>> Plan(256, damage).batch_size
        4
    """

    size: int
    recipes: Sequence[tuple[float, Degradation]]
    damage_size: int | None = None
    batch_size: int = 4
    accumulate: int = 1
    seed: int = 0
    weights: Mapping[str, float] = field(default_factory=dict)
    jitter: Jitter = field(default_factory=Jitter)
    factors: Mapping[str, float] = field(default_factory=dict)
    task: str = "restore"


class PairSampler(Dataset[Batch]):
    """Draws the batch of a step, or of one process's pass of a step.

    A step has `passes * processes` batches, drawn in one row: a run gives the same faces to a step
    whether one process takes them in one batch, or several in turns.

    Args:
        faces: what to draw from.
        plan: of the run.
        processes: how many share a step.
        index: which of them this is, from 0.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = f"{folder}/face.png"
        ...     Image.new("RGB", (320, 320)).save(path)
        ...     sampler = PairSampler([Face(path, "studio")], Plan(64, [(1, Degradation())]))
        ...     sampler.batch(step=0).degraded.shape
        torch.Size([4, 3, 64, 64])
    """

    def __init__(
        self, faces: Sequence[Face], plan: Plan, processes: int = 1, index: int = 0
    ) -> None:
        self.faces = list(faces)
        self.plan = plan
        self.processes, self.index = processes, index
        self.shares = torch.tensor([float(share) for share, _ in plan.recipes])
        self.weights = torch.tensor([plan.weights.get(face.source, 1.0) for face in faces])

    @property
    def step_size(self) -> int:
        """Faces of one step, all passes and processes together."""
        return self.plan.batch_size * self.plan.accumulate * self.processes

    def share(self, part: int) -> tuple[int, int]:
        """First face, and the one after the last, of this process's pass `part` of a step."""
        first = (part * self.processes + self.index) * self.plan.batch_size
        return first, first + self.plan.batch_size

    def batch(self, step: int) -> Batch:
        """The first pass of a step, see `__getitem__`."""
        return self[step * self.plan.accumulate]

    def __getitem__(self, number: int) -> Batch:
        """The pairs of pass `number`, counted over the run; the same for the same seed and data."""
        step, part = divmod(number, self.plan.accumulate)
        drawn = self._draw(step)[slice(*self.share(part))]
        return Batch.of(map(self._pair, drawn))

    def _draw(self, step: int) -> list[Draw]:
        count = self.step_size
        generator = torch.Generator().manual_seed(self.plan.seed * _SEED_STRIDE + step)
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        recipes = torch.multinomial(self.shares, count, replacement=True, generator=generator)
        draws = []
        for face, recipe in zip(chosen.tolist(), recipes.tolist(), strict=True):
            placement = torch.rand(5, generator=generator).tolist()
            seed = int(torch.randint(2**31, (1,), generator=generator))
            draws.append(Draw(face, recipe, Placement.draw(self.plan.jitter, placement), seed))
        return draws

    def _pair(self, draw: Draw) -> Batch:
        plan = self.plan
        damage = Damaging(plan.recipes[draw.recipe][1], draw.seed, plan.damage_size, plan.task)
        pair = make_pair(self.faces[draw.face], plan.size, draw.placement, damage)
        return replace(pair, focus=focus(plan.factors, plan.size, pair.places))


@dataclass(frozen=True)
class Draw:
    """One picture of a step: indices of its face and its damage, its placement and seed."""

    face: int
    recipe: int
    placement: Placement
    seed: int


@dataclass(frozen=True)
class Damaging:
    """What is done to a truth, at which size (side in pixels, the pair's own unless given), and for
    which task."""

    recipe: Degradation | str
    seed: int = 0
    size: int | None = None
    task: str = "restore"


def make_pair(face: Face, size: int, placement: Placement, damage: Damaging) -> Batch:
    """One face as a batch of one; every pixel has the focus 1."""
    truth, weight = crop(face, damage.size or size, placement)
    degraded = degrade(truth, damage.recipe, damage.seed)
    truth, degraded, weight = (reduce(part, size) for part in (truth, degraded, weight))
    degraded, truth, holes = posed(damage.task, degraded, truth, [damage.seed])
    focus = torch.ones_like(weight)
    return Batch(degraded * 2 - 1, truth * 2 - 1, weight, focus, placement.row(), holes)


def reduce(images: Tensor, size: int) -> Tensor:
    """(N, C, H, H) 0..1 -> (N, C, S, S), bicubic and antialiased; as they are at their own size."""
    if images.shape[-1] == size:
        return images
    reduced = F.interpolate(images, (size, size), mode="bicubic", antialias=True)
    return reduced.clamp(0, 1)


def crop(face: Face, size: int, placement: Placement) -> tuple[Tensor, Tensor]:
    """A face in the GPEN template: (1, 3, S, S) 0..1 and its weights (1, 1, S, S).

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = f"{folder}/face.png"
        ...     Image.new("RGB", (320, 320)).save(path)
        ...     truth, weight = crop(Face(path, "studio"), 256, Placement())
        >>> truth.shape, weight.shape
        (torch.Size([1, 3, 256, 256]), torch.Size([1, 1, 256, 256]))
    """
    about = Framing(face.template, face.rim)
    inside = torch.tensor([face.inside])
    return crops(read_canvas(face), inside, [placement], size, about)


@dataclass(frozen=True)
class Framing:
    """How faces lie in their pictures, see `Face`."""

    template: str
    rim: float


def crops(
    canvases: Tensor, inside: Tensor, placements: Sequence[Placement], size: int, framing: Framing
) -> tuple[Tensor, Tensor]:
    """Faces in the GPEN template: (N, 3, S, S) 0..1 and their weights (N, 1, S, S).

    The rim around the template's square may be made up (replicated and blurred), so it counts by
    the face's `inside`; what lies outside the picture does not count.

    Args:
        canvases: whole pictures (N, 3, C, C) 0..1, on any device.
        inside: (N,), of each face.
        placements: of each crop.
        size: S.
        framing: of all of them.
    """
    side = canvases.shape[-1]
    rim = round(side * framing.rim)
    weight = inside.to(canvases)[:, None, None, None].expand(-1, 1, side, side).clone()
    weight[..., rim : side - rim, rim : side - rim] = 1
    mirrored = [placement.flip for placement in placements]
    if any(mirrored):
        chosen = torch.tensor(mirrored).to(canvases.device)[:, None, None, None]
        canvases = torch.where(chosen, canvases.flip(-1), canvases)
        weight = torch.where(chosen, weight.flip(-1), weight)
    grid = _grids(size, placements, framing, canvases.device)
    core = side - 2 * rim
    if size < core:
        # Sampling on a coarser grid would alias.
        shrunk = round(side * size / core)
        canvases = F.interpolate(canvases, (shrunk, shrunk), mode="bilinear", antialias=True)
    truth = F.grid_sample(
        canvases, grid, mode="bicubic", padding_mode="border", align_corners=False
    )
    counted = F.grid_sample(weight, grid, padding_mode="zeros", align_corners=False)
    return truth.clamp(0, 1), counted


def validation_pairs(
    faces: Sequence[Face],
    size: int,
    recipe: Degradation | str,
    *,
    seed: int = 0,
    damage_size: int | None = None,
    task: str = "restore",
) -> Batch:
    """Every face once, exactly in the template, degraded with the seeds `seed + i`.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = f"{folder}/face.png"
        ...     Image.new("RGB", (320, 320)).save(path)
        ...     validation_pairs([Face(path, "studio")], 64, "mild").truth.shape
        torch.Size([1, 3, 64, 64])
    """
    return Batch.of(
        make_pair(face, size, Placement(), Damaging(recipe, seed + index, damage_size, task))
        for index, face in enumerate(faces)
    )


def read_canvas(face: Face) -> Tensor:
    """A face's whole picture, (1, 3, C, C) 0..1.

    Raises:
        InputError: it cannot be read, or is not square.
    """
    return read_pixels(face)[None].float() / 255


def read_pixels(face: Face) -> Tensor:
    """The same as its file has it, (3, C, C) uint8."""
    try:
        with face.open() as image:
            pixels = np.array(image.convert("RGB"))
    except OSError as error:
        raise InputError(f"The picture {face.path} cannot be read: {error}") from error
    if pixels.shape[0] != pixels.shape[1]:
        raise InputError(
            f"The picture {face.path} must be square, not {pixels.shape[1]} x {pixels.shape[0]}."
        )
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _grids(
    size: int, placements: Sequence[Placement], framing: Framing, device: torch.device
) -> Tensor:
    """Sampling grids (N, S, S, 2) of crops over their pictures, -1..1 from edge to edge."""
    side = _UNITS / (1 - 2 * framing.rim)
    rim = side * framing.rim
    unit = _UNITS / size
    columns = []
    for placement in placements:
        zoom = _SCALES[framing.template] * placement.scale
        turn = (math.cos(placement.rotation) / zoom, math.sin(placement.rotation) / zoom)
        columns.append((*turn, *(part * _UNITS for part in placement.shift)))
    cos, sin, shift_x, shift_y = torch.tensor(columns).to(device).T[..., None, None].unbind()
    middles = (torch.arange(size, device=device) + 0.5) * unit - 0.5
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    to_x, to_y = _CENTERS["gpen"]
    from_x, from_y = _CENTERS[framing.template]
    x, y = x - to_x - shift_x, y - to_y - shift_y
    source_x = cos * x + sin * y + from_x + rim
    source_y = -sin * x + cos * y + from_y + rim
    return torch.stack((2 * source_x + 1, 2 * source_y + 1), dim=-1) / side - 1
