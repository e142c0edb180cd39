"""Damaged faces behind things, and where those are: what the occlusion network learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .degradation import Degradation, degrade_each
from .occluders import draw_kinds, occlude
from .pairs import Framing, crops, read_pixels
from .placement import Jitter, Placement
from .regions import landmarks
from .sources import Face

SIDE = 128
"""Side in pixels of the pictures that the network looks at."""
_SEED_STRIDE = 1_000_003


@dataclass(frozen=True)
class Behind:
    """A batch of faces behind things.

    Attributes:
        pictures: (N, 3, S, S) RGB -1..1, damaged.
        covered: (N, 1, S, S) 0..1.
        inside: (N, 1, S, S) 0..1, how far a pixel lies inside the photograph.
        kinds: what is in front of each, see `occluders.KINDS`.

    Example:
        >>> Behind(torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8),
        ...        ["none"]).kinds
        ['none']
    """

    pictures: Tensor
    covered: Tensor
    inside: Tensor
    kinds: list[str]

    def mirrored(self) -> Behind:
        """The same, left and right exchanged."""
        pictures, covered, inside = (
            part.flip(-1) for part in (self.pictures, self.covered, self.inside)
        )
        return Behind(pictures, covered, inside, self.kinds)


@dataclass(frozen=True)
class Drawing:
    """What is drawn for a run.

    Attributes:
        recipes: kinds of damage, each with how often it is drawn relative to the others.
        batch_size: faces in a step.
        seed: of everything drawn.
        none: share of faces with nothing in front of them.
        kinds: how often a thing is drawn relative to the others; 1 unless named.
        weights: how often a picture of a source is drawn; 1 unless named.
        jitter: of the crops.
        skip: files with something in front of the face already; nothing is known of their pixels,
            so that they are only put in front of others.

    Example:
        >>> Drawing([(1.0, Degradation())]).batch_size
        16
    """

    recipes: Sequence[tuple[float, Degradation]]
    batch_size: int = 16
    seed: int = 0
    none: float = 0.28
    kinds: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    jitter: Jitter = field(default_factory=Jitter)
    skip: frozenset[str] = frozenset()


def label(face: Face) -> str:
    """How lists name the picture of a face: its folder and its file.

    Example:
        >>> from pathlib import Path
        >>> label(Face(Path("faces/studio/0001.jpg"), "studio"))
        'studio/0001.jpg'
    """
    return f"{face.path.parent.name}/{face.path.name}"


class CoveredSampler:
    """Draws the batch of a step, the same for the same seed and faces.

    Args:
        faces: square pictures of one size; each is kept in memory at 160 px.
        drawing: of the run.

    Raises:
        InputError: a picture cannot be read.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (320, 320)).save(f"{folder}/face.png")
        ...     faces = [Face(Path(folder, "face.png"), "studio")]
        ...     sampler = CoveredSampler(faces, Drawing([(1.0, Degradation())], batch_size=2))
        >>> sampler.batch(step=0).covered.shape
        torch.Size([2, 1, 128, 128])
    """

    def __init__(self, faces: Sequence[Face], drawing: Drawing) -> None:
        self.faces, self.drawing = list(faces), drawing
        self.framing = Framing(faces[0].template, faces[0].rim)
        side = round(SIDE / (1 - 2 * self.framing.rim))

        def small(face: Face) -> Tensor:
            whole = read_pixels(face)[None].float()
            shrunk = F.interpolate(whole, (side, side), mode="bilinear", antialias=True)
            return shrunk[0].round().to(torch.uint8)

        with ThreadPoolExecutor(2) as pool:
            self.canvases = torch.stack(list(pool.map(small, self.faces)))
        self.inside = torch.tensor([face.inside for face in faces])
        self.weights = torch.tensor([drawing.weights.get(face.source, 1.0) for face in faces])
        skipped = [label(face) in drawing.skip for face in faces]
        self.bare = self.weights * (~torch.tensor(skipped)).float()

    def batch(self, step: int) -> Behind:
        """The faces of a step."""
        count, drawing = self.drawing.batch_size, self.drawing
        generator = torch.Generator().manual_seed(drawing.seed * _SEED_STRIDE + step)
        rng = np.random.default_rng((drawing.seed, step))
        chosen = torch.multinomial(self.bare, count, replacement=True, generator=generator)
        others = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        draws = torch.rand(count, 5, generator=generator).tolist()
        placements = [Placement.draw(drawing.jitter, numbers) for numbers in draws]
        kinds = draw_kinds(count, rng, drawing.none, drawing.kinds)
        shares = torch.tensor([share for share, _ in drawing.recipes])
        drawn = torch.multinomial(shares, count, replacement=True, generator=generator)
        recipes = [drawing.recipes[index][1] for index in drawn.tolist()]
        seeds = rng.integers(0, 2**31, count).tolist()
        return self.behind(chosen, others, placements, kinds, recipes, seeds)

    def each(self, kinds: Sequence[str], recipe: Degradation, seed: int = 0) -> Behind:
        """Every face once, exactly in the template, behind the kinds in turn."""
        count = len(self.faces)
        turns = [kinds[index % len(kinds)] for index in range(count)]
        every = torch.arange(count)
        return self.behind(
            every,
            (every + count // 2) % count,
            [Placement()] * count,
            turns,
            [recipe] * count,
            [seed + index for index in range(count)],
        )

    def behind(
        self,
        chosen: Tensor,
        others: Tensor,
        placements: Sequence[Placement],
        kinds: Sequence[str],
        recipes: Sequence[Degradation],
        seeds: Sequence[int],
    ) -> Behind:
        """Faces behind things, each as told."""
        faces, inside = self._cut(chosen, placements)
        in_front, _ = self._cut(others, [Placement()] * len(others))
        places = torch.cat([placement.row() for placement in placements])
        points = landmarks(SIDE, places)
        drawn = [
            occlude(face, point, kind, seed, other)
            for face, point, kind, seed, other in zip(
                faces, points, kinds, seeds, in_front, strict=True
            )
        ]
        pictures = torch.stack([one.picture for one in drawn]).float()
        pictures = degrade_each(pictures, recipes, seeds)
        covered = torch.stack([one.covered for one in drawn]).float()
        return Behind(pictures * 2 - 1, covered, inside, list(kinds))

    def _cut(self, chosen: Tensor, placements: Sequence[Placement]) -> tuple[Tensor, Tensor]:
        canvases = self.canvases[chosen].float() / 255
        return crops(canvases, self.inside[chosen], placements, SIDE, self.framing)
