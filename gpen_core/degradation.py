"""Seeded damage for aligned faces: what a restorer is trained and measured against.

The order is that of a bad photograph's life: lens blur and motion, colour shift, shrinking, sensor
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

from .errors import InputError

Range = tuple[float, float]
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Degradation:
    """Ranges to draw from, for one picture at a time.

    Attributes:
        scale: shrinking factor, 1 to 16; 1 keeps the size.
        blur: sigma of the Gaussian lens blur, 0 to 3 pixels of the full-size picture.
        motion: length of a straight motion blur, 0 to 25 pixels; below 2 there is none.
        noise: standard deviation of the Gaussian noise on the shrunk picture, 0 to 25 of 255.
        jpeg: quality of a JPEG of the shrunk picture, 10 to 100; 0 in both skips it.
        colour: strength of a shift in gamma, contrast and tint, 0 to 1.
        grey: probability that the colours are lost.
    """

    scale: Range = (1.0, 1.0)
    blur: Range = (0.0, 0.0)
    motion: Range = (0.0, 0.0)
    noise: Range = (0.0, 0.0)
    jpeg: Range = (0.0, 0.0)
    colour: Range = (0.0, 0.0)
    grey: float = 0.0

    def __post_init__(self) -> None:
        limits = {
            "scale": (1, 16),
            "blur": (0, 3),
            "motion": (0, 25),
            "noise": (0, 25),
            "jpeg": (10, 100),
            "colour": (0, 1),
        }
        for name, (lowest, highest) in limits.items():
            low, high = getattr(self, name)
            skipped = name == "jpeg" and low == high == 0
            if not skipped and not lowest <= low <= high <= highest:
                raise InputError(
                    f"Degradation {name} must be a range within {lowest}..{highest}, "
                    f"not {low}..{high}."
                )
        if not 0 <= self.grey <= 1:
            raise InputError(f"Degradation grey is a probability from 0 to 1, not {self.grey}.")


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
        colour=(0.4, 1.0),
        grey=0.7,
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
    damaged = [degrade_one(image[None], recipe, seed + i) for i, image in enumerate(images)]
    return torch.cat(damaged) if damaged else images.clone()


def degrade_one(image: Tensor, recipe: Degradation, seed: int) -> Tensor:
    """`degrade` for one picture (1, 3, H, W) 0..1."""
    generator = torch.Generator().manual_seed(seed)
    # One vector drawn at once: changing a range leaves the other quantities' draws as they were.
    u = torch.rand(13, generator=generator).tolist()
    height, width = image.shape[-2:]
    damaged = gaussian_blur(image, _within(recipe.blur, u[0]))
    damaged = motion_blur(damaged, _within(recipe.motion, u[1]), math.pi * u[2])
    damaged = colour_shift(damaged, _within(recipe.colour, u[3]), u[4:9])
    if u[9] < recipe.grey:
        damaged = to_grey(damaged)
    damaged = _shrink(damaged, _within(recipe.scale, u[10]))
    damaged = _add_noise(damaged, _within(recipe.noise, u[11]), generator)
    damaged = jpeg(damaged.clamp(0, 1), round(_within(recipe.jpeg, u[12])))
    if damaged.shape[-2:] != (height, width):
        damaged = F.interpolate(damaged, (height, width), mode="bicubic", align_corners=False)
    return damaged.clamp(0, 1)


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """(N, C, H, W) filtered by a Gaussian of `sigma` pixels, edges replicated."""
    if sigma < 0.05:
        return images
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    taps = torch.exp(-offsets.square() / (2 * sigma * sigma))
    taps = taps / taps.sum()
    return _filter(_filter(images, taps[None, :]), taps[:, None])


def motion_blur(images: Tensor, length: float, angle: float) -> Tensor:
    """(N, C, H, W) smeared along a line of `length` pixels at `angle` radians."""
    if length < 2:
        return images
    radius = math.ceil(length / 2)
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    y, x = torch.meshgrid(offsets, offsets, indexing="ij")
    along = x * math.cos(angle) + y * math.sin(angle)
    across = x * math.sin(angle) - y * math.cos(angle)
    # A line one pixel thick with soft edges.
    line = (1 - across.abs()).clamp(min=0) * (length / 2 + 0.5 - along.abs()).clamp(0, 1)
    return _filter(images, line / line.sum())


def colour_shift(images: Tensor, strength: float, draws: list[float]) -> Tensor:
    """Gamma up to e^±0.5, contrast ±30 %, tint ±12 % a channel, at `strength` 1.

    Args:
        images: (N, 3, H, W) 0..1.
        strength: 0 to 1.
        draws: five numbers 0..1: gamma, contrast, tint of red, green, blue.
    """
    if strength <= 0:
        return images
    gamma, contrast, *tint = [strength * (2 * draw - 1) for draw in draws]
    shifted = images.clamp(1e-4, 1) ** math.exp(0.5 * gamma)
    shifted = (shifted - 0.5) * (1 + 0.3 * contrast) + 0.5
    gains = torch.tensor(tint, dtype=images.dtype, device=images.device) * 0.12 + 1
    return (shifted * gains[None, :, None, None]).clamp(0, 1)


def to_grey(images: Tensor) -> Tensor:
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


def _shrink(image: Tensor, scale: float) -> Tensor:
    if scale <= 1:
        return image
    height, width = (max(1, round(side / scale)) for side in image.shape[-2:])
    return F.interpolate(
        image, (height, width), mode="bicubic", align_corners=False, antialias=True
    )


def _add_noise(image: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    # Drawn on the CPU, so that every device sees the same noise.
    noise = torch.randn(image.shape, generator=generator)
    return image + noise.to(image) * (sigma / 255)


def _filter(images: Tensor, kernel: Tensor) -> Tensor:
    """Depthwise correlation of (N, C, H, W) with an odd (kh, kw) kernel, edges replicated."""
    high, wide = (side // 2 for side in kernel.shape)
    padded = F.pad(images, (wide, wide, high, high), mode="replicate")
    weight = kernel.expand(images.shape[1], 1, *kernel.shape)
    return F.conv2d(padded, weight, groups=images.shape[1])
