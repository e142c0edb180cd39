"""Seeded damage for aligned faces: what a restorer is trained and measured against.

The order is that of a bad photograph's life: lens blur and motion, color shift, gray; film grain,
the dots of a print, sepia; shrinking, sensor noise, halos of sharpening, JPEG and a second JPEG on
another grid; and enlarging back to the first size. `then` sends the result through a second round,
as pictures that are posted again (second-order degradation, Wang et al., *Real-ESRGAN*, 2021, arXiv
2107.10833). Every quantity is drawn uniformly from a range; a range of one value is fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from .effects import (
    LEAST_CELL,
    LEAST_MOTION,
    add_grain,
    color_shift,
    gaussian_blur,
    halftone,
    motion_blur,
    sharpen,
    to_gray,
    to_sepia,
)
from .jpeg import jpeg, jpeg_arithmetic

Range = tuple[float, float]
# What a range may hold, see `Degradation`.
LIMITS: dict[str, Range] = {
    "scale": (1, 16),
    "blur": (0, 3),
    "motion": (0, 25),
    "noise": (0, 25),
    "jpeg": (10, 100),
    "color": (0, 1),
}
MORE_LIMITS: dict[str, Range] = {
    "grain": (0, 25),
    "halftone": (0, 8),
    "sharpen": (0, 4),
    "blocks": (10, 100),
}
_QUALITIES = ("jpeg", "blocks")
_PROBABILITIES = ("gray", "sepia")
# Keep the seeds of later additions and of the second round apart from the picture's own.
_MORE_SEED, ROUND_SEED = 0x9E3779B9, 0x85EBCA6B
_SEEDS = 2**32  # the CPU's generator tells no more apart
_GRID = 8


@dataclass(frozen=True)
class Degradation:
    """Ranges to draw from, for one picture at a time; by default no damage at all.

    The preset "wild" has every range of `LIMITS` at its widest, shrinking from 2 on.

    Attributes:
        scale: shrinking factor, 1 to 16; 1 keeps the size.
        blur: sigma of the Gaussian lens blur, 0 to 3 pixels of the full-size picture.
        motion: length of a straight motion blur, 0 to 25 pixels; below 2 there is none.
        noise: standard deviation of the Gaussian noise on the shrunk picture, 0 to 25 of 255.
        jpeg: quality of a JPEG of the shrunk picture, 10 to 100; 0 in both skips it.
        color: strength of a shift in gamma, contrast and tint, 0 to 1.
        gray: probability that the colors are lost.
        grain: standard deviation of film grain in the middle tones, 0 to 25 of 255, at full size.
        halftone: side of the cells of a print's dots, 0 to 8 pixels at full size; below 2 there are
            none.
        sepia: probability that what is left is in shades of brown.
        sharpen: how often an unsharp mask is added to the shrunk picture, 0 to 4: halos.
        blocks: quality of a second JPEG after the first, its grid of 8 pixels at another place, 10
            to 100; 0 in both skips it. It stands for the blocks of compressed video.
        then: a second round of damage, with draws of its own.

    Raises:
        InputError: an impossible range, or no probability.

    Example:
        >>> Degradation(scale=(2, 4), jpeg=(30, 60)).noise
        (0.0, 0.0)
    """

    scale: Range = (1.0, 1.0)
    blur: Range = (0.0, 0.0)
    motion: Range = (0.0, 0.0)
    noise: Range = (0.0, 0.0)
    jpeg: Range = (0.0, 0.0)
    color: Range = (0.0, 0.0)
    gray: float = 0.0
    grain: Range = (0.0, 0.0)
    halftone: Range = (0.0, 0.0)
    sepia: float = 0.0
    sharpen: Range = (0.0, 0.0)
    blocks: Range = (0.0, 0.0)
    then: Degradation | None = None

    def __post_init__(self) -> None:
        for name, (lowest, highest) in (LIMITS | MORE_LIMITS).items():
            low, high = getattr(self, name)
            skipped = name in _QUALITIES and low == high == 0
            if not skipped and not lowest <= low <= high <= highest:
                raise InputError(
                    f"Degradation {name} must be a range within {lowest}..{highest}, "
                    f"not {low}..{high}."
                )
        for name in _PROBABILITIES:
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(
                    f"Degradation {name} is a probability from 0 to 1, not {getattr(self, name)}."
                )


PRESETS: dict[str, Degradation] = {
    "mild": Degradation(scale=(2, 2), blur=(0.8, 0.8), noise=(4, 4), jpeg=(70, 70)),
    "medium": Degradation(scale=(4, 4), blur=(1.5, 1.5), noise=(10, 10), jpeg=(40, 40)),
    "severe": Degradation(scale=(8, 8), blur=(2.5, 2.5), noise=(18, 18), jpeg=(30, 30)),
    "old-photo": Degradation(
        scale=(2, 4),
        blur=(0.8, 2.0),
        motion=(0, 5),
        noise=(6, 16),
        jpeg=(50, 85),
        color=(0.4, 1.0),
        gray=0.7,
    ),
    # Everything at once, over the whole documented ranges.
    "wild": Degradation(
        scale=(2, 16),
        blur=(0, 3),
        motion=(0, 25),
        noise=(0, 25),
        jpeg=(10, 100),
        color=(0, 1),
        gray=0.1,
    ),
    # A picture that was sharpened, posted, and posted again by somebody else.
    "reposted": Degradation(
        scale=(1, 3),
        blur=(0.3, 1.5),
        noise=(1, 8),
        sharpen=(0, 1),
        jpeg=(30, 90),
        then=Degradation(
            scale=(1, 3),
            blur=(0, 1),
            noise=(0, 5),
            sharpen=(0, 0.5),
            jpeg=(30, 80),
            blocks=(30, 80),
        ),
    ),
    # A print from a book or newspaper, photographed.
    "old-print": Degradation(
        blur=(0.5, 1.5),
        color=(0, 0.6),
        gray=0.8,
        grain=(2, 12),
        halftone=(1.2, 3.2),
        sepia=0.4,
        scale=(1, 3),
        noise=(1, 6),
        jpeg=(40, 90),
    ),
}


def preset(name: str) -> Degradation:
    """A preset by its name.

    Raises:
        InputError: there is no such preset.

    Example:
        >>> preset("medium").scale
        (4, 4)
    """
    if name not in PRESETS:
        raise InputError(f"There is no degradation preset {name!r}; choose {', '.join(PRESETS)}.")
    return PRESETS[name]


def degrade(
    images: Tensor, degradation: Degradation | str, seed: int = 0, *, portable: bool = True
) -> Tensor:
    """Damage pictures repeatably; picture i is drawn with the seed `seed + i`.

    Args:
        images: (N, 3, H, W) float, RGB 0..1, on any device.
        degradation: ranges, or a preset's name.
        seed: a picture alone with its own seed gives what it gives in a batch.
        portable: make noise and JPEG files on the CPU, so that every device gives the same;
            otherwise both stay on the device of `images`: the noise is that device's, and JPEG is
            computed (`jpeg_arithmetic`).

    Returns:
        (N, 3, H, W) float, RGB 0..1, on the device of `images`.

    Raises:
        InputError: unknown preset, or `images` has another shape.

    Example:
        >>> degrade(torch.rand(2, 3, 64, 64), "medium", seed=7).shape
        torch.Size([2, 3, 64, 64])
    """
    recipe = preset(degradation) if isinstance(degradation, str) else degradation
    seeds = range(seed, seed + len(images))
    return degrade_each(images, [recipe] * len(images), seeds, portable=portable)


def degrade_each(
    images: Tensor, recipes: Sequence[Degradation], seeds: Sequence[int], *, portable: bool = True
) -> Tensor:
    """The same with a recipe and a seed for each picture."""
    if images.ndim != 4 or images.shape[1] != 3:
        raise InputError(f"Degrading takes pictures (N, 3, H, W), not {tuple(images.shape)}.")
    device = torch.device("cpu") if portable else images.device
    pairs = zip(recipes, seeds, strict=True)
    draws = [Draw.of(recipe, seed, device) for recipe, seed in pairs]
    damaged = gaussian_blur(images, _column(draws, "blur", images))
    damaged = _motion(damaged, draws)
    strength, shift = (_column(draws, name, images) for name in ("color", "shift"))
    damaged = color_shift(damaged, strength, shift)
    damaged = _chosen(damaged, [draw.gray for draw in draws], to_gray)
    damaged = _on_film_and_paper(damaged, draws)
    damaged = _photograph(damaged, draws, portable=portable).clamp(0, 1)
    return _second_round(damaged, recipes, seeds, portable=portable)


@dataclass(frozen=True)
class Draw:
    """The quantities of one picture, see `Degradation`; noise and grain go on from `generator`."""

    blur: float
    motion: float
    angle: float
    color: float
    shift: list[float]
    gray: bool
    scale: float
    noise: float
    jpeg: int
    grain: float
    halftone: float
    screen: float
    sepia: bool
    sharpen: float
    blocks: int
    offset: tuple[int, int]
    generator: torch.Generator
    more: torch.Generator

    @classmethod
    def of(cls, recipe: Degradation, seed: int, device: torch.device | None = None) -> Draw:
        """Drawn from `recipe` with a seed of its own; noise will be that of `device`."""
        generator = torch.Generator().manual_seed(seed)
        # One vector drawn at once: changing a range leaves the other quantities' draws alone.
        u = torch.rand(13, generator=generator).tolist()
        # What came later has its own, so that it changes no picture that does without it.
        more = torch.Generator().manual_seed((seed + _MORE_SEED) % _SEEDS)
        v = torch.rand(8, generator=more).tolist()
        if device is not None and device.type != "cpu":
            generator = torch.Generator(device).manual_seed(seed)
            more = torch.Generator(device).manual_seed((seed + _MORE_SEED) % _SEEDS)
        return cls(
            blur=_within(recipe.blur, u[0]),
            motion=_within(recipe.motion, u[1]),
            angle=math.pi * u[2],
            color=_within(recipe.color, u[3]),
            shift=u[4:9],
            gray=u[9] < recipe.gray,
            scale=_within(recipe.scale, u[10]),
            noise=_within(recipe.noise, u[11]),
            jpeg=round(_within(recipe.jpeg, u[12])),
            grain=_within(recipe.grain, v[0]),
            halftone=_within(recipe.halftone, v[1]),
            screen=math.pi * v[2],
            sepia=v[3] < recipe.sepia,
            sharpen=_within(recipe.sharpen, v[4]),
            blocks=round(_within(recipe.blocks, v[5])),
            # Never 0 in both: that would be the first file's grid.
            offset=(1 + int(v[6] * (_GRID - 1)), int(v[7] * _GRID)),
            generator=generator,
            more=more,
        )


def _column(draws: list[Draw], name: str, like: Tensor) -> Tensor:
    """One quantity of all pictures, (N,) or (N, n), on the CPU."""
    return torch.tensor([getattr(draw, name) for draw in draws]).to(like.dtype)


def _motion(images: Tensor, draws: list[Draw]) -> Tensor:
    """Every picture smeared along its own line: kernels of different sizes, so one by one."""
    if all(draw.motion < LEAST_MOTION for draw in draws):
        return images
    pairs = zip(images, draws, strict=True)
    return torch.cat([motion_blur(image[None], draw.motion, draw.angle) for image, draw in pairs])


def _chosen(images: Tensor, chosen: list[bool], effect: Callable[[Tensor], Tensor]) -> Tensor:
    """An effect on some of the pictures."""
    indices = [index for index, wanted in enumerate(chosen) if wanted]
    if not indices:
        return images
    places = torch.tensor(indices).to(images.device)
    return images.index_copy(0, places, effect(images[indices]))


def _on_film_and_paper(images: Tensor, draws: list[Draw]) -> Tensor:
    """Grain, the dots of a print, the brown of old paper."""
    if any(draw.grain > 0 for draw in draws):
        grains = torch.cat([_normal(images[:1, :1], draw.more) for draw in draws])
        grained = add_grain(images, grains, _column(draws, "grain", images))
        images = _where([draw.grain > 0 for draw in draws], grained, images)
    if any(draw.halftone >= LEAST_CELL for draw in draws):
        pairs = zip(images, draws, strict=True)
        images = torch.cat([halftone(one[None], d.halftone, d.screen) for one, d in pairs])
    return _chosen(images, [draw.sepia for draw in draws], to_sepia)


def _where(chosen: list[bool], changed: Tensor, images: Tensor) -> Tensor:
    return torch.where(torch.tensor(chosen).to(images.device)[:, None, None, None], changed, images)


def _photograph(images: Tensor, draws: list[Draw], *, portable: bool) -> Tensor:
    """Shrink, add noise, sharpen, make JPEGs, enlarge; pictures of one shrunk size go together."""
    size = (int(images.shape[-2]), int(images.shape[-1]))
    by_size: dict[tuple[int, int], list[int]] = {}
    for index, draw in enumerate(draws):
        height, width = (max(1, round(side / draw.scale)) for side in size)
        by_size.setdefault((height, width), []).append(index)
    damaged = torch.empty_like(images)
    for small, members in by_size.items():
        group = [draws[index] for index in members]
        part = _resize(images[members], small, antialias=True)
        part = _add_noise(part, group).clamp(0, 1)
        part = sharpen(part, _column(group, "sharpen", part))
        part = _compressed(part, [draw.jpeg for draw in group], portable=portable)
        part = _recompressed(part, group, portable=portable)
        damaged[members] = _resize(part, size)
    return damaged


def _compressed(images: Tensor, qualities: list[int], *, portable: bool) -> Tensor:
    """JPEGs of pictures of one size, each of its quality; 0 leaves one alone."""
    if not any(qualities):
        return images
    if not portable:
        return jpeg_arithmetic(images, torch.tensor(qualities).to(images.device))
    pairs = zip(images, qualities, strict=True)
    return torch.cat([jpeg(one[None], quality) for one, quality in pairs])


def _recompressed(images: Tensor, draws: list[Draw], *, portable: bool) -> Tensor:
    """A second JPEG, of the picture moved by each one's offset against the grid of 8 pixels."""
    if not any(draw.blocks for draw in draws):
        return images
    height, width = images.shape[-2:]
    # Padded at the left and above as much as the offset, filled to the longest elsewhere.
    wider = torch.cat(
        [
            F.pad(one[None], (x, _GRID - x, y, _GRID - y), mode="replicate")
            for one, (x, y) in zip(images, (draw.offset for draw in draws), strict=True)
        ]
    )
    coded = _compressed(wider, [draw.blocks for draw in draws], portable=portable)
    offsets = (draw.offset for draw in draws)
    pairs = zip(coded, offsets, strict=True)
    return torch.stack([one[:, y : y + height, x : x + width] for one, (x, y) in pairs])


