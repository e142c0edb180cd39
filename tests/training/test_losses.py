"""The losses: nothing at the truth, nothing from what does not count, each alone or off."""

from __future__ import annotations

import pytest
import torch

from gpen_core.dataset.placement import Placement
from gpen_core.dataset.regions import centers
from gpen_core.errors import MissingDependencyError
from gpen_core.training.augmentation import DRAWS, change

pytest.importorskip("yaml", reason="pyyaml, of the extra gpen[train], is not installed")
pytest.importorskip("pydantic", reason="pydantic, of the extra gpen[train], is not installed")
config_module = pytest.importorskip("gpen_core.training.config")
losses = pytest.importorskip("gpen_core.training.losses")
perceptual = pytest.importorskip("gpen_core.training.likeness")
identity = pytest.importorskip("gpen_core.training.identity")
trainer_module = pytest.importorskip("gpen_core.training.trainer")

PIXELS = ("l1", "gradient", "frequency")
LOOKING = ("perceptual", "lpips", "identity")
JUDGED = ("adversarial", "feature_matching")


def options(**weights) -> config_module.Losses:
    off = dict.fromkeys((*PIXELS, *LOOKING, *JUDGED), 0.0)
    return config_module.Losses(**(off | {"l1": 1.0} | weights))


@pytest.fixture(scope="module")
def looking() -> perceptual.PerceptualLosses:
    weights = options(perceptual=1, lpips=1, identity=1)
    try:
        return perceptual.PerceptualLosses(weights, config_module.Backbones())
    except MissingDependencyError as error:
        pytest.skip(str(error))


def two_faces(size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(2, 2, 3, size, size, generator=generator) * 2 - 1)


def test_pixel_losses_vanish_at_the_truth_and_ignore_what_does_not_count():
    truth = torch.rand(1, 3, 16, 16)
    spoilt = truth.clone()
    spoilt[..., :4] += 1
    weight = torch.ones(1, 1, 16, 16)
    weight[..., :5] = 0
    weights = options(gradient=1, frequency=1)
    for value in losses.regression_losses(truth, truth, torch.ones_like(weight), weights).values():
        assert value == 0
    for value in losses.regression_losses(spoilt, truth, weight, weights).values():
        assert value == pytest.approx(0, abs=1e-6)
    assert losses.l1(spoilt, truth, torch.ones_like(weight)) == pytest.approx(0.25)


def test_what_is_seen_is_the_truth_where_nothing_counts():
    restored, truth = two_faces()
    weight = torch.zeros(2, 1, 64, 64)
    weight[..., 32:] = 1
    seen = perceptual.seen(restored, truth, weight)
    assert torch.equal(seen[..., :32], truth[..., :32])
    assert torch.allclose(seen[..., 32:], restored[..., 32:], atol=1e-6)


def test_the_squares_follow_from_the_seed_and_stay_inside():
    corners = perceptual.random_corners(200, 64, 40, 7)
    assert corners == perceptual.random_corners(200, 64, 40, 7)
    for axis in zip(*corners, strict=True):
        assert min(axis) == 0 and max(axis) == 24
    assert set(perceptual.random_corners(9, 64, None, 1)) == {(0, 0)}


def test_squares_at_the_regions_hold_them():
    places = torch.cat([Placement(shift=(0.1, 0)).row(), Placement().row(), Placement().row()])
    draws = torch.tensor([0.9, 0.9, 0.1])
    found = perceptual.region_corners(places, 256, 112, draws)
    assert abs(found[0][0] - found[1][0] - 25.6) <= 1 and found[0][1] == found[1][1]
    for (left, top), name, place in zip(found, ("eyes", "eyes", "mouth"), places, strict=True):
        for x, y in centers(name, 256, place[None])[0].tolist():
            assert left + 20 < x < left + 92 and top + 20 < y < top + 92
    far = perceptual.region_corners(Placement(shift=(0.4, 0.4)).row(), 256, 112, draws[:1])
    assert far == [(144, far[0][1])] and far[0][1] <= 144


