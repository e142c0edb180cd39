"""JPEG: a real file, made on the CPU, or the same arithmetic on tensors of any device."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..images.monochrome import luma

_BLOCK = 8
# Annex K of ITU-T T.81, rows from low to high frequency.
_LUMA_TABLE = """
16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56  14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92  49 64 78 87 103 121 120 101
72 92 95 98 112 100 103 99
"""
_CHROMA_TABLE = """
17 18 24 47 99 99 99 99  18 21 26 66 99 99 99 99  24 26 56 99 99 99 99 99  47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99
"""


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


def jpeg_arithmetic(images: Tensor, qualities: Tensor) -> Tensor:
    """(N, 3, H, W) 0..1 as a JPEG of each one's quality would decode, without making a file.

    What a baseline 4:2:0 file loses is computed as ITU-T T.81 says (8x8 DCT, the tables of its
    annex K scaled as libjpeg does, rounding); the entropy coding, which loses nothing, is left out.
    On a portrait it differs from libjpeg's files by 0.2 to 0.7 of a level on the average, where the
    files differ from the picture by 2 (quality 95) to 9 (10). Nothing waits for the CPU, and no
    gradient passes the rounding.

    Args:
        images: on any device.
        qualities: (N,), 1 to 100; 0 leaves a picture alone.
    """
    size = images.shape[-2:]
    pixels = (images.clamp(0, 1) * 255).round()
    padding = [-side % (2 * _BLOCK) for side in size]
    pixels = F.pad(pixels, (0, padding[1], 0, padding[0]), mode="replicate")
    light, blue, red = (plane.round() for plane in _to_ycc(pixels))
    chroma = F.avg_pool2d(torch.cat((blue, red), dim=1), 2).round()
    coded = _quantized(light, _tables(_LUMA_TABLE, qualities))
    colors = _quantized(chroma, _tables(_CHROMA_TABLE, qualities))
    colors = F.interpolate(colors, scale_factor=2, mode="bilinear", align_corners=False)
    decoded = _to_rgb(coded, colors)[..., : size[0], : size[1]]
    decoded = decoded.round().clamp(0, 255) / 255
    return torch.where((qualities > 0)[:, None, None, None], decoded.to(images.dtype), images)


def _to_ycc(pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, 3, H, W) 0..255 -> luma, blue and red difference, (N, 1, H, W) each, around 0."""
    light = luma(pixels)
    red, _, blue = pixels.split(1, dim=1)
    return light - 128, (blue - light) / 1.772, (red - light) / 1.402


def _to_rgb(light: Tensor, colors: Tensor) -> Tensor:
    blue, red = colors.split(1, dim=1)
    light = light + 128
    green = light - (0.114 * 1.772 * blue + 0.299 * 1.402 * red) / 0.587
    return torch.cat((light + 1.402 * red, green, light + 1.772 * blue), dim=1)


def _quantized(plane: Tensor, tables: Tensor) -> Tensor:
    """(N, C, H, W), sides multiples of 8, through rounded 8x8 DCT coefficients."""
    count, channels, height, width = plane.shape
    basis = _dct(plane)
    blocks = plane.view(count, channels, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    blocks = blocks.transpose(3, 4)
    steps = tables[:, None, None, None]
    coefficients = (basis @ blocks @ basis.T / steps).round() * steps
    decoded = (basis.T @ coefficients @ basis).transpose(3, 4).reshape(plane.shape)
    return decoded.round().clamp(-128, 127)


def _dct(like: Tensor) -> Tensor:
    """(8, 8), the orthonormal DCT-II."""
    places = torch.arange(_BLOCK, dtype=like.dtype, device=like.device)
    waves = torch.cos((places + 0.5) * places[:, None] * math.pi / _BLOCK) * math.sqrt(2 / _BLOCK)
    waves[0] /= math.sqrt(2)
    return waves


def _tables(text: str, qualities: Tensor) -> Tensor:
    """(N, 8, 8) steps of the coefficients, scaled as libjpeg scales them."""
    base = torch.tensor([float(step) for step in text.split()], device=qualities.device)
    quality = qualities.float().clamp(min=1)[:, None]
    percent = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    steps = ((base * percent + 50) / 100).floor().clamp(1, 255)
    return steps.view(-1, _BLOCK, _BLOCK)
