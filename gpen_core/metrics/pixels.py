"""Metrics of the pixels alone: PSNR and SSIM."""

from __future__ import annotations

from torch import Tensor

from ..errors import InputError

_LEAST_ERROR = 1e-10  # equal pictures have 100 dB rather than infinitely many
_WINDOW = 11


def psnr(pictures: Tensor, truth: Tensor) -> Tensor:
    """(N,) dB of pictures (N, 3, H, W) -1..1, clamped, against the truth; 100 where they are equal.

    The squared error is the mean over all pixels and RGB channels, the peak is the range of 2.

    Example:
        >>> import torch
        >>> psnr(torch.full((1, 3, 8, 8), 0.2), torch.zeros(1, 3, 8, 8))
        tensor([20.])
    """
    error = (pictures.float().clamp(-1, 1) - truth.float()).square().mean(dim=(1, 2, 3)) / 4
    return -10 * error.clamp(min=_LEAST_ERROR).log10()


def ssim(pictures: Tensor, truth: Tensor) -> Tensor:
    """(N,) structural similarity of pictures (N, 3, H, W) -1..1, clamped; 1 where they are equal.

    Wang et al., *Image Quality Assessment: From Error Visibility to Structural Similarity*, 2004:
    Gaussian window of 11 pixels and sigma 1.5, K1 0.01, K2 0.03, whole windows only; the mean over
    positions and RGB channels.

    Raises:
        InputError: a side is shorter than the window.
    """
    if min(pictures.shape[-2:]) < _WINDOW:
        raise InputError(f"SSIM needs pictures of {_WINDOW} px or more, not {pictures.shape[-1]}.")
    from kornia.metrics import ssim as ssim_map  # late: kornia takes a second to import

    one, other = ((part.float().clamp(-1, 1) + 1) / 2 for part in (pictures, truth))
    found = ssim_map(one, other, window_size=_WINDOW, max_val=1.0, padding="valid")
    return found.mean(dim=(1, 2, 3))
