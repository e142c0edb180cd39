"""The game of generator and discriminators: losses, penalty, and one step's two halves.

Non-saturating logistic loss (Goodfellow et al., 2014) with the penalty R1 on real pictures
(Mescheder et al., 2018, arXiv 1801.04406), computed lazily, every k-th step and k times as strong
(StyleGAN2, section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..dataset import regions
from ..networks.discriminator import (
    PatchDiscriminators,
    RegionDiscriminators,
    StyleDiscriminator,
)
from .augmentation import Augmentation
from .config import TrainConfig

WHOLE, REGIONS = "whole", "regions"
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


def style_loss(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Mean absolute difference of the features' Gram matrices, the mean over the layers.

    It compares which features occur together, wherever they do (Gatys et al., 2016, arXiv
    1508.06576): an iris may lie a pixel off.
    """
    pairs = zip(real, fake, strict=True)
    return torch.stack([F.l1_loss(_gram(b), _gram(a.detach())) for a, b in pairs]).mean()


def _gram(features: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, C), relative to the pixels."""
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().flatten(2)
        return flat @ flat.mT / flat.shape[2]


@dataclass(frozen=True)
class Sight:
    """How the faces of a pass are seen.

    Attributes:
        places: (N, 4), `Placement.row` of each face; unmoved unless given.
        draws: (N, DRAWS), 0..1, of the augmentation; real and restored faces are changed alike, and
            not at all without it.
    """

    places: Tensor | None = None
    draws: Tensor | None = None


class Adversary(nn.Module):
    """The discriminators of a run.

    Attributes:
        style: StyleGAN2's, None where it is off.
        patch: the PatchGANs, None where they are off.
        regions: one for the eyes and one for the mouth, None where `losses.regions` is off.
        augmentation: of what all of them see, None where it is off.
    """

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        options, losses = config.discriminators, config.losses
        shape = config.model.judge(options.narrow)
        whole = losses.adversarial > 0
        self.style = StyleDiscriminator(shape) if options.style and whole else None
        self.patch = (
            PatchDiscriminators(shape.out_size, options.patch_width, options.patch_layers)
            if options.patch and whole
            else None
        )
        self.regions = RegionDiscriminators(options.region_width) if losses.regions else None
        self.augmentation = (
            Augmentation(options.augment_target, options.augment_pictures)
            if options.augment
            else None
        )
        self.losses = losses
        self.options = options

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What a checkpoint keeps of it, by its keys."""
        named = {"d": self.style, "d_patch": self.patch, "d_regions": self.regions}
        return {name: part for name, part in named.items() if part is not None}

    def judge(self, pictures: Tensor) -> list[Judgement]:
        """The judgements of whole faces (N, 3, S, S), RGB -1..1."""
        # Blurs and strided convolutions are several times slower in NCHW on a CPU.
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        judgements = [] if self.style is None else [self.style(pictures)]
        return judgements if self.patch is None else judgements + self.patch(pictures)

    def generator_losses(
        self, fake: Tensor, real: Tensor, sight: Sight | None = None
    ) -> dict[str, Tensor]:
        """What the generator minimizes, weighted; no gradient reaches the discriminators."""
        self.requires_grad_(False)
        weights = self.losses
        judged = self._judge(self._views(fake, sight))
        truth: dict[str, list[Judgement]] = {}
        if weights.feature_matching or weights.region_style:
            with torch.no_grad():
                truth = self._judge(self._views(real, sight))
        losses = {}
        if judged[WHOLE]:
            fooled = _mean([generator_loss(logits) for logits, _ in judged[WHOLE]])
            losses["adversarial"] = weights.adversarial * fooled
        if self.regions is not None:
            fooled = _mean([generator_loss(logits) for logits, _ in judged[REGIONS]])
            losses["regions"] = weights.regions * fooled
        if weights.feature_matching:
            everyone = _features(_flat(truth), _flat(judged))
            matched = _mean([feature_matching_loss(a, b) for a, b in everyone])
            losses["feature_matching"] = weights.feature_matching * matched
        if weights.region_style:
            pairs = _features(truth[REGIONS], judged[REGIONS])
            alike = _mean([style_loss(a, b) for a, b in pairs])
            losses["region_style"] = weights.region_style * alike
        self.requires_grad_(True)
        return losses

    def discriminator_losses(
        self, fake: Tensor, real: Tensor, sight: Sight | None = None
    ) -> dict[str, Tensor]:
        """What the discriminators minimize on detached fakes; the mean over them."""
        judged_fake = _flat(self._judge(self._views(fake.detach(), sight)))
        judged_real = _flat(self._judge(self._views(real, sight)))
        if self.augmentation is not None:
            for logits, _ in judged_real:
                self.augmentation.watch(logits)
        pairs = zip(judged_real, judged_fake, strict=True)
        return {"d": _mean([discriminator_loss(a, b) for (a, _), (b, _) in pairs])}

    def penalty(self, real: Tensor, sight: Sight | None = None) -> dict[str, Tensor]:
        """R1 in float32, times gamma / 2 and the steps it stands for; the mean over them.

        The gradient is that of what a discriminator sees, cut out and augmented already.
        """
        with torch.autocast(real.device.type, enabled=False):
            views = {
                name: view.detach().float().requires_grad_(True)
                for name, view in self._views(real, sight).items()
            }
            judged = self._judge(views)
            penalties = [r1_penalty(logits, views[WHOLE]) for logits, _ in judged[WHOLE]]
            for name, (logits, _) in zip(regions.NAMES, judged[REGIONS], strict=False):
                penalties.append(r1_penalty(logits, views[name]))
        return {"r1": self.options.r1 / 2 * self.options.r1_every * _mean(penalties)}

    def penalized(self, step: int) -> bool:
        """Whether a step has the penalty."""
        return self.options.r1 > 0 and step % self.options.r1_every == 0

    def _views(self, pictures: Tensor, sight: Sight | None) -> dict[str, Tensor]:
        """What each judge sees of faces (N, 3, S, S): the whole, the eyes, the mouth."""
        sight = sight or Sight()
        views = {WHOLE: pictures}
        if self.regions is not None:
            for name in regions.NAMES:
                views[name] = regions.squares(name, pictures, sight.places)
        if self.augmentation is not None and sight.draws is not None:
            draws = sight.draws
            views = {name: self.augmentation(view, draws) for name, view in views.items()}
        return views

    def _judge(self, views: dict[str, Tensor]) -> dict[str, list[Judgement]]:
        judged = {WHOLE: self.judge(views[WHOLE]), REGIONS: []}
        if self.regions is not None:
            judged[REGIONS] = [self.regions(name, views[name]) for name in regions.NAMES]
        return judged


def _flat(judged: dict[str, list[Judgement]]) -> list[Judgement]:
    return judged[WHOLE] + judged[REGIONS]


def _features(
    real: list[Judgement], fake: list[Judgement]
) -> list[tuple[list[Tensor], list[Tensor]]]:
    return [(a, b) for (_, a), (_, b) in zip(real, fake, strict=True)]


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean()
