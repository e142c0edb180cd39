"""The game of generator and discriminators: losses, penalty, and one step's two halves.

Non-saturating logistic loss (Goodfellow et al., 2014) with the penalty R1 on real pictures
(Mescheder et al., 2018, arXiv 1801.04406), computed lazily, every k-th step and k times as strong
(StyleGAN2, section 3.1).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.discriminator import PatchDiscriminators, StyleDiscriminator
from .config import TrainConfig

Judgement = tuple[Tensor, list[Tensor]]
"""A discriminator's logits, of any shape, and its features."""


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """`softplus(-real) + softplus(fake)`, means over all logits."""
    return F.softplus(-real.float()).mean() + F.softplus(fake.float()).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """`softplus(-fake)`, the mean over all logits."""
    return F.softplus(-fake.float()).mean()


def r1_penalty(logits: Tensor, pictures: Tensor) -> Tensor:
    """The squared norm of d(logit) / d(picture), the mean over the batch.

    With a map of P logits, their sum over sqrt(P) is derived: were the patches disjoint, that would
    be the mean of the patches' own penalties, whatever the size of the picture.

    Args:
        logits: (N, ...), computed from `pictures`, which require a gradient.
        pictures: (N, C, H, W).
    """
    patches = logits[0].numel()
    (gradient,) = torch.autograd.grad(logits.sum() / patches**0.5, pictures, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def feature_matching_loss(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Mean absolute difference of the features, the mean over the layers."""
    pairs = zip(real, fake, strict=True)
    return torch.stack([F.l1_loss(b.float(), a.detach().float()) for a, b in pairs]).mean()


class Adversary(nn.Module):
    """The discriminators of a run.

    Attributes:
        style: StyleGAN2's, None where it is off.
        patch: the PatchGANs, None where they are off.
    """

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        options = config.discriminators
        shape = config.model.shape()
        if options.narrow is not None:
            wider = config.model.model_copy(update={"narrow": options.narrow})
            shape = wider.shape()
        self.style = StyleDiscriminator(shape) if options.style else None
        self.patch = (
            PatchDiscriminators(shape.out_size, options.patch_width, options.patch_layers)
            if options.patch
            else None
        )
        self.losses = config.losses
        self.options = options

    def judge(self, pictures: Tensor) -> list[Judgement]:
        """Every discriminator's judgement of (N, 3, S, S), RGB -1..1."""
        # Blurs and strided convolutions are several times slower in NCHW on a CPU.
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        judgements = [] if self.style is None else [self.style(pictures)]
        return judgements if self.patch is None else judgements + self.patch(pictures)

    def generator_losses(self, fake: Tensor, real: Tensor) -> dict[str, Tensor]:
        """What the generator minimizes, weighted; no gradient reaches the discriminators."""
        self.requires_grad_(False)
        judged = self.judge(fake)
        adversarial = _mean([generator_loss(logits) for logits, _ in judged])
        losses = {"adversarial": self.losses.adversarial * adversarial}
        if self.losses.feature_matching:
            with torch.no_grad():
                truth = self.judge(real)
            matched = _mean(
                [feature_matching_loss(a, b) for (_, a), (_, b) in zip(truth, judged, strict=True)]
            )
            losses["feature_matching"] = self.losses.feature_matching * matched
        self.requires_grad_(True)
        return losses

    def discriminator_losses(self, fake: Tensor, real: Tensor) -> dict[str, Tensor]:
        """What the discriminators minimize on detached fakes; the mean over them."""
        judged_fake, judged_real = self.judge(fake.detach()), self.judge(real)
        pairs = zip(judged_real, judged_fake, strict=True)
        return {"d": _mean([discriminator_loss(a, b) for (a, _), (b, _) in pairs])}

    def penalty(self, real: Tensor) -> dict[str, Tensor]:
        """R1 in float32, times gamma / 2 and the steps it stands for; the mean over them."""
        with torch.autocast(real.device.type, enabled=False):
            pictures = real.detach().float().requires_grad_(True)
            penalties = [r1_penalty(logits, pictures) for logits, _ in self.judge(pictures)]
        return {"r1": self.options.r1 / 2 * self.options.r1_every * _mean(penalties)}

    def penalized(self, step: int) -> bool:
        """Whether a step has the penalty."""
        return self.options.r1 > 0 and step % self.options.r1_every == 0


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean()
