"""Losses that look through fixed networks: VGG features, LPIPS, identity, landmarks.

The made-up rim and what lies outside a picture must not teach anything: where a pixel counts for
less than 1, the restored face is mixed with the truth before anyone looks at it (`seen`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..dataset.regions import centers
from ..faces.mesh import OUTLINES, load_mesh, points_of
from ..networks.face_mesh import SIDE, FaceMesh
from ..perception.lpips import LPIPS, load_lpips
from ..perception.vgg19 import VGG19, load_vgg19
from .config import Backbones, Losses
from .identity import Identity, relative_l1

_RELU2_2 = 1  # index of the feature among VGG16's five
Corner = tuple[int, int]


def seen(restored: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """The restored face (N, 3, H, W) where `weight` (N, 1, H, W) is 1, the truth where it is 0."""
    return truth + weight * (restored - truth)


def random_corners(count: int, size: int, crop: int | None, seed: int) -> list[Corner]:
    """Left top corners (x, y) of a square of `crop` pixels in each of `count` pictures."""
    generator = torch.Generator().manual_seed(seed)
    room = size - (size if crop is None else crop)
    drawn = torch.randint(room + 1, (count, 2), generator=generator).tolist()
    return [(x, y) for x, y in drawn]


def region_corners(places: Tensor, size: int, crop: int, draws: Tensor) -> list[Corner]:
    """Left top corners (x, y) of squares around the mouth or the eyes.

    Args:
        places: (N, 4), `Placement.row` of each picture.
        size: side of the pictures.
        crop: side of the squares, moved to lie inside.
        draws: (N,) 0..1; below a half it is the mouth.
    """
    mouths, places = draws < 0.5, places.cpu()
    middles = torch.where(
        mouths[:, None],
        centers("mouth", size, places).mean(dim=1),
        centers("eyes", size, places).mean(dim=1),
    )
    corners = (middles - crop / 2).round().clamp(0, size - crop).int().tolist()
    return [(x, y) for x, y in corners]


class PerceptualLosses(nn.Module):
    """The losses of `Losses` that need a backbone; the backbones are frozen and in no checkpoint.

    Raises:
        MissingDependencyError, CheckpointError: a backbone that is needed is not here.
    """

    def __init__(self, losses: Losses, backbones: Backbones) -> None:
        super().__init__()
        self.losses = losses
        own_vgg = losses.perceptual > 0 and backbones.perceptual == "vgg19"
        self.vgg19: VGG19 | None = None
        if own_vgg:
            file, digest = backbones.vgg19, backbones.vgg19_sha256
            self.vgg19 = load_vgg19(backbones.layers, file, digest)
        needs_lpips = losses.lpips > 0 or (losses.perceptual > 0 and not own_vgg)
        self.lpips: LPIPS | None = load_lpips(backbones.vgg) if needs_lpips else None
        self.identity: Identity | None = None
        if losses.needs_identity:
            self.identity = Identity(losses, backbones)
        self.mesh: FaceMesh | None = load_mesh().network if losses.landmarks else None
        if self.mesh is not None:
            self.mesh.requires_grad_(False)
        for convolution in self.modules():
            if isinstance(convolution, nn.Conv2d):  # a sixth faster on a CPU
                weight = convolution.weight.data
                convolution.weight.data = weight.contiguous(memory_format=torch.channels_last)

    def forward(
        self,
        restored: Tensor,
        truth: Tensor,
        corners: Sequence[Corner],
        draws: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The weighted losses that are on, each a scalar.

        Args:
            restored: (N, 3, S, S), RGB -1..1, in the GPEN template.
            truth: the same shape.
            corners: where the square of `perceptual_crop` lies in each picture.
            draws: (N, augmentation.DRAWS) 0..1, of `identity_augment`, see `Identity`.

        Each is as many times as strong as the steps it stands for (`perceptual_every`).
        """
        found: dict[str, Tensor] = {}
        if self.identity is not None:
            found |= self.identity(restored, truth, draws)
        if self.mesh is not None:
            distance = landmark_loss(self.mesh, restored, truth)
            found["landmarks"] = self.losses.landmarks * distance
        if self.lpips is not None or self.vgg19 is not None:
            crops = [self._crop(picture, corners) for picture in (restored, truth)]
            if self.vgg19 is not None:
                found["perceptual"] = self._vgg19_loss(self.vgg19, *crops)
            if self.lpips is not None:
                found |= self._vgg_losses(self.lpips, *crops)
        return {name: self.losses.perceptual_every * value for name, value in found.items()}

    def looks(self, step: int) -> bool:
        """Whether a step has these losses."""
        return step % self.losses.perceptual_every == 0

    @torch.inference_mode()
    def measure(self, restored: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """What the loaded networks say of faces, (N,) each: LPIPS and cosine of identities.

        Args:
            restored: (N, 3, S, S), RGB -1..1.
            truth: the same shape.
        """
        found = {}
        restored = restored.clamp(-1, 1)
        if self.lpips is not None:
            found["lpips"] = self.lpips(restored, truth)
        if self.identity is not None:
            found["identity"] = self.identity.cosine(restored, truth)
        return found

    def _crop(self, pictures: Tensor, corners: Sequence[Corner]) -> Tensor:
        side = self.losses.perceptual_crop
        if side is not None:
            squares = zip(pictures, corners, strict=True)
            pictures = torch.stack([one[:, y : y + side, x : x + side] for one, (x, y) in squares])
        return pictures.contiguous(memory_format=torch.channels_last)

    def _vgg19_loss(self, net: VGG19, restored: Tensor, truth: Tensor) -> Tensor:
        """The mean over the layers."""
        with torch.no_grad():
            wanted = net(truth)
        pairs = zip(net(restored), wanted, strict=True)
        parts = [relative_l1(features, theirs) for features, theirs in pairs]
        return self.losses.perceptual * torch.stack(parts).mean()

    def _vgg_losses(self, lpips: LPIPS, restored: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """One pass of the VGG serves both losses; without LPIPS it stops at relu2_2."""
        depth = len(lpips.weights) if self.losses.lpips else _RELU2_2 + 1
        with torch.no_grad():
            wanted = lpips.vgg(truth, depth)
        features = lpips.vgg(restored, depth)
        found = {}
        if self.losses.perceptual and self.vgg19 is None:
            difference = relative_l1(features[_RELU2_2], wanted[_RELU2_2])
            found["perceptual"] = self.losses.perceptual * difference
        if self.losses.lpips:
            found["lpips"] = self.losses.lpips * lpips.distance(features, wanted).mean()
        return found


def landmark_loss(mesh: FaceMesh, restored: Tensor, truth: Tensor) -> Tensor:
    """How far the points of the two faces' meshes lie apart, in eye distances; the batch's mean.

    Args:
        mesh: finds the points, see `networks.face_mesh`; it sees each face whole.
        restored: (N, 3, S, S), RGB -1..1.
        truth: the same shape.
    """
    with torch.autocast(restored.device.type, enabled=False):
        with torch.no_grad():
            wanted = points_of(mesh, truth.float())
        distances = (points_of(mesh, restored.float()) - wanted).norm(dim=2).mean(dim=1)
    left, right = (wanted[:, list(eye)].mean(dim=1) for eye in OUTLINES["eyes"])
    return (distances / (right - left).norm(dim=1).clamp(min=1 / SIDE)).mean()
