"""Quality: how good a face is as it is, before anything is restored.

Estimated is the similarity that a recognition network (SFace) would find between the face and its
undamaged original: 1 where nothing is lost. Ten numbers tell it. Of each of four octaves of detail,
how strong it is beside the coarse shapes, and how sparse: a blurred face lacks the fine ones, in a
noisy one they are strong but everywhere, while true detail is at edges. And at two distances, how
much less a face changes along one direction than along another, as it does where it was moved.
Four neurons, fitted to 2,480 pictures of training faces with many kinds of damage; what they see
and what they miss is in docs/choosing.md.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..hooks import Hooks
from ..images.layouts import fit, from_network
from ..images.monochrome import luma
from .align import crops_in_parts
from .embed import in_gpen_template
from .found import Faces

# The measures are those of crops of this side.
_SIDE = 256
# Crops held at once, 0.8 MB each.
_AT_ONCE = 32
_BLUR = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
# Left, top, right, bottom of what is looked at, as shares of the crop: the face.
_PART = (0.22, 0.25, 0.78, 0.85)
_OCTAVES, _COARSER = 4, 1
_WEIGHTS = (
    (-1.129, 0.118, -0.26, 0.5, 1.721, 0.034, -1.674, 0.183, -1.938, 1.793),
    (0.199, -0.432, 0.342, -0.819, -3.689, -0.821, 1.713, 0.374, -1.72, -0.726),
    (0.933, 1.001, -1.134, 0.775, -1.829, -0.988, 1.242, 0.174, -2.475, 1.633),
    (-0.131, -1.027, 0.31, -3.158, -0.353, 1.926, -2.172, 1.867, 0.444, 0.477),
)
_BIASES = (-3.568, -2.204, -1.359, -0.752)
_OUT, _OUT_BIAS = (-1.023, -1.186, 1.069, -0.896), 0.313


def quality_of(crops: Tensor, template: str | None = None) -> Tensor:
    """(N,) 0..1 float32 on the CPU: how good the faces on crops (N, 3, S, S) -1..1 are.

    Args:
        crops: aligned; enlarged ones are as blurred as they look.
        template: they are aligned to; None is GPEN's.

    Example:
        >>> quality_of(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2])
    """
    if len(crops) == 0:
        return torch.zeros(0)
    crops = fit(in_gpen_template(crops.detach().float(), template or "gpen"), _SIDE)
    found = measures(crops)
    hidden = torch.tanh(found @ found.new_tensor(_WEIGHTS).T + found.new_tensor(_BIASES))
    return torch.sigmoid(hidden @ found.new_tensor(_OUT) + _OUT_BIAS).cpu()


def find_quality(images: Tensor, faces: Faces, hooks: Hooks | None = None) -> Tensor:
    """The same of faces found in (B, 3, H, W) images 0..1, which need not be aligned.

    Example:
        >>> find_quality(torch.zeros(1, 3, 48, 64), Faces.empty([(48, 64)])).shape
        torch.Size([0])
    """
    few = crops_in_parts(images, faces, _SIDE, _AT_ONCE, hooks or Hooks())
    return torch.cat([torch.zeros(0), *map(quality_of, few)])


def measures(crops: Tensor) -> Tensor:
    """(N, 10) of crops (N, 3, 256, 256) -1..1 in the GPEN template.

    For each of four octaves, the finest first, the logarithms of its strength beside that of the
    coarser shapes, and of its sparsity: root mean square over median. Then, for differences over 2
    and over 4 pixels, of the least energy in any of four directions over the greatest.
    """
    light = level = 2 * luma(from_network(crops)) - 1
    octaves = []
    for _ in range(_OCTAVES + _COARSER):
        blurred = _blurred(level)
        octaves.append(_part(level - blurred).flatten(1))
        level = blurred[..., ::2, ::2]
    strengths = [one.std(dim=1) for one in octaves]
    coarse = strengths[-2] + strengths[-1] + 0.01
    found = []
    for octave, strength in zip(octaves[:_OCTAVES], strengths, strict=False):
        middle = octave.abs().median(dim=1).values + 1e-4
        found += [((strength + 1e-4) / coarse).log(), ((strength + 1e-4) / middle).log()]
    face = _part(light)
    return torch.stack([*found, _direction(face, 1), _direction(face, 2)], dim=1)


def _direction(face: Tensor, reach: int) -> Tensor:
    """(N,) below 0, the farther the more a face (N, 1, h, w) is smeared along one direction."""
    k = reach
    across = face[..., k:-k, 2 * k :] - face[..., k:-k, : -2 * k]
    down = face[..., 2 * k :, k:-k] - face[..., : -2 * k, k:-k]
    # Over the diagonals the distance is longer by the root of 2.
    falling = (face[..., 2 * k :, 2 * k :] - face[..., : -2 * k, : -2 * k]) / 2**0.5
    rising = (face[..., 2 * k :, : -2 * k] - face[..., : -2 * k, 2 * k :]) / 2**0.5
    changes = (across, down, falling, rising)
    energies = torch.stack([one.square().mean(dim=(1, 2, 3)) for one in changes]) + 1e-6
    return (energies.amin(0) / energies.amax(0)).log()


def _blurred(level: Tensor) -> Tensor:
    taps = level.new_tensor(_BLUR)
    padded = functional.pad(level, (2, 2, 2, 2), mode="reflect")
    across = functional.conv2d(padded, taps.view(1, 1, 1, 5))
    return functional.conv2d(across, taps.view(1, 1, 5, 1))


def _part(octave: Tensor) -> Tensor:
    side = octave.shape[-1]
    left, top, right, bottom = (round(share * side) for share in _PART)
    return octave[..., top:bottom, left:right]
