"""Layouts of pictures in memory: the host's, the core's, the networks'."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from ..errors import InputError
from ..hooks import Hooks
from ..memory.allowance import Allowance

# Rows beyond a strip that its bicubic filter sees, and the size of a strip of the output.
_REACH, _STRIP_PIXELS = 4, 4 << 20


def from_comfy(image: Tensor) -> tuple[Tensor, Tensor | None]:
    """ComfyUI IMAGE (B, H, W, C) 0..1, C 1, 3 or 4 -> images (B, 3, H, W), alpha (B, 1, H, W).

    The images are a view where the layout allows it: do not write into them.

    Raises:
        InputError: another number of dimensions or channels, an empty or non-finite picture.

    Example:
        >>> images, alpha = from_comfy(torch.rand(2, 48, 64, 4))
        >>> images.shape, alpha.shape
        (torch.Size([2, 3, 48, 64]), torch.Size([2, 1, 48, 64]))
    """
    if image.ndim != 4 or image.shape[-1] not in (1, 3, 4):
        raise InputError(
            f"An image must have the shape (B, H, W, C) with 1, 3 or 4 channels, "
            f"not {tuple(image.shape)}."
        )
    if 0 in image.shape:
        raise InputError(f"The image is empty: its shape is {tuple(image.shape)}.")
    if not image.is_floating_point():
        raise InputError(f"An image must hold floating-point values 0..1, not {image.dtype}.")
    for index, frame in enumerate(image):
        # One NaN makes both of them NaN; eight times as fast as asking each value.
        low, high = (float(value) for value in frame.aminmax())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise InputError(f"Image {index} holds NaN or infinite values; check what made it.")
    channels = image.permute(0, 3, 1, 2)
    if channels.shape[1] == 1:
        return channels.expand(-1, 3, -1, -1), None
    return channels[:, :3], channels[:, 3:] if channels.shape[1] == 4 else None


def to_comfy(images: Tensor, alpha: Tensor | None = None, hooks: Hooks | None = None) -> Tensor:
    """Images (B, 3, H, W) and alpha (B, 1, H, W) -> ComfyUI IMAGE (B, H, W, 3 or 4).

    An alpha of another size, as after upscaling, is resized. In strips of rows, so that a host can
    stop in between.

    Example:
        >>> to_comfy(torch.rand(2, 3, 48, 64)).shape
        torch.Size([2, 48, 64, 3])
    """
    hooks = hooks or Hooks()
    batch, _, height, width = images.shape
    if alpha is not None and alpha.shape[-2:] != images.shape[-2:]:
        alpha = resize(alpha, (int(height), int(width)))
    layers = [images] if alpha is None else [images, alpha.to(images)]
    channels = sum(layer.shape[1] for layer in layers)
    image = images.new_empty(batch, height, width, channels)
    rows = max(1, _STRIP_PIXELS // width)
    for index in range(batch):
        for first in range(0, height, rows):
            strip = torch.cat([layer[index, :, first : first + rows] for layer in layers])
            image[index, first : first + rows] = strip.permute(1, 2, 0)
            hooks.may_stop()
    return image


def to_network(images: Tensor) -> Tensor:
    """Images 0..1 -> the networks' range -1..1, any shape.

    Example:
        >>> to_network(torch.tensor([0.0, 0.5, 1.0]))
        tensor([-1.,  0.,  1.])
    """
    return images * 2 - 1


def from_network(crops: Tensor) -> Tensor:
    """The networks' range -1..1 -> images 0..1, clamped, any shape.

    Example:
        >>> from_network(torch.tensor([-1.0, 0.0, 1.2]))
        tensor([0.0000, 0.5000, 1.0000])
    """
    return (crops * 0.5 + 0.5).clamp(0, 1)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic resize of (B, C, H, W) 0..1 to (height, width), antialiased, clamped to 0..1.

    Example:
        >>> resize(torch.rand(1, 3, 48, 64), (24, 32)).shape
        torch.Size([1, 3, 24, 32])
    """
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    resized = torch.nn.functional.interpolate(
        images, size=size, mode="bicubic", align_corners=False, antialias=True
    )
    return resized.clamp(0, 1)


def fit(crops: Tensor, size: int) -> Tensor:
    """(N, 3, S, S) -1..1 resized to `size`, antialiased; the same tensor where it fits already.

    Example:
        >>> fit(torch.zeros(2, 3, 64, 64), 32).shape
        torch.Size([2, 3, 32, 32])
    """
    if crops.shape[-1] == size:
        return crops
    return to_network(resize(from_network(crops), (size, size)))


def fit_mask(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, H, W) shares resized to (height, width), bilinear; the same tensor where they fit.

    Antialiased where that shrinks them.

    Example:
        >>> fit_mask(torch.ones(2, 1, 48, 64), (24, 80)).shape
        torch.Size([2, 1, 24, 80])
    """
    height, width = masks.shape[-2:]
    if (height, width) == tuple(size):
        return masks
    shrinks = height > size[0] or width > size[1]
    return torch.nn.functional.interpolate(masks, size, mode="bilinear", antialias=shrinks)


def enlarge(images: Tensor, factor: int, hooks: Hooks | None = None) -> Tensor:
    """Bicubic enlargement of (B, C, H, W) 0..1 by 1, 2 or 4, clamped; by 1 the same tensor.

    In strips of rows, bit for bit what one call gives, so that a host can stop in between.

    Example:
        >>> enlarge(torch.rand(1, 3, 5, 7), 4).shape
        torch.Size([1, 3, 20, 28])
    """
    if factor == 1:
        return images
    hooks = hooks or Hooks()
    batch, channels, height, width = images.shape
    enlarged = images.new_empty(batch, channels, factor * height, factor * width)
    rows = max(_REACH, _STRIP_PIXELS // (factor * factor * width))
    room = Allowance("enlarging the picture", hooks.event, at_once=rows, device=images.device)
    for index, image in enumerate(images):
        for chosen, strip in room.over(height, functools.partial(_strip, image, factor)):
            enlarged[index, :, factor * chosen.start : factor * chosen.stop] = strip
            hooks.progress("enlarge", index * height + chosen.stop, batch * height)
    return enlarged


def _strip(image: Tensor, factor: int, rows: slice, device: torch.device) -> Tensor:
    """(C, factor * h, factor * W) of some of the rows of (C, H, W)."""
    start = max(rows.start - _REACH, 0)
    seen = image[None, :, start : rows.stop + _REACH].to(device)
    strip = torch.nn.functional.interpolate(seen, scale_factor=factor, mode="bicubic")
    inside = slice(factor * (rows.start - start), factor * (rows.stop - start))
    return strip[0, :, inside].clamp_(0, 1)
