"""Samples as arrays: out of Pillow's images, turned upright."""

from __future__ import annotations

import numpy as np
from PIL import Image


def eight_bit_samples(image: Image.Image) -> np.ndarray:
    """(H, W, C) uint8 of any 8-bit Pillow image, C in 1..4; palettes are expanded.

    >>> eight_bit_samples(Image.new("1", (3, 2), 1)).tolist()[0]
    [[255], [255], [255]]
    """
    transparent = "transparency" in image.info
    if image.mode == "P":
        image = image.convert("RGBA" if transparent else "RGB")
    elif image.mode in ("1", "L") and transparent:
        image = image.convert("L").convert("LA")
    elif image.mode == "RGB" and transparent:
        image = image.convert("RGBA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode == "La":
        image = image.convert("LA")
    elif image.mode in ("PA", "RGBa"):
        image = image.convert("RGBA")
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        image = image.convert("RGB")
    samples = np.asarray(image)
    return samples[..., None] if samples.ndim == 2 else samples


def upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation (1..8, EXIF 2.3 section 4.6.4) to (H, W, C) samples."""
    if orientation in (5, 6, 7, 8):
        samples = samples.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples
