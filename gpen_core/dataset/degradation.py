"""Seeded damage for aligned faces: what a restorer is trained and measured against.

The order is that of a bad photograph's life: lens blur and motion, color shift, shrinking, sensor
noise, JPEG, and enlarging back to the first size. Every quantity is drawn uniformly from a range;
a range of one value is fixed.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..errors import InputError

Range = tuple[float, float]
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_LEAST_MOTION = 2.0
# What a range may hold, see `Degradation`.
LIMITS: dict[str, Range] = {
    "scale": (1, 16),
    "blur": (0, 3),
    "motion": (0, 25),
    "noise": (0, 25),
    "jpeg": (10, 100),
    "color": (0, 1),
}


@dataclass(frozen=True)
class Degradation:
    """Ranges to draw from, for one picture at a time; by default no damage at all.

    The preset "wild" has every range at its widest, `LIMITS`, shrinking from 2 on.

    Attributes:
        scale: shrinking factor, 1 to 16; 1 keeps the size.
        blur: sigma of the Gaussian lens blur, 0 to 3 pixels of the full-size picture.
        motion: length of a straight motion blur, 0 to 25 pixels; below 2 there is none.
        noise: standard deviation of the Gaussian noise on the shrunk picture, 0 to 25 of 255.
        jpeg: quality of a JPEG of the shrunk picture, 10 to 100; 0 in both skips it.
        color: strength of a shift in gamma, contrast and tint, 0 to 1.
        gray: probability that the colors are lost.
    """

    scale: Range = (1.0, 1.0)
    blur: Range = (0.0, 0.0)
    motion: Range = (0.0, 0.0)
    noise: Range = (0.0, 0.0)
    jpeg: Range = (0.0, 0.0)
    color: Range = (0.0, 0.0)
    gray: float = 0.0

    def __post_init__(self) -> None:
        for name, (lowest, highest) in LIMITS.items():
            low, high = getattr(self, name)
            skipped = name == "jpeg" and low == high == 0
            if not skipped and not lowest <= low <= high <= highest:
                raise InputError(
                    f"Degradation {name} must be a range within {lowest}..{highest}, "
                    f"not {low}..{high}."
                )
        if not 0 <= self.gray <= 1:
            raise InputError(f"Degradation gray is a probability from 0 to 1, not {self.gray}.")


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
}


def preset(name: str) -> Degradation:
    """A preset by its name.

    Raises:
        InputError: there is no such preset.
    """
    if name not in PRESETS:
        raise InputError(f"There is no degradation preset {name!r}; choose {', '.join(PRESETS)}.")
    return PRESETS[name]


def degrade(images: Tensor, degradation: Degradation | str, seed: int = 0) -> Tensor:
    """Damage pictures repeatably; picture i is drawn with the seed `seed + i`.

    Only the noise and the JPEG files are made on the CPU, so that every device gives the same.

    Args:
        images: (N, 3, H, W) float, RGB 0..1, on any device.
        degradation: ranges, or a preset's name.
        seed: a picture alone with its own seed gives what it gives in a batch.

    Returns:
        (N, 3, H, W) float, RGB 0..1, on the device of `images`.

    Raises:
        InputError: unknown preset, or `images` has another shape.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise InputError(f"Degrading takes pictures (N, 3, H, W), not {tuple(images.shape)}.")
    recipe = preset(degradation) if isinstance(degradation, str) else degradation
    draws = [Draw.of(recipe, seed + index) for index in range(len(images))]
    damaged = gaussian_blur(images, _column(draws, "blur", images))
    damaged = _motion(damaged, draws)
    strength, shift = (_column(draws, name, images) for name in ("color", "shift"))
    damaged = color_shift(damaged, strength, shift)
    gray = [index for index, draw in enumerate(draws) if draw.gray]
    if gray:
        damaged = damaged.index_copy(
            0, torch.tensor(gray).to(images.device), to_gray(damaged[gray])
        )
    return _photograph(damaged, draws).clamp(0, 1)


