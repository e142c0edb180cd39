"""The discriminators and their game, against formulas worked out another way."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gpen_core.errors import CheckpointError, InputError
from gpen_core.models.identify import identify
from gpen_core.models.unwrap import Weights
from gpen_core.networks import GPENConfig
from gpen_core.networks.discriminator import PatchDiscriminators, StyleDiscriminator, append_stddev

pytest.importorskip("yaml", reason="pyyaml, of the extra gpen[train], is not installed")
pytest.importorskip("pydantic", reason="pydantic, of the extra gpen[train], is not installed")
config_module = pytest.importorskip("gpen_core.training.config")
adversarial = pytest.importorskip("gpen_core.training.adversary")


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
