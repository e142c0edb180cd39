"""What happens to a picture on its way, one effect a function: lens, film, print, software.

All take (N, 3, H, W) float, RGB 0..1, and treat each picture as if it were alone.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images.monochrome import luma

LEAST_MOTION = 2.0
"""Length in pixels below which there is no motion blur."""
LEAST_CELL = 2.0
"""Side in pixels below which there is no halftone."""
# Brown of faded silver, at the middle of the scale.
_SEPIA = (1.08, 0.98, 0.80)
_HALO_SIGMA = 1.2
_GRAIN_SIGMA = 0.6
# Screen angles of the three inks, and how soft the edge of a dot is.
_INK_ANGLES = (math.radians(15), math.radians(75), 0.0)
_DOT_EDGE = 0.12
_LEVELS = 64


def gaussian_blur(images: Tensor, sigma: float | Tensor) -> Tensor:
    """(N, C, H, W) filtered by a Gaussian of `sigma` pixels, edges replicated.

    Args:
        images: any values.
        sigma: one for all pictures, or one for each, (N,); below 0.05 there is none.

    Example:
        >>> picture = torch.zeros(1, 1, 9, 9)
        >>> picture[0, 0, 4, 4] = 1
        >>> round(float(gaussian_blur(picture, 1.0).sum()), 4)
        1.0
    """
    # Worked out where the sigmas are: those on the CPU make no GPU wait.
    sigmas = torch.as_tensor(sigma, dtype=images.dtype).expand(len(images))
    # Each picture's own radius, so that its neighbors in a batch change nothing.
    radii = torch.where(sigmas < 0.05, 0, (3 * sigmas).ceil())
    radius = int(radii.max()) if len(images) else 0
    if radius == 0:
        return images
    offsets = torch.arange(radius + 1, dtype=images.dtype, device=sigmas.device)
    taps = torch.exp(-offsets.square() / (2 * sigmas.clamp(min=0.05).square()[:, None]))
    taps = taps * (offsets <= radii[:, None])
    taps = taps / (taps[:, :1] + 2 * taps[:, 1:].sum(dim=1, keepdim=True))
    taps = taps.to(images.device)
    return _symmetric(_symmetric(images, taps, dim=-1), taps, dim=-2)


def motion_blur(images: Tensor, length: float, angle: float) -> Tensor:
    """(N, C, H, W) smeared along a line of `length` pixels at `angle` radians."""
    if length < LEAST_MOTION:
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
    strength, draws = strength.to(images), draws.to(images)
    shifts = strength[:, None] * (2 * draws - 1)
    gamma, contrast, tint = shifts[:, :1], shifts[:, 1:2], shifts[:, 2:]
    shifted = images.clamp(1e-4, 1) ** torch.exp(0.5 * gamma)[..., None, None]
    shifted = (shifted - 0.5) * (1 + 0.3 * contrast)[..., None, None] + 0.5
    shifted = (shifted * (1 + 0.12 * tint)[..., None, None]).clamp(0, 1)
    return torch.where((strength > 0)[:, None, None, None], shifted, images)


def to_gray(images: Tensor) -> Tensor:
    """(N, 3, H, W) -> the same shape, each channel the BT.601 luma."""
    return luma(images).expand_as(images).contiguous()


def to_sepia(images: Tensor) -> Tensor:
    """(N, 3, H, W) -> the same shape: the luma in shades of brown."""
    tint = torch.tensor(_SEPIA, dtype=images.dtype, device=images.device)[:, None, None]
    gray = to_gray(images)
    # Black stays black and white white; the tint is strongest in between.
    return (gray + (tint - 1) * 4 * gray * (1 - gray)).clamp(0, 1)


def add_grain(images: Tensor, noise: Tensor, strength: Tensor) -> Tensor:
    """Film grain: clumps of silver, the same in all channels, strongest in the middle tones.

    Args:
        images: (N, 3, H, W) 0..1.
        noise: (N, 1, H, W), normal.
        strength: (N,) standard deviation in the middle tones, of 255.
    """
    clumps = gaussian_blur(noise, _GRAIN_SIGMA)
    # A Gaussian of this sigma leaves 1 / (2 sigma sqrt(pi)) of white noise's deviation.
    clumps = clumps * (2 * _GRAIN_SIGMA * math.sqrt(math.pi))
    light = luma(images)
    amount = (strength.to(images) / 255)[:, None, None, None] * 4 * light * (1 - light)
    return (images + clumps * amount).clamp(0, 1)


def halftone(images: Tensor, cell: float, angle: float) -> Tensor:
    """Printed in dots, one screen for each ink (Ulichney, *Digital Halftoning*, 1987).

    A gray picture has one screen, so it stays gray.

    Args:
        images: (N, 3, H, W) 0..1.
        cell: side of a screen's cell in pixels; below 2 the picture is left alone.
        angle: radians by which the screens are turned.
    """
    if cell < LEAST_CELL:
        return images
    height, width = images.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, dtype=images.dtype, device=images.device),
        torch.arange(width, dtype=images.dtype, device=images.device),
        indexing="ij",
    )
    gray = (images - images.mean(dim=1, keepdim=True)).abs().amax(dim=(1, 2, 3)) < 1 / 255
    screens = [_screen(x, y, cell, angle + ink) for ink in _INK_ANGLES]
    one = torch.stack([screens[0]] * 3)
    screen = torch.where(gray[:, None, None, None], one, torch.stack(screens))
    return torch.sigmoid((images - screen) / (_DOT_EDGE / 2))


def _screen(x: Tensor, y: Tensor, cell: float, angle: float) -> Tensor:
    """Thresholds 0..1, evenly spread, of a screen of round dots."""
    cos, sin = math.cos(angle), math.sin(angle)
    step = 2 * math.pi / cell
    along, across = (cos * x + sin * y) * step, (cos * y - sin * x) * step
    waves = torch.cos(along) + torch.cos(across)
    # Evenly spread, so that a tone is the share of the paper that its dots leave white.
    circle = torch.cos(
        torch.arange(_LEVELS, dtype=x.dtype, device=x.device) * 2 * math.pi / _LEVELS
    )
    heights = (circle[:, None] + circle).flatten().sort().values
    return torch.searchsorted(heights, waves.contiguous()).to(x.dtype) / len(heights)


def sharpen(images: Tensor, amount: Tensor) -> Tensor:
    """Too much of an unsharp mask: light and dark halos along edges.

    Args:
        images: (N, 3, H, W) 0..1.
        amount: (N,), how often the difference to the picture blurred with sigma 1.2 is added.
    """
    if not bool((amount > 0).any()):
        return images
    amount = amount.to(images)
    detail = images - gaussian_blur(images, _HALO_SIGMA)
    sharp = (images + amount[:, None, None, None] * detail).clamp(0, 1)
    return torch.where((amount > 0)[:, None, None, None], sharp, images)


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