@dataclass(frozen=True)
class Draw:
    """The quantities of one picture, see `Degradation`; `noise` goes on from `generator`."""

    blur: float
    motion: float
    angle: float
    color: float
    shift: list[float]
    gray: bool
    scale: float
    noise: float
    jpeg: int
    generator: torch.Generator

    @classmethod
    def of(cls, recipe: Degradation, seed: int) -> Draw:
        """Drawn from `recipe` with a seed of its own."""
        generator = torch.Generator().manual_seed(seed)
        # One vector drawn at once: changing a range leaves the other quantities' draws alone.
        u = torch.rand(13, generator=generator).tolist()
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
            generator=generator,
        )


def _column(draws: list[Draw], name: str, like: Tensor) -> Tensor:
    """One quantity of all pictures, (N,) or (N, n)."""
    return torch.tensor([getattr(draw, name) for draw in draws]).to(like)


def _motion(images: Tensor, draws: list[Draw]) -> Tensor:
    """Every picture smeared along its own line: kernels of different sizes, so one by one."""
    if all(draw.motion < _LEAST_MOTION for draw in draws):
        return images
    pairs = zip(images, draws, strict=True)
    return torch.cat([motion_blur(image[None], draw.motion, draw.angle) for image, draw in pairs])


def _photograph(images: Tensor, draws: list[Draw]) -> Tensor:
    """Shrink, add noise, make a JPEG, enlarge; pictures of one shrunk size go together."""
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
        part = torch.cat(
            [jpeg(one[None], draw.jpeg) for one, draw in zip(part, group, strict=True)]
        )
        damaged[members] = _resize(part, size)
    return damaged


def gaussian_blur(images: Tensor, sigma: float | Tensor) -> Tensor:
    """(N, C, H, W) filtered by a Gaussian of `sigma` pixels, edges replicated.

    Args:
        images: any values.
        sigma: one for all pictures, or one for each, (N,); below 0.05 there is none.
    """
    sigmas = torch.as_tensor(sigma, dtype=images.dtype, device=images.device).expand(len(images))
    # Each picture's own radius, so that its neighbors in a batch change nothing.
    radii = torch.where(sigmas < 0.05, 0, (3 * sigmas).ceil())
    radius = int(radii.max()) if len(images) else 0
    if radius == 0:
        return images
    offsets = torch.arange(radius + 1, dtype=images.dtype, device=images.device)
    taps = torch.exp(-offsets.square() / (2 * sigmas.clamp(min=0.05).square()[:, None]))
    taps = taps * (offsets <= radii[:, None])
    taps = taps / (taps[:, :1] + 2 * taps[:, 1:].sum(dim=1, keepdim=True))
    return _symmetric(_symmetric(images, taps, dim=-1), taps, dim=-2)


def motion_blur(images: Tensor, length: float, angle: float) -> Tensor:
    """(N, C, H, W) smeared along a line of `length` pixels at `angle` radians."""
    if length < _LEAST_MOTION:
        return images
    radius = math.ceil(length / 2)
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    y, x = torch.meshgrid(offsets, offsets, indexing="ij")
    along = x * math.cos(angle) + y * math.sin(angle)
    across = x * math.sin(angle) - y * math.cos(angle)
    # A line one pixel thick with soft edges.
    line = (1 - across.abs()).clamp(min=0) * (length / 2 + 0.5 - along.abs()).clamp(0, 1)
    return _filter(images, line / line.sum())


