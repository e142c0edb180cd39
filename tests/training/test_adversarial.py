"""The discriminators and their game, against formulas worked out another way."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gpen_core.dataset.placement import Placement
from gpen_core.dataset.regions import NAMES, centers
from gpen_core.errors import CheckpointError, InputError
from gpen_core.models.identify import identify
from gpen_core.models.unwrap import Weights
from gpen_core.networks import GPENConfig
from gpen_core.networks.discriminator import (
    PatchDiscriminators,
    RegionDiscriminators,
    StyleDiscriminator,
    append_stddev,
)

pytest.importorskip("yaml", reason="pyyaml, of the extra gpen[train], is not installed")
pytest.importorskip("pydantic", reason="pydantic, of the extra gpen[train], is not installed")
config_module = pytest.importorskip("gpen_core.training.config")
adversarial = pytest.importorskip("gpen_core.training.adversary")
augmentation = pytest.importorskip("gpen_core.training.augmentation")


@pytest.fixture
def adversary(write_config):
    torch.manual_seed(0)
    losses = {"adversarial": 0.5, "feature_matching": 2.0}
    return adversarial.Adversary(config_module.read_config(write_config(losses=losses)))


def test_the_keys_are_those_of_stylegan2():
    with torch.device("meta"):
        state = StyleDiscriminator(GPENConfig.create(256, 0.5, 1)).state_dict()
    expected = {"convs.0.0.weight": (32, 3, 1, 1), "convs.0.1.bias": (32,)}
    widths = [32, 64, 128, 256, 256, 256, 256]
    for index, (width, out) in enumerate(itertools.pairwise(widths), start=1):
        expected |= {
            f"convs.{index}.conv1.0.weight": (width, width, 3, 3),
            f"convs.{index}.conv1.1.bias": (width,),
            f"convs.{index}.conv2.0.kernel": (4, 4),
            f"convs.{index}.conv2.1.weight": (out, width, 3, 3),
            f"convs.{index}.conv2.2.bias": (out,),
            f"convs.{index}.skip.0.kernel": (4, 4),
            f"convs.{index}.skip.1.weight": (out, width, 1, 1),
        }
    expected |= {
        "final_conv.0.weight": (256, 257, 3, 3),
        "final_conv.1.bias": (256,),
        "final_linear.0.weight": (256, 4096),
        "final_linear.0.bias": (256,),
        "final_linear.1.weight": (1, 256),
        "final_linear.1.bias": (1,),
    }
    assert {key: tuple(value.shape) for key, value in state.items()} == expected


def test_its_file_is_recognized_as_no_restorer():
    state = StyleDiscriminator(GPENConfig.create(64, 0.03125, 1)).state_dict()
    with pytest.raises(CheckpointError, match="discriminator"):
        identify(Weights(state), "D.pth")


@pytest.mark.parametrize("size", [64, 256])
@pytest.mark.parametrize("batch", [1, 3, 4])
def test_shapes_of_the_style_discriminator(size, batch):
    config = GPENConfig.create(size, 0.015625, 1)
    logits, features = StyleDiscriminator(config)(torch.rand(batch, 3, size, size))
    assert logits.shape == (batch, 1)
    sides = [size >> level for level in range(len(features))]
    assert [tuple(f.shape[1:]) for f in features] == [(config.width(s), s, s) for s in sides]
    assert sides[-1] == 4


def test_there_is_a_patch_discriminator_for_every_scale():
    judges = PatchDiscriminators(256, width=4, layers=2)
    assert judges.scales == [64, 128, 256]
    judged = judges(torch.rand(2, 3, 256, 256))
    assert [tuple(logits.shape) for logits, _ in judged] == [
        (2, 1, scale // 4, scale // 4) for scale in judges.scales
    ]
    assert [tuple(f.shape[1:]) for f in judged[0][1]] == [(4, 64, 64), (8, 32, 32), (16, 16, 16)]
    assert PatchDiscriminators(64, 4).scales == [64]
    for size in (32, 100):
        with pytest.raises(InputError, match="power of two"):
            PatchDiscriminators(size)


def test_a_patch_sees_its_neighborhood_only():
    judges = PatchDiscriminators(64, width=4, layers=2)
    x = torch.rand(1, 3, 64, 64)
    changed = x.clone()
    changed[..., :8, :8] += 1
    difference = (judges(x)[0][0] - judges(changed)[0][0]).abs()[0, 0]
    assert difference[0, 0] > 0 and difference[8:, 8:].max() == 0


def test_the_deviation_of_a_minibatch():
    x = torch.randn(6, 5, 4, 4, generator=torch.Generator().manual_seed(1))
    y = append_stddev(x, group=4)  # 4 does not divide 6: groups of three, 0 2 4 and 1 3 5
    assert torch.equal(y[:, :5], x)
    for start in (0, 1):
        group = x[start::2]
        deviation = ((group - group.mean(0)).square().mean(0) + 1e-8).sqrt().mean()
        assert y[start::2, 5] == pytest.approx(float(deviation), rel=1e-5)
    assert append_stddev(x[:1])[:, 5].max() == pytest.approx(1e-4)


def test_the_logistic_losses():
    real, fake = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.5], [3.0]])
    minus_log = [
        -math.log(1 / (1 + math.exp(-2))) - math.log(1 - 1 / (1 + math.exp(-0.5))),
        -math.log(1 / (1 + math.exp(1))) - math.log(1 - 1 / (1 + math.exp(-3))),
    ]
    assert adversarial.discriminator_loss(real, fake) == pytest.approx(sum(minus_log) / 2)
    expected = -(math.log(1 / (1 + math.exp(-0.5))) + math.log(1 / (1 + math.exp(-3)))) / 2
    assert adversarial.generator_loss(fake) == pytest.approx(expected)


def test_r1_of_a_linear_judge_is_the_norm_of_its_weights():
    weight = torch.randn(3 * 8 * 8, dtype=torch.float64)
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    penalty = adversarial.r1_penalty(x.flatten(1) @ weight[:, None], x)
    assert float(penalty) == pytest.approx(float(weight.square().sum()))


def test_r1_against_finite_differences():
    torch.manual_seed(0)
    judge = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(64, 1))
    judge = judge.double()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    slopes = []
    for index in range(x[0].numel()):
        step = torch.zeros_like(x).view(2, -1)
        step[:, index] = 1e-5
        step = step.view_as(x)
        slopes.append((judge(x + step) - judge(x - step)) / 2e-5)
    by_hand = torch.cat(slopes, dim=1).square().sum(dim=1).mean()
    x.requires_grad_(True)
    assert adversarial.r1_penalty(judge(x), x).item() == pytest.approx(by_hand.item(), rel=1e-6)


def test_r1_of_disjoint_patches_is_their_mean():
    judge = nn.Conv2d(3, 1, 4, stride=4, bias=False)
    x = torch.randn(1, 3, 16, 16, requires_grad=True)
    penalty = adversarial.r1_penalty(judge(x), x)
    assert penalty.item() == pytest.approx(judge.weight.square().sum().item(), rel=1e-5)


def test_the_penalty_is_lazy_and_reaches_the_weights(adversary):
    assert [step for step in range(7) if adversary.penalized(step)] == [0, 3, 6]
    real = torch.rand(2, 3, 64, 64)
    loss = adversary.penalty(real)["r1"]
    pictures = real.clone().requires_grad_(True)
    alone = [adversarial.r1_penalty(logits, pictures) for logits, _ in adversary.judge(pictures)]
    assert loss.item() == pytest.approx(10 / 2 * 3 * sum(alone).item() / len(alone), rel=1e-5)
    loss.backward()
    assert adversary.style.convs[0][0].weight.grad.abs().sum() > 0
    assert adversary.patch.nets["64"].first[0].weight.grad.abs().sum() > 0


def test_each_side_moves_only_itself(adversary):
    real, fake = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64, requires_grad=True)
    losses = adversary.generator_losses(fake, real)
    assert set(losses) == {"adversarial", "feature_matching"}
    sum(losses.values()).backward()
    assert fake.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in adversary.parameters())
    fake.grad = None
    adversary.discriminator_losses(fake, real)["d"].backward()
    assert fake.grad is None
    assert all(parameter.grad is not None for parameter in adversary.parameters())


def test_features_match_where_the_pictures_do(adversary):
    x = torch.rand(2, 3, 64, 64)
    losses = adversary.generator_losses(x, x)
    assert losses["feature_matching"] == 0
    by_hand = [F.softplus(-logits).mean() for logits, _ in adversary.judge(x)]
    expected = 0.5 * torch.stack(by_hand).mean().item()
    assert losses["adversarial"].item() == pytest.approx(expected)


def test_a_discriminator_learns_to_tell(adversary):
    """Noise against flat gray: easy, and still it takes a working game to learn it."""
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(adversary.parameters(), 1e-2, betas=(0.0, 0.99))
    losses = []
    for _ in range(12):
        real, fake = torch.rand(4, 3, 64, 64) * 2 - 1, torch.rand(4, 3, 1, 1).expand(4, 3, 64, 64)
        loss = adversary.discriminator_losses(fake, real)["d"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(2 * math.log(2), rel=0.3)
    assert losses[-1] < 0.5 * losses[0]


# --- eyes and mouth ------------------------------------------------------------------------------


@pytest.fixture
def regional(write_config):
    """Judges of the regions alone."""
    torch.manual_seed(0)
    losses = {"regions": 0.5, "region_style": 2.0}
    path = write_config(losses=losses, discriminators={"region_width": 8})
    return adversarial.Adversary(config_module.read_config(path))


def test_there_is_a_judge_for_the_eyes_and_one_for_the_mouth(regional):
    assert regional.style is None and regional.patch is None
    assert list(regional.parts) == ["d_regions"]
    judges = RegionDiscriminators(8)
    for name, channels, side in (("eyes", 6, 64), ("mouth", 3, 80)):
        logits, features = judges(name, torch.rand(2, channels, side, side))
        assert logits.shape[:2] == (2, 1) and len(features) == 5


def test_they_see_their_regions_and_nothing_else(regional):
    """And follow the face: moved places see other pixels."""
    real = torch.rand(1, 3, 64, 64)
    fake = real.clone().requires_grad_(True)
    for places in (None, Placement(shift=(0.1, 0.1)).row()):
        fake.grad = None
        losses = regional.generator_losses(fake, real, adversarial.Sight(places))
        assert set(losses) == {"regions", "region_style"}
        losses["regions"].backward()
        seen = fake.grad.abs().sum(dim=(0, 1)) > 0
        for name in NAMES:
            spots = centers(name, 64, Placement().row() if places is None else places)
            for x, y in spots[0].round().int().tolist():
                assert seen[y, x]
        assert not seen[:20].any()
        assert bool(seen[23:26].any()) == (places is None)


def test_the_style_of_a_region_vanishes_at_the_truth_and_teaches(regional):
    x = torch.rand(2, 3, 64, 64)
    assert regional.generator_losses(x, x)["region_style"] == 0
    fake = torch.rand(2, 3, 64, 64, requires_grad=True)
    loss = regional.generator_losses(fake, x)["region_style"]
    loss.backward()
    assert loss > 0 and fake.grad.abs().sum() > 0


def test_gram_matrices_forget_where_things_are():
    features = [torch.rand(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))]
    mixed = [features[0].flatten(2)[..., torch.randperm(64)].view(1, 4, 8, 8)]
    assert adversarial.style_loss(features, mixed) == pytest.approx(0, abs=1e-6)
    assert adversarial.feature_matching_loss(features, mixed) > 0.1
    flat = features[0].flatten(2)[0]
    by_hand = (flat @ flat.T / 64 - 4 * flat @ flat.T / 64).abs().mean()
    doubled = adversarial.style_loss(features, [2 * features[0]])
    assert doubled.item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_the_penalty_covers_the_regions(regional):
    regional.penalty(torch.rand(2, 3, 64, 64))["r1"].backward()
    for name in NAMES:
        assert regional.regions.nets[name].first[0].weight.grad.abs().sum() > 0


# --- augmentation --------------------------------------------------------------------------------


def test_nothing_is_changed_at_first_and_everything_may_be_later():
    pictures = torch.rand(8, 3, 32, 32) * 2 - 1
    draws = torch.rand(8, augmentation.DRAWS, generator=torch.Generator().manual_seed(0))
    augment = augmentation.Augmentation(0.6, 1000)
    assert torch.equal(augment(pictures, draws), pictures)
    augment.p.fill_(0.8)
    changed = augment(pictures, draws)
    assert torch.equal(changed, augment(pictures, draws))
    assert all(not torch.equal(a, b) for a, b in zip(changed, pictures, strict=True))
    rarely = augmentation.change(pictures, draws, 0.05)
    same = [torch.allclose(a, b, atol=1e-6) for a, b in zip(rarely, pictures, strict=True)]
    assert 3 <= sum(same) < 8


def test_each_change_does_what_it_says():
    picture = torch.rand(1, 3, 32, 32) * 2 - 1
    spot = torch.zeros(1, 3, 33, 33)
    spot[..., 16, 16] = 1

    def only(index: int, strength: float, x: torch.Tensor) -> torch.Tensor:
        draws = torch.ones(1, augmentation.DRAWS)
        draws[0, index] = 0
        draws[0, 8 + index] = (strength + 1) / 2
        return augmentation.change(x, draws, 0.5)

    torch.testing.assert_close(only(0, 0, picture), picture.flip(-1), atol=1e-5, rtol=0)
    moved = only(3, 1, spot)  # a grid that looks to the right moves the picture to the left
    assert moved[0, 0].sum(dim=0).argmax() == 16 - round(0.06 * 33)
    assert only(4, 1, spot)[0, 0].sum(dim=1).argmax() == 16 - round(0.06 * 33)
    turned = only(1, 1, picture.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1))
    assert turned[0, 0, 16, 16] == pytest.approx(float(picture[0].mean(dim=0)[16, 16]), abs=0.3)
    torch.testing.assert_close(only(5, 1, picture), picture + 0.2)
    torch.testing.assert_close(only(6, 1, picture), picture * math.exp(0.3))
    luma = (picture * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    expected = luma + (picture - luma) * math.exp(0.5)
    torch.testing.assert_close(only(7, 1, picture), expected)


def test_six_channels_are_changed_as_two_pictures():
    pair = torch.rand(2, 6, 32, 32)
    draws = torch.rand(2, augmentation.DRAWS)
    both = augmentation.change(pair, draws, 0.7)
    for half in (slice(0, 3), slice(3, 6)):
        torch.testing.assert_close(both[:, half], augmentation.change(pair[:, half], draws, 0.7))


def test_the_probability_follows_the_certainty_of_real_faces():
    augment = augmentation.Augmentation(0.6, 1000)
    augment.watch(torch.tensor([[2.0], [1.0], [3.0], [-1.0]]))
    assert augment.certainty == pytest.approx(0.5)
    augment.watch(torch.ones(4, 1, 2, 2))
    assert augment.certainty == pytest.approx(0.75)
    augment.adapt(float(augment.certainty), 100)
    assert augment.p == pytest.approx(0.1) and augment.seen == 0
    augment.adapt(0.2, 50)
    assert augment.p == pytest.approx(0.05)
    augment.adapt(1.0, 10**6)
    assert augment.p == pytest.approx(0.8)
    augment.adapt(0.0, 10**6)
    assert augment.p == 0


def test_real_and_restored_are_changed_alike_and_the_gradient_passes(write_config):
    losses = {"adversarial": 0.5, "feature_matching": 1.0, "regions": 0.5}
    config = write_config(losses=losses, discriminators={"augment": True, "patch_width": 4})
    adversary = adversarial.Adversary(config_module.read_config(config))
    adversary.augmentation.p.fill_(0.8)
    x = torch.rand(2, 3, 64, 64)
    draws = torch.rand(2, augmentation.DRAWS, generator=torch.Generator().manual_seed(2))
    sight = adversarial.Sight(draws=draws)
    assert adversary.generator_losses(x, x, sight)["feature_matching"] == 0
    plain = adversary.generator_losses(x, x)["adversarial"]
    assert adversary.generator_losses(x, x, sight)["adversarial"] != plain
    fake = x.clone().requires_grad_(True)
    sum(adversary.generator_losses(fake, x, sight).values()).backward()
    assert fake.grad.abs().sum() > 0
    adversary.penalty(x, sight)["r1"].backward()
    adversary.discriminator_losses(x, x, sight)
    assert adversary.augmentation.seen > 0
