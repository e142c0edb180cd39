"""Losses of whom a face shows, seen by a frozen recognition network.

A network that is looked through for long is learned by heart: its cosine rises, and others see less
of that. Two things can be done about it. Both faces are mirrored, moved and recolored alike before
it looks, as the discriminators' augmentation does; and its maps on the way are compared, which say
where something is, beside its verdict.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..perception.arcface import load_arcface
from ..perception.sface import SFace, load_sface
from .augmentation import change
from .config import Backbones, Losses

_LEAST_MEAN = 1e-6


class Identity(nn.Module):
    """`losses.identity` and `losses.identity_features`.

    Attributes:
        embed: faces in the GPEN template (N, 3, S, S), RGB -1..1 -> embeddings (N, D).

    Raises:
        MissingDependencyError, CheckpointError: the network is not here.
    """

    def __init__(self, losses: Losses, backbones: Backbones) -> None:
        super().__init__()
        self.losses = losses
        self.embed: nn.Module
        if backbones.identity == "arcface":
            self.embed = load_arcface(backbones.arcface, backbones.arcface_sha256)
        else:
            self.embed = load_sface(backbones.sface)

    def forward(
        self, restored: Tensor, truth: Tensor, draws: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The weighted losses that are on, each a scalar.

        Args:
            restored: (N, 3, S, S), RGB -1..1, in the GPEN template.
            truth: the same shape.
            draws: (N, augmentation.DRAWS) 0..1, of `identity_augment`; without them the faces
                are seen as they are.
        """
        weights, found = self.losses, {}
        with torch.autocast(restored.device.type, enabled=False):
            restored, truth = restored.float(), truth.float()
            if draws is not None and weights.identity_augment:
                pair = torch.cat((restored, truth), dim=1)
                pair = change(pair, draws.to(pair.device), weights.identity_augment)
                restored, truth = pair[:, :3], pair[:, 3:]
            with torch.no_grad():
                wanted, person = self._look(truth)
            seen, who = self._look(restored)
        if weights.identity:
            alike = F.cosine_similarity(who, person, dim=1).mean()
            found["identity"] = weights.identity * (1 - alike)
        if weights.identity_features:
            parts = [relative_l1(ours, theirs) for ours, theirs in zip(seen, wanted, strict=True)]
            found["identity_features"] = weights.identity_features * torch.stack(parts).mean()
        return found

    def cosine(self, restored: Tensor, truth: Tensor) -> Tensor:
        """The cosine of the two faces' embeddings, (N,)."""
        return F.cosine_similarity(self.embed(restored), self.embed(truth), dim=1)

    def _look(self, faces: Tensor) -> tuple[list[Tensor], Tensor]:
        """Maps, where they are asked for, and embeddings."""
        if isinstance(self.embed, SFace):
            return self.embed.look(faces)
        return [], self.embed(faces)


def relative_l1(features: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute difference over the mean size of `wanted`, for each picture; the batch's mean.

    Networks differ in the scale of their features: relu2_2 of the shift-tolerant VGG16 has a mean
    of 0.005. Relative to it, one weight fits them all.

    Args:
        features: (N, C, H, W).
        wanted: the same shape.
    """
    difference = (features.float() - wanted.float()).abs().mean(dim=(1, 2, 3))
    size = wanted.float().abs().mean(dim=(1, 2, 3)).clamp(min=_LEAST_MEAN)
    return (difference / size).mean()