def color_shift(images: Tensor, strength: Tensor, draws: Tensor) -> Tensor:
    """Gamma up to e^±0.5, contrast ±30 %, tint ±12 % a channel, at `strength` 1.

    Args:
        images: (N, 3, H, W) 0..1.
        strength: (N,) 0 to 1.
        draws: (N, 5) 0..1: gamma, contrast, tint of red, green, blue.
    """
    if not bool((strength > 0).any()):
        return images
    shifts = strength[:, None] * (2 * draws - 1)
    gamma, contrast, tint = shifts[:, :1], shifts[:, 1:2], shifts[:, 2:]
    shifted = images.clamp(1e-4, 1) ** torch.exp(0.5 * gamma)[..., None, None]
    shifted = (shifted - 0.5) * (1 + 0.3 * contrast)[..., None, None] + 0.5
    shifted = (shifted * (1 + 0.12 * tint)[..., None, None]).clamp(0, 1)
    return torch.where((strength > 0)[:, None, None, None], shifted, images)


def to_gray(images: Tensor) -> Tensor:
    """(N, 3, H, W) -> the same shape, each channel the BT.601 luma."""
    weights = torch.tensor(_LUMA, dtype=images.dtype, device=images.device)
    luma = (images * weights[None, :, None, None]).sum(dim=1, keepdim=True)
    return luma.expand_as(images).contiguous()


def jpeg(images: Tensor, quality: int) -> Tensor:
    """(N, 3, H, W) 0..1 through a real JPEG file of `quality` (4:2:0); 0 leaves it alone."""
    if quality <= 0:
        return images
    pixels = (images.detach().cpu().float() * 255).round().to(torch.uint8)
    decoded = [_jpeg_file(picture, quality) for picture in pixels.permute(0, 2, 3, 1).numpy()]
    return torch.stack(decoded).permute(0, 3, 1, 2).to(images) / 255


def _jpeg_file(pixels: np.ndarray, quality: int) -> Tensor:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    file.seek(0)
    with Image.open(file) as image:
        return torch.from_numpy(np.array(image.convert("RGB")))


def _within(limits: Range, draw: float) -> float:
    low, high = limits
    return low + (high - low) * draw


def _resize(images: Tensor, size: tuple[int, int], antialias: bool = False) -> Tensor:
    if tuple(images.shape[-2:]) == size:
        return images
    return F.interpolate(images, size, mode="bicubic", align_corners=False, antialias=antialias)


def _add_noise(images: Tensor, draws: list[Draw]) -> Tensor:
    # Drawn on the CPU, so that every device sees the same noise.
    shape = (1, *images.shape[1:])
    noise = torch.cat([torch.randn(shape, generator=draw.generator) for draw in draws])
    sigmas = torch.tensor([draw.noise for draw in draws]).to(images)
    return images + noise.to(images) * (sigmas / 255)[:, None, None, None]


def _symmetric(images: Tensor, taps: Tensor, dim: int) -> Tensor:
    """(N, C, H, W) correlated along `dim` with a kernel for each picture, edges replicated.

    A sum of shifted pictures rather than a convolution: its rounding does not depend on what else
    is in the batch.

    Args:
        images: the pictures.
        taps: (N, radius + 1), the middle of the kernel and its one side.
        dim: -1 or -2.
    """
    radius, side = taps.shape[1] - 1, images.shape[dim]
    pad = (radius, radius, 0, 0) if dim == -1 else (0, 0, radius, radius)
    padded = F.pad(images, pad, mode="replicate")
    weights = taps[:, :, None, None, None]
    total = images * weights[:, 0]
    for offset in range(1, radius + 1):
        pair = padded.narrow(dim, radius - offset, side) + padded.narrow(dim, radius + offset, side)
        total += pair.mul_(weights[:, offset])
    return total


def _filter(images: Tensor, kernel: Tensor) -> Tensor:
    """Depthwise correlation of (N, C, H, W) with an odd (kh, kw) kernel, edges replicated."""
    high, wide = (side // 2 for side in kernel.shape)
    padded = F.pad(images, (wide, wide, high, high), mode="replicate")
    weight = kernel.expand(images.shape[1], 1, *kernel.shape)
    return F.conv2d(padded, weight, groups=images.shape[1])
