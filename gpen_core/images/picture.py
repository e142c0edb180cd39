"""One picture in memory, with everything that a restoration must not lose."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from .layouts import resize


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a file says about its pixels; every format keeps what it can hold of this.

    Attributes:
        exif: EXIF block (b"Exif\\0\\0" and a TIFF directory with those of EXIF and GPS), without
            orientation and thumbnail, or None.
        icc: ICC profile, or None.
        xmp: XMP packet, or None.
        dpi: pixels per inch, (across, down), or None.
        comment: comment of a JPEG or GIF file, or None.
        text: (keyword, text) of a PNG file in its order; ComfyUI keeps its workflow there.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    comment: bytes | None = None
    text: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Picture(Metadata):
    """One picture with everything a restoration must not lose.

    Attributes:
        pixels: (3, H, W) float32 RGB, 0..1; a gray picture has three equal channels.
        alpha: (1, H, W) float32, 0..1, or None.
        gray: whether the file was gray, so that it is written gray.
        bits: 8 or 16 bits a sample.

    >>> import torch
    >>> Picture(torch.zeros(3, 4, 6)).size
    (4, 6)
    """

    pixels: Tensor
    alpha: Tensor | None = None
    gray: bool = False
    bits: int = 8

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return int(self.pixels.shape[-2]), int(self.pixels.shape[-1])

    def with_pixels(self, pixels: Tensor) -> Picture:
        """The same picture with other pixels (3, H', W'); the alpha follows a change of size."""
        alpha = self.alpha
        if alpha is not None and alpha.shape[-2:] != pixels.shape[-2:]:
            size = (int(pixels.shape[-2]), int(pixels.shape[-1]))
            alpha = resize(alpha[None], size)[0]
        return replace(self, pixels=pixels, alpha=alpha)
