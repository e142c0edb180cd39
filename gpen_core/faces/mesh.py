"""The outline of a face and of its parts, from a mesh of 468 points.

The network and its weights come with the project, see `weights/face-mesh-192.md`. It is for masks:
from frame to frame its points tremble more than a detector's landmarks, so faces are not aligned
with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import CheckpointError
from ..models.device import OnDevice
from ..models.read import read_tensors
from ..networks.face_mesh import SIDE, FaceMesh
from ..weights.locate import helper

FILE = "face-mesh-192.safetensors"
"""Its weights, in `weights/`."""


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


OUTLINES: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "face": (
        _numbers(
            "10 338 297 332 284 251 389 356 454 323 361 288 397 365 379 378 400 377 "
            "152 148 176 149 150 136 172 58 132 93 234 127 162 21 54 103 67 109"
        ),
    ),
    "eyes": (
        _numbers("33 7 163 144 145 153 154 155 133 173 157 158 159 160 161 246"),
        _numbers("263 249 390 373 374 380 381 382 362 398 384 385 386 387 388 466"),
    ),
    "brows": (
        _numbers("46 53 52 65 55 107 66 105 63 70"),
        _numbers("276 283 282 295 285 336 296 334 293 300"),
    ),
    "mouth": (_numbers("61 146 91 181 84 17 314 405 321 375 291 409 270 269 267 0 37 39 40 185"),),
}
"""Numbers of the points around the face and its parts, in order along each closed outline."""


class Mesher(Protocol):
    """Anything that finds the points of the mesh in aligned faces.

    Example:
        >>> def in_the_middle(faces):
        ...     return torch.full((len(faces), 468, 2), 0.5)
        >>> in_the_middle(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 468, 2])
    """

    def __call__(self, faces: Tensor) -> Tensor:
        """(N, 3, T, T) RGB -1..1 to (N, 468, 2), x and y as shares of the side."""


class FaceMesher(OnDevice[FaceMesh]):
    """The mesh network with what has to happen before and after it.

    Args:
        network: see `networks.face_mesh`.
        device: where it runs.

    Example:
        >>> FaceMesher(FaceMesh())(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 468, 2])
    """

    batch = 16

    @torch.inference_mode()
    def __call__(self, faces: Tensor) -> Tensor:
        """The points, see `Mesher`."""
        if len(faces) == 0:
            return torch.zeros(0, 468, 2)
        return points_of(self.network, faces.to(self.device, torch.float32)).clone().cpu()


def points_of(network: FaceMesh, faces: Tensor) -> Tensor:
    """The points, see `Mesher`, on the network's device, and with gradients where they are asked.

    Example:
        >>> points_of(FaceMesh(), torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 468, 2])
    """
    small = functional.interpolate(faces, (SIDE, SIDE), mode="bilinear", antialias=True)
    points, _ = network(((small + 1) / 2).clamp(0, 1))
    return (points[..., :2] + 0.5) / SIDE


def load_mesh(device: torch.device | str = "cpu", path: Path | None = None) -> FaceMesher:
    """The mesh with its weights.

    Args:
        device: where it runs.
        path: the file; the project's own unless given.

    Raises:
        MissingWeightsError: the project came without it.
        CheckpointError: the file is damaged or another network's.

    Example:
        >>> load_mesh()(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 468, 2])
    """
    path = path or helper(FILE)
    state = read_tensors(path)
    network = FaceMesh()
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} does not hold the face mesh; get {FILE} again.") from error
    return FaceMesher(network, device)


def distances(points: Tensor, part: str, size: int) -> Tensor:
    """How far each pixel lies inside the outline of a part; below 0 outside.

    Args:
        points: (N, 468, 2), shares of the side.
        part: a key of `OUTLINES`; of two outlines the nearer one counts.
        size: S, of the grid of pixels.

    Returns:
        (N, 1, S, S) float32, pixels of this grid.

    Example:
        >>> corners = torch.tensor([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]])
        >>> points = torch.zeros(1, 468, 2)
        >>> outline = list(OUTLINES["mouth"][0])
        >>> points[0, outline] = corners.repeat_interleave(5, 0)
        >>> inside = distances(points, "mouth", 8) > 0
        >>> int(inside.sum())
        16
    """
    each = [_inside(points[:, list(outline)].float() * size - 0.5, size)
            for outline in OUTLINES[part]]  # fmt: skip
    return torch.stack(each).amax(0)


def _inside(corners: Tensor, size: int) -> Tensor:
    """(N, 1, S, S) from closed outlines (N, K, 2) in pixels, centers at integers.

    The distance to the nearest edge; inside where a ray to the right crosses an odd number of them.
    """
    corners = corners.detach().cpu()
    along = torch.arange(size, dtype=torch.float32)
    y, x = along[None, :, None], along[None, None, :]
    nearest = torch.full((len(corners), size, size), torch.inf)
    odd = torch.zeros(len(corners), size, size, dtype=torch.bool)
    for start, end in zip(corners.unbind(1), corners.roll(-1, 1).unbind(1), strict=True):
        (x0, y0), (x1, y1) = (one.T[..., None, None] for one in (start, end))
        dx, dy = x1 - x0, y1 - y0
        length = (dx * dx + dy * dy).clamp(min=1e-9)
        share = (((x - x0) * dx + (y - y0) * dy) / length).clamp(0, 1)
        away = (x - x0 - share * dx).square() + (y - y0 - share * dy).square()
        torch.minimum(nearest, away, out=nearest)
        crosses = (y0 > y) != (y1 > y)
        at = x0 + (y - y0) * dx / torch.where(dy == 0, torch.ones_like(dy), dy)
        odd ^= crosses & (x < at)
    distance = nearest.sqrt()
    return torch.where(odd, distance, -distance)[:, None]
