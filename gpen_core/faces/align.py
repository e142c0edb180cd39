"""Turn, scale and shift each face to where the network expects it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..errors import InputError
from ..hooks import Hooks
from ..memory.allowance import Allowance
from .found import Faces
from .templates import template as template_points
from .warp import warp

# Landmarks this close together (pixels, root mean square about their mean) carry no direction.
_SMALLEST_SPREAD = 1e-3
_SMALLEST_SCALE = 1e-4


def estimate_similarity(landmarks: Tensor, template: Tensor) -> Tensor:
    """Least-squares similarity from each face's landmarks to the template.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
    PAMI 1991. In the plane a rotation with scale is `[[a, -b], [b, a]]`, linear in a and b, so the
    optimum has a closed form and needs no SVD; reflections are excluded as in the paper.

    Args:
        landmarks: (N, 5, 2) image pixels.
        template: (5, 2) crop pixels.

    Returns:
        (N, 2, 3) float64 on the CPU, image pixels to crop pixels.

    Raises:
        InputError: landmarks that are not finite, coincide, or fit the template only mirrored.

    Example:
        >>> points = template_points("gpen", 256)
        >>> matrix = estimate_similarity(points[None] * 2 + 10, points)[0]
        >>> expected = torch.tensor([[0.5, 0, -5], [0, 0.5, -5]], dtype=torch.float64)
        >>> torch.allclose(matrix, expected)
        True
    """
    source = landmarks.detach().to("cpu", torch.float64)
    target = template.detach().to("cpu", torch.float64)
    source_mean, target_mean = source.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
    x, y = (source - source_mean).unbind(-1)
    u, v = (target - target_mean).unbind(-1)
    spread = (x * x + y * y).sum(-1)
    # NaN is not above anything, and infinite landmarks lie NaN away from their mean.
    apart = spread > source.shape[-2] * _SMALLEST_SPREAD**2
    _refuse(~apart, "are not five distinct, finite points")
    a = (x * u + y * v).sum(-1) / spread
    b = (x * v - y * u).sum(-1) / spread
    _refuse(torch.hypot(a, b) < _SMALLEST_SCALE, "do not resemble a face's")
    linear = torch.stack([torch.stack([a, -b], -1), torch.stack([b, a], -1)], -2)
    shift = target_mean.mT - linear @ source_mean.mT
    return torch.cat([linear, shift], -1)


def _refuse(bad: Tensor, why: str) -> None:
    if bool(bad.any()):
        face = int(torch.nonzero(bad)[0])
        raise InputError(
            f"The landmarks of face {face} {why}, so it cannot be aligned; "
            f"leave it out or detect it again."
        )


def align(
    images: Tensor, faces: Faces, size: int, template: str = "gpen", hooks: Hooks | None = None
) -> Faces:
    """Cut every face out of its image, upright and at the network's size.

    Bicubic on the images' device, antialiased where a face has more pixels than its crop; outside
    the picture lies its mirror image.

    Args:
        images: (B, 3, H, W) float RGB 0..1.
        faces: with landmarks; `source` says which image each face is of.
        size: side of the crops in pixels.
        template: "gpen" or "ffhq".
        hooks: told about the stage "align".

    Returns:
        The faces with `matrices` (N, 2, 3) float32 and `crops` (N, 3, size, size) float32 -1..1,
        on the images' device, or on the CPU where that one has no memory left.

    Raises:
        InputError: unusable landmarks, an unknown template, a face of an image that is not there.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> picture = torch.rand(1, 3, 128, 128)
        >>> faces = as_faces(picture, "gpen")  # a picture that is one aligned face already
        >>> align(picture, faces, 64).crops.shape
        torch.Size([1, 3, 64, 64])
    """
    points = template_points(template, size)
    matrices = estimate_similarity(faces.landmarks, points)
    sources = faces.source.tolist()
    wrong = [source for source in sources if not 0 <= source < len(images)]
    if wrong:
        raise InputError(
            f"A face belongs to image {wrong[0]}, which is not among the {len(images)} given; pass "
            f"the images in which the faces were detected."
        )
    hooks = hooks or Hooks()

    def cut_out(_: int, device: torch.device) -> Tensor:
        crops = torch.empty(len(faces), 3, size, size, device=device)
        for face, source in enumerate(sources):
            image = images[source].to(device)
            crop = warp(image, matrices[face], (size, size), border="reflect")
            crops[face] = crop.mul_(2).sub_(1).clamp_(-1, 1)
            hooks.progress("align", face + 1, len(faces))
        return crops

    crops = Allowance("aligning faces", hooks.event, device=images.device)(cut_out)
    return faces.with_(
        matrices=matrices.to(faces.landmarks.device, torch.float32),
        crops=crops,
        template=template,
    )


def crops_in_parts(
    images: Tensor, faces: Faces, size: int, at_once: int, hooks: Hooks
) -> Iterator[Tensor]:
    """Crops of faces found in images, (n, 3, size, size) -1..1 of at most so many at a time.

    Args:
        images: (B, 3, H, W) 0..1.
        faces: found in them.
        size: side of the crops, pixels.
        at_once: n; bounds the memory.
        hooks: may stop in between.

    Example:
        >>> from gpen_core.faces.aligned import as_faces
        >>> pictures = torch.zeros(3, 3, 64, 64)
        >>> few = crops_in_parts(pictures, as_faces(pictures, "gpen"), 32, 2, Hooks())
        >>> [len(crops) for crops in few]
        [2, 1]
    """
    for start in range(0, len(faces), at_once):
        hooks.may_stop()
        few = faces.take(range(start, min(start + at_once, len(faces))))
        crops = align(images, few, size).crops
        assert crops is not None
        yield crops