class Looker(torch.nn.Module):
    """Stands where the losses of identity would; the faces are their own embeddings."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, restored, truth, draws=None):
        self.draws = draws
        cosine = torch.nn.functional.cosine_similarity(restored.flatten(1), truth.flatten(1))
        return {"identity": self.weight * (1 - cosine.mean())}


def test_networks_may_look_rarely_and_count_as_often(write_config):
    weights = options(perceptual_every=3)
    nothing = perceptual.PerceptualLosses(weights, config_module.Backbones())
    assert [step for step in range(7) if nothing.looks(step)] == [0, 3, 6]
    nothing.identity = Looker(0.5)
    found = nothing(*two_faces(), ())["identity"]
    (once,) = Looker(0.5)(*two_faces()).values()
    assert found.item() == pytest.approx(3 * once.item())
    config = config_module.read_config(write_config())
    trainer = trainer_module.Trainer(config.model_copy(update={"losses": weights}))
    trainer.perceptual = nothing
    seen = ["identity" in trainer.train_step() for _ in range(4)]
    assert seen == [True, False, False, True]
    assert nothing.identity.draws.shape == (config.batch_size, DRAWS)


def test_looking_losses_vanish_at_the_truth_and_teach(looking):
    restored, truth = two_faces()
    for value in looking(truth, truth, ()).values():
        assert value == pytest.approx(0, abs=1e-5)
    restored.requires_grad_(True)
    found = looking(restored, truth, ())
    assert set(found) == set(LOOKING)
    for name, value in found.items():
        assert value > 0.01, name
        (gradient,) = torch.autograd.grad(value, restored, retain_graph=True)
        assert gradient.isfinite().all() and gradient.abs().sum() > 0, name
    assert all(not parameter.requires_grad for parameter in looking.parameters())


def test_looking_losses_are_the_metrics(looking):
    restored, truth = two_faces()
    found = looking(restored, truth, ())
    assert found["lpips"].item() == pytest.approx(looking.lpips(restored, truth).mean().item())
    embed = looking.identity.embed
    cosines = (embed(restored) * embed(truth)).sum(dim=1)
    assert found["identity"].item() == pytest.approx(1 - cosines.mean().item(), abs=1e-5)
    features = [looking.lpips.vgg(picture, 2)[1] for picture in (restored, truth)]
    by_hand = [((a - b).abs().mean() / b.mean()).item() for a, b in zip(*features, strict=True)]
    assert found["perceptual"].item() == pytest.approx(sum(by_hand) / 2, rel=1e-4)
    scaled = identity.relative_l1(7 * features[0], 7 * features[1])
    assert scaled.item() == pytest.approx(found["perceptual"].item(), rel=1e-5)


def test_maps_of_the_identity_network_are_compared_layer_by_layer(looking):
    del looking  # asked for only to skip where the backbones are missing
    restored, truth = two_faces()
    both = identity.Identity(options(identity=1, identity_features=0.5), config_module.Backbones())
    found = both(restored.requires_grad_(True), truth)
    assert found.keys() == {"identity", "identity_features"}
    pairs = zip(both.embed.look(restored)[0], both.embed.look(truth)[0], strict=True)
    sizes, by_hand = [], []
    for ours, theirs in pairs:
        sizes.append((ours.shape[1], ours.shape[-1]))
        apart = (ours - theirs).abs().mean(dim=(1, 2, 3)) / theirs.abs().mean(dim=(1, 2, 3))
        by_hand.append(apart.mean().item())
    assert sizes == [(256, 28), (512, 14), (1024, 7)]
    expected = 0.5 * sum(by_hand) / 3
    assert found["identity_features"].item() == pytest.approx(expected, rel=1e-4)
    found["identity_features"].backward()
    assert float(restored.grad.abs().sum()) > 0


def test_identity_is_seen_through_changes_that_both_faces_share(looking):
    del looking
    restored, truth = two_faces()
    draws = torch.rand(2, DRAWS, generator=torch.Generator().manual_seed(3))
    plain, changing = (
        identity.Identity(options(identity=1, identity_augment=p), config_module.Backbones())
        for p in (0.0, 1.0)
    )
    assert changing(truth, truth, draws)["identity"].item() == pytest.approx(0, abs=1e-5)
    as_it_is = plain(restored, truth, draws)["identity"].item()
    assert changing(restored, truth)["identity"].item() == as_it_is  # nothing is drawn
    changed = [change(faces, draws, 1.0) for faces in (restored, truth)]
    expected = plain(*changed)["identity"].item()
    assert abs(expected - as_it_is) > 1e-3
    assert changing(restored, truth, draws)["identity"].item() == pytest.approx(expected, rel=1e-4)


def test_the_crop_is_what_vgg_sees(looking):
    restored, truth = two_faces()
    weights = looking.losses.model_copy(update={"perceptual_crop": 40})
    cropped = perceptual.PerceptualLosses(weights, config_module.Backbones())
    found = cropped(restored, truth, [(8, 20), (24, 0)])
    squares = [
        torch.stack((picture[0, :, 20:60, 8:48], picture[1, :, :40, 24:]))
        for picture in (restored, truth)
    ]
    alone = looking(*squares, ())
    assert found["lpips"] == pytest.approx(alone["lpips"].item(), rel=1e-5)
    assert found["perceptual"] == pytest.approx(alone["perceptual"].item(), rel=1e-5)
    whole = looking(restored, truth, ())
    assert found["identity"] == pytest.approx(whole["identity"].item(), rel=1e-5)


@pytest.mark.parametrize("name", [*PIXELS, *LOOKING])
def test_each_loss_can_be_alone(looking, write_config, name):
    """`looking` is asked for only to skip where the backbones are missing."""
    config = config_module.read_config(write_config())
    alone = options(l1=0, **{name: 2.0}) if name != "l1" else options()
    trainer = trainer_module.Trainer(config.model_copy(update={"losses": alone}))
    before = [parameter.clone() for parameter in trainer.net.parameters()]
    found = trainer.train_step()
    assert set(found) == {"loss", name} and found["loss"] == found[name] > 0
    moved = [not torch.equal(a, b) for a, b in zip(before, trainer.net.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2


def test_backbones_that_are_off_are_not_read():
    nowhere = config_module.Backbones(vgg="nowhere.pth", sface="nowhere.onnx")
    nothing = perceptual.PerceptualLosses(options(), nowhere)
    assert nothing(*two_faces(), ()) == {} and not list(nothing.parameters())


def test_validation_says_what_the_networks_say(looking, write_config):
    path = write_config(losses={"lpips": 0.1, "identity": 0.1}, steps=1)
    trainer = trainer_module.Trainer(config_module.read_config(path))
    metrics = trainer.validate()
    assert set(metrics) == {"psnr_degraded", "psnr", "gain", "lpips", "identity"}
    assert metrics["gain"] == pytest.approx(metrics["psnr"] - metrics["psnr_degraded"])
    measured = looking.measure(trainer.pairs.truth, trainer.pairs.truth)
    assert measured["lpips"].abs().max() < 1e-5
    assert measured["identity"].min() == pytest.approx(1, abs=1e-5)
    assert metrics["lpips"] > 0.01 and metrics["identity"] < 1


def test_landmarks_see_where_a_face_moved_and_not_how_bright_it_is(portrait):
    weights = options(landmarks=2.0)
    looks = perceptual.PerceptualLosses(weights, config_module.Backbones())
    picture = torch.from_numpy(portrait.copy()).permute(2, 0, 1)[None] / 127.5 - 1
    truth = torch.nn.functional.interpolate(picture, (192, 192), mode="bilinear", antialias=True)

    def of(restored: torch.Tensor) -> float:
        found = looks(restored, truth, [(0, 0)])
        assert found.keys() == {"landmarks"}
        return float(found["landmarks"].detach())

    assert of(truth) == 0
    moved = truth.roll(4, dims=3)
    eyes = 192 * perceptual.points_of(looks.mesh, truth)[0, [33, 263]]
    assert of(moved) == pytest.approx(2 * 4 / float((eyes[1] - eyes[0]).norm()), rel=0.6)
    assert of(truth * 0.9) < of(moved) / 4
    moved.requires_grad_(True)
    looks(moved, truth, [(0, 0)])["landmarks"].backward()
    assert float(moved.grad.abs().sum()) > 0
    assert not any(parameter.requires_grad for parameter in looks.mesh.parameters())


def test_identity_may_look_through_a_network_of_the_users(tmp_path, recognition_graph):
    graph = recognition_graph(tmp_path / "arcface.onnx")
    weights = options(identity=0.5)
    backbones = config_module.Backbones(identity="arcface", arcface=graph)
    losses = perceptual.PerceptualLosses(weights, backbones)
    truth = torch.rand(2, 3, 64, 64) * 2 - 1
    restored = (truth * 0.5).requires_grad_(True)
    found = losses(restored, truth, [(0, 0), (0, 0)])
    assert found.keys() == {"identity"} and 0 < float(found["identity"].detach()) < 1
    found["identity"].backward()
    assert restored.grad is not None and float(restored.grad.abs().sum()) > 0
    assert float(losses(truth, truth, [(0, 0), (0, 0)])["identity"]) < 1e-4


def test_layers_are_those_of_a_vgg19():
    with pytest.raises(ValueError, match="layers are those of perceptual: vgg19"):
        config_module.Backbones(layers=("relu3_1",))
    with pytest.raises(ValueError, match="VGG-19 has no layer 'relu9_1'"):
        config_module.Backbones(perceptual="vgg19", layers=("relu9_1",))
