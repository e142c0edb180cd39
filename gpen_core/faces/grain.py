"""Grain: the noise of a picture, measured around a face and made again for the face.

A restored face is clean; on grainy film it looks pasted in. Here grain is what is left of a picture
without its low frequencies, where the picture has no edges: its covariance between the channels and
its correlation from pixel to pixel. Noise with the same spectrum is drawn by filtering white noise
in the frequency domain.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

from ..images.monochrome import Tone, luma

# Share of the pixels looked at, those where the blurred picture is flattest; and how many at least
# and at most.
_FLAT, _LEAST, _MOST = 0.5, 400, 20_000
# Nothing is measured in blacks and whites that are cut off.
_DARKEST, _LIGHTEST = 0.02, 0.98
# Toward black and white grain fades out over this much brightness.
_CLIPPING = 0.08
# Median absolute deviation of a normal distribution, and where outliers are cut, in deviations.
_MAD, _CUT = 0.6745, 2.5
# Sigma of the blur that tells grain from picture, in pixels of a picture that is not enlarged.
_SIGMA = 2.0
# Low frequencies of which the measurement sees less are not amplified further.
_LEAST_PASSED = 0.6


@dataclass(frozen=True)
class Surroundings:
    """What lies around a face, in the picture that it is pasted into.

    Attributes:
        picture: (3, H, W) 0..1, the face's box and a margin.
        box: `x0, y0, x1, y1` of the face in it.
        scale: how many times the picture is enlarged.
        tone: of the picture, None where it has colors.
    """

    picture: Tensor
    box: tuple[int, int, int, int]
    scale: float = 1.0
    tone: Tone | None = None


def with_grain(face: Tensor, mask: Tensor, around: Surroundings, amount: float) -> Tensor | None:
    """A face with the grain of what lies around it, as far as it has less of its own.

    Measured where the mask is 0. At the mask's edge, where face and surroundings are mixed and
    their noise averages out, more is added, so that there is no smooth ring.

    Args:
        face: (3, h, w) 0..1.
        mask: (1, h, w) 0..1, how much of the face will be used.
        around: where it goes.
        amount: 0..1 of the missing grain.

    Returns:
        (3, h, w) 0..1, or None where the surroundings do not show their grain. The same picture
        gives the same noise on every device.
    """
    x0, y0, x1, y1 = around.box
    outside = torch.ones(around.picture.shape[-2:], dtype=torch.bool)
    outside[y0:y1, x0:x1] = mask[0].cpu() == 0
    sigma = _SIGMA * max(around.scale, 1.0)
    grain = Grain.measure(around.picture, outside, sigma)
    if grain is None:
        return None
    missing = grain.without(Grain.measure(face, mask[0] > 0.5, sigma))
    if around.tone is not None:
        missing = missing.gray()
    pixels = (around.picture.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    noise = missing.field(
        (face.shape[-2], face.shape[-1]), zlib.crc32(pixels.cpu().numpy().tobytes())
    )
    edge = (2 / mask.clamp(min=0.02) - 1).sqrt()
    noise = amount * noise.to(face.device, face.dtype) * edge * _shown(face)
    if around.tone is None:
        return (face + noise).clamp(0, 1)
    light = (luma(face[None]) + noise[None, :1]).clamp(0, 1)
    return around.tone.apply(light.expand(-1, 3, -1, -1))[0]


def _shown(face: Tensor) -> Tensor:
    """(1, h, w) 0..1: how much grain a brightness shows; none where film or file end."""
    light = luma(face[None])[0]
    return (torch.minimum(light, 1 - light) / _CLIPPING).clamp(0, 1)


@dataclass(frozen=True)
class Grain:
    """The noise of a picture.

    Attributes:
        covariance: (3, 3) float64, between the channels, of what is above the blur.
        correlation: (3, 2 R + 1, 2 R + 1) float64, of each channel from pixel to pixel, 1 in the
            middle.
        sigma: of the blur, pixels.
    """

    covariance: Tensor
    correlation: Tensor
    sigma: float

    @staticmethod
    def measure(picture: Tensor, where: Tensor, sigma: float) -> Grain | None:
        """The grain of a picture in some of its pixels.

        Args:
            picture: (3, H, W) float, 0..1.
            where: (H, W) bool, the pixels to look at.
            sigma: of the blur that tells grain from picture, pixels.

        Returns:
            None where there are too few pixels without edges to tell.
        """
        reach = math.ceil(3 * sigma)
        size = 2 * math.ceil(3 * sigma) + 1
        if min(picture.shape[-2:]) < max(size, 2 * reach + 2):
            return None
        picture = picture.detach().float().cpu()
        low = gaussian_blur2d(picture[None], size, (sigma, sigma), "reflect")[0]
        residual = (picture - low).double()
        chosen = _flat(low, where.cpu(), reach)
        if chosen is None:
            return None
        values = residual.flatten(1)[:, chosen]
        spread = values.abs().median(dim=1).values / _MAD
        limit = (_CUT * spread).clamp(min=1e-9)[:, None]
        cut = values.clamp(-limit, limit)
        deviation = cut.pow(2).mean(dim=1).sqrt().clamp(min=1e-12)
        between = (cut @ cut.T / len(chosen)) / torch.outer(deviation, deviation)
        residual = residual.clamp(-limit[..., None], limit[..., None])
        return Grain(
            covariance=between * torch.outer(spread, spread),
            correlation=_correlation(residual, chosen, reach),
            sigma=sigma,
        )

    @property
    def deviation(self) -> float:
        """Root mean square over the channels, 0..1."""
        return math.sqrt(max(0.0, float(self.covariance.trace()) / 3))

    def without(self, other: Grain | None) -> Grain:
        """What this grain has more than another one."""
        if other is None:
            return self
        return replace(self, covariance=self.covariance - other.covariance)

    def gray(self) -> Grain:
        """The same in one channel for all three: that of their mean."""
        mean = self.covariance.mean().expand(3, 3).clone()
        return replace(
            self, covariance=mean, correlation=self.correlation.mean(0).expand_as(self.correlation)
        )

    def field(self, size: tuple[int, int], seed: int) -> Tensor:
        """Noise (3, height, width) float32 that measures as this grain; one seed, one noise."""
        height, width = (max(side, self.correlation.shape[-1]) for side in size)
        generator = torch.Generator().manual_seed(seed)
        white = torch.randn(3, height, width, generator=generator, dtype=torch.float64)
        amplitude, passed = self._amplitude((height, width))
        shaped = torch.fft.irfft2(torch.fft.rfft2(white) * amplitude, s=(height, width))
        # What the measurement would see of it has unit variance; now the channels are mixed.
        shaped /= passed[:, None, None].clamp(min=1e-12)
        values, vectors = torch.linalg.eigh((self.covariance + self.covariance.T) / 2)
        mix = vectors * values.clamp(min=0).sqrt()
        noise = torch.einsum("ij,jhw->ihw", mix, shaped)
        return noise[:, : size[0], : size[1]].float()

    def _amplitude(self, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """(3, h, w // 2 + 1) of every frequency, and (3,) the deviation seen above the blur."""
        height, width = size
        reach = self.correlation.shape[-1] // 2
        # Flat in the middle, so that near neighbors are as alike as they were measured.
        along = torch.arange(-reach, reach + 1, dtype=torch.float64).abs() / (reach + 1)
        window = (1 + torch.cos(math.pi * (2 * along - 1).clamp(min=0))) / 2
        lags = torch.zeros(3, height, width, dtype=torch.float64)
        span = 2 * reach + 1
        lags[:, :span, :span] = self.correlation * window[:, None] * window
        lags = lags.roll((-reach, -reach), (-2, -1))
        power = torch.fft.rfft2(lags).real.clamp(min=0)
        y = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
        x = torch.fft.rfftfreq(width, dtype=torch.float64)[None]
        # The Fourier transform of a Gaussian is one.
        seen = 1 - torch.exp(-2 * (math.pi * self.sigma) ** 2 * (x**2 + y**2))
        amplitude = power.sqrt() / seen.clamp(min=_LEAST_PASSED)
        amplitude[:, 0, 0] = 0  # no change of brightness
        passed = torch.fft.irfft2((amplitude * seen) ** 2, s=size)[:, 0, 0].clamp(min=0).sqrt()
        return amplitude, passed


def _flat(low: Tensor, where: Tensor, reach: int) -> Tensor | None:
    """Indices of pixels without edges, away from the border; None where there are too few."""
    across = (low[:, :, 2:] - low[:, :, :-2])[:, 1:-1].abs().amax(0)
    down = (low[:, 2:] - low[:, :-2])[:, :, 1:-1].abs().amax(0)
    slope = torch.full(low.shape[1:], math.inf)
    slope[1:-1, 1:-1] = torch.maximum(across, down)
    light = low.mean(0)
    inside = where & (light > _DARKEST) & (light < _LIGHTEST)
    inside[:reach], inside[-reach:] = False, False
    inside[:, :reach], inside[:, -reach:] = False, False
    slope = torch.where(inside, slope, math.inf).flatten()
    count = int(int(inside.sum()) * _FLAT)
    if count < _LEAST:
        return None
    flat = slope.argsort(stable=True)[:count].sort().values
    return flat[:: max(1, count // _MOST)]


def _correlation(residual: Tensor, chosen: Tensor, reach: int) -> Tensor:
    """(3, 2 R + 1, 2 R + 1) from the chosen pixels to those around them."""
    width = residual.shape[-1]
    flat = residual.flatten(1)
    here = flat[:, chosen]
    lags = torch.zeros(3, 2 * reach + 1, 2 * reach + 1, dtype=torch.float64)
    for y in range(reach + 1):
        for x in range(-reach, reach + 1):
            product = (here * flat[:, chosen + y * width + x]).mean(dim=1)
            lags[:, reach + y, reach + x] = product
            lags[:, reach - y, reach - x] = product  # the same, seen from the other pixel
    middle = lags[:, reach, reach]
    lags /= middle.clamp(min=1e-24)[:, None, None]
    lags[:, reach, reach] = 1
    return lags
