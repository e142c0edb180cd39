"""Layouts of pictures in memory: the host's, the core's, the networks'."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError


def from_comfy(image: Tensor) -> tuple[Tensor, Tensor | None]:
    """ComfyUI IMAGE (B, H, W, C) 0..1, C 1, 3 or 4 -> images (B, 3, H, W), alpha (B, 1, H, W).

    The images are a view where the layout allows it: do not write into them.

    Raises:
        InputError: another number of dimensions or channels, an empty or non-finite picture.
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
        if not bool(torch.isfinite(frame).all()):
            raise InputError(f"Image {index} holds NaN or infinite values; check what made it.")
    channels = image.permute(0, 3, 1, 2)
    if channels.shape[1] == 1:
        return channels.expand(-1, 3, -1, -1), None
    return channels[:, :3], channels[:, 3:] if channels.shape[1] == 4 else None


def to_comfy(images: Tensor, alpha: Tensor | None = None) -> Tensor:
    """Images (B, 3, H, W) and alpha (B, 1, H, W) -> ComfyUI IMAGE (B, H, W, 3 or 4).

    An alpha of another size, as after upscaling, is resized.
    """
    if alpha is not None:
        if alpha.shape[-2:] != images.shape[-2:]:
            alpha = resize(alpha, (int(images.shape[-2]), int(images.shape[-1])))
        images = torch.cat([images, alpha.to(images)], dim=1)
    return images.permute(0, 2, 3, 1).contiguous()


def to_network(images: Tensor) -> Tensor:
    """Images 0..1 -> the networks' range -1..1, any shape."""
    return images * 2 - 1


def from_network(crops: Tensor) -> Tensor:
    """The networks' range -1..1 -> images 0..1, clamped, any shape."""
    return (crops * 0.5 + 0.5).clamp(0, 1)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic resize of (B, C, H, W) 0..1 to (height, width), antialiased, clamped to 0..1."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    resized = torch.nn.functional.interpolate(
        images, size=size, mode="bicubic", align_corners=False, antialias=True
    )
    return resized.clamp(0, 1)


def is_gray(images: Tensor) -> bool:
    """Whether the three channels of (B, 3, H, W) are equal everywhere."""
    return bool(torch.equal(images[:, 0], images[:, 1]) and torch.equal(images[:, 1], images[:, 2]))