def _second_round(
    images: Tensor, recipes: Sequence[Degradation], seeds: Sequence[int], *, portable: bool
) -> Tensor:
    """Those that have one go through it, with seeds of their own."""
    members = [index for index, recipe in enumerate(recipes) if recipe.then is not None]
    if not members:
        return images
    rounds = [recipe.then for recipe in recipes if recipe.then is not None]
    again = [(seeds[index] + ROUND_SEED) % _SEEDS for index in members]
    damaged = degrade_each(images[members], rounds, again, portable=portable)
    return images.index_copy(0, torch.tensor(members).to(images.device), damaged)


def _within(limits: Range, draw: float) -> float:
    low, high = limits
    return low + (high - low) * draw


def _resize(images: Tensor, size: tuple[int, int], antialias: bool = False) -> Tensor:
    if tuple(images.shape[-2:]) == size:
        return images
    return F.interpolate(images, size, mode="bicubic", align_corners=False, antialias=antialias)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Normal noise of the shape of `like`, drawn where the generator is."""
    return torch.randn(like.shape, generator=generator, device=generator.device).to(like)


def _add_noise(images: Tensor, draws: list[Draw]) -> Tensor:
    noise = torch.cat([_normal(images[:1], draw.generator) for draw in draws])
    sigmas = torch.tensor([draw.noise for draw in draws]).to(images)
    return images + noise * (sigmas / 255)[:, None, None, None]
