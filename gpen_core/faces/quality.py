"""Quality: how good a face is as it is, before anything is restored.

Estimated is the similarity that a recognition network (SFace) would find between the face and its
undamaged original: 1 where nothing is lost. Four octaves of detail tell it: how strong each is
beside the coarse shapes, and how sparse. A blurred face lacks the fine ones; in a noisy one they
are strong but everywhere, while true detail is at edges. Eight numbers through four neurons, fitted
to 1,680 pictures of training faces with every kind of damage, see docs/choosing.md.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..hooks import Hooks
from ..images.layouts import from_network
from ..images.monochrome import luma
from .align import align
from .embed import in_gpen_template
from .found import Faces
from .restore import fit

# The measures are those of crops of this side.
_SIDE = 256
# Crops held at once, 0.8 MB each.
_AT_ONCE = 32
_BLUR = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
# Left, top, right, bottom of what is looked at, as shares of the crop: the face.
_PART = (0.22, 0.25, 0.78, 0.85)
_OCTAVES, _COARSER = 4, 1
_WEIGHTS = (
    (1.261, -0.225, -0.153, -0.493, -1.047, 0.11, -0.237, 0.723),
    (-0.332, -1.797, 0.305, -2.888, 0.093, 3.314, -1.808, 2.043),
    (0.137, -0.859, 0.83, -1.632, -1.858, -0.402, -1.976, 1.259),
    (-1.454, 0.02, 0.704, -0.124, 1.737, 0.255, 0.26, -0.154),
)
_BIASES = (2.169, -1.142, -1.21, -0.554)
_OUT, _OUT_BIAS = (1.065, -0.855, -1.151, -1.038), 0.324


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
    hooks = hooks or Hooks()
    parts = [torch.zeros(0)]
    for start in range(0, len(faces), _AT_ONCE):
        hooks.may_stop()
        few = faces.take(range(start, min(start + _AT_ONCE, len(faces))))
        crops = align(images, few, _SIDE).crops
        assert crops is not None
        parts.append(quality_of(crops))
    return torch.cat(parts)


def measures(crops: Tensor) -> Tensor:
    """(N, 8) of crops (N, 3, 256, 256) -1..1 in the GPEN template, from the finest octave on.

    For each of four octaves the logarithms of its strength beside that of the coarser shapes, and
    of its sparsity: root mean square over median.
    """
    level = 2 * luma(from_network(crops)) - 1
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
    return torch.stack(found, dim=1)


def _blurred(level: Tensor) -> Tensor:
    taps = level.new_tensor(_BLUR)
    padded = functional.pad(level, (2, 2, 2, 2), mode="reflect")
    across = functional.conv2d(padded, taps.view(1, 1, 1, 5))
    return functional.conv2d(across, taps.view(1, 1, 5, 1))


def _part(octave: Tensor) -> Tensor:
    side = octave.shape[-1]
    left, top, right, bottom = (round(share * side) for share in _PART)
    return octave[..., top:bottom, left:right]
