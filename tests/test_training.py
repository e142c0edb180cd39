"""A toy run at 64 px: the loss falls, a resume is exact, mistakes are named before step one."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from gpen_core.errors import CheckpointError, InputError
from gpen_core.faces.templates import template
from gpen_core.networks import GPEN, GPENConfig
from gpen_core.training import train

# Without the extra gpen[train] there is nothing to test here.
yaml = pytest.importorskip("yaml", reason="pyyaml, of the extra gpen[train], is not installed")
pytest.importorskip("pydantic", reason="pydantic, of the extra gpen[train], is not installed")
checkpoint = pytest.importorskip("gpen_core.training.checkpoint")
dataset = pytest.importorskip("gpen_core.training.dataset")
losses = pytest.importorskip("gpen_core.training.losses")
config_module = pytest.importorskip("gpen_core.training.config")
loop = pytest.importorskip("gpen_core.training.loop")
schedule = pytest.importorskip("gpen_core.training.schedule")
sources = pytest.importorskip("gpen_core.training.sources")
start = pytest.importorskip("gpen_core.training.start")
trainer_module = pytest.importorskip("gpen_core.training.trainer")

COLUMNS = "file,source,strict,inside\n"
PIXELS = {"l1": 1, "gradient": 0.5, "perceptual": 0, "identity": 0, "lpips": 0, "adversarial": 0}


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    """A data set of 10 made-up "faces" in two sources, the second not strict."""
    root = tmp_path_factory.mktemp("faces")
    random = np.random.default_rng(0)
    rows = []
    for index in range(10):
        coarse = Image.fromarray(random.integers(0, 255, (5, 5, 3), dtype=np.uint8))
        coarse.resize((320, 320), Image.Resampling.BICUBIC).save(root / f"{index}.jpg", quality=92)
        source, strict = ("studio", 1) if index < 8 else ("street", 0)
        rows.append(f"{index}.jpg,{source},{strict},{0.5 + index / 20}\n")
    (root / "manifest.csv").write_text(COLUMNS + "".join(rows))
    return root


@pytest.fixture
def write_config(faces, tmp_path):
    """Writes a small config, with changes, and gives its path."""

    def write(name: str = "run", **changes) -> Path:
        content = {
            "output": name,
            "data": {"root": str(faces), "holdout": 0.2},
            "model": {"size": 64, "narrow": 0.03125, "channel_multiplier": 1},
            "damage": [{"preset": "medium"}],
            "steps": 12,
            "batch_size": 2,
            "log_every": 1,
            "checkpoint_every": 4,
            "validate_every": 1000,
            "optimiser": {"lr": 0.005, "warmup": 2},
            "losses": PIXELS,
            "tensorboard": False,
        }
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content | changes))
        return path

    return write


def logged(folder: Path, name: str) -> list[float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]


def test_the_loss_falls(write_config):
    model = {"size": 64, "narrow": 0.03125, "channel_multiplier": 1, "start": "random"}
    values = logged(train(write_config(model=model, steps=30)), "loss")
    assert len(values) == 30
    assert np.mean(values[-5:]) < 0.85 * np.mean(values[:5])


def test_a_resumed_run_equals_an_unbroken_one(write_config):
    whole = train(write_config("whole"))
    trainer = trainer_module.Trainer(config_module.read_config(write_config("halves")))
    for _ in range(5):
        trainer.train_step()
    trainer.save()
    halves = train(write_config("halves"))
    assert logged(halves, "loss") == logged(whole, "loss")[5:]
    ours, theirs = checkpoint.load_last(halves), checkpoint.load_last(whole)
    assert ours["step"] == theirs["step"] == 12
    for part in ("g", "g_ema"):
        assert all(torch.equal(ours[part][key], value) for key, value in theirs[part].items())


def test_sigterm_stops_after_the_step_and_keeps_it(write_config, monkeypatch):
    config = config_module.read_config(write_config())
    step = loop.Trainer.train_step

    def stopped_at_five(self):
        losses = step(self)
        if self.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return losses

    monkeypatch.setattr(trainer_module.Trainer, "train_step", stopped_at_five)
    before = signal.getsignal(signal.SIGTERM)
    assert checkpoint.load_last(loop.run(config))["step"] == 5
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_last_checkpoints_are_kept_and_the_export_loads(write_config, tmp_path):
    export = {"path": "lite.safetensors", "training_data": "made up"}
    folder = train(write_config(export=export, keep=2))
    assert sorted(path.name for path in folder.glob("*.pt")) == [
        "step-00000008.pt",
        "step-00000012.pt",
    ]
    assert not list(tmp_path.rglob("*.partial"))
    state = load_file(tmp_path / "lite.safetensors")
    config = GPENConfig.from_state_dict(state)
    assert (config.in_size, config.out_size) == (64, 64)
    assert {value.dtype for value in state.values()} == {torch.float16}
    with safe_open(tmp_path / "lite.safetensors", "pt") as file:
        about = file.metadata()
    assert about["architecture"] == "gpen-v1" and about["template"] == "gpen"
    assert (about["input_size"], about["output_size"]) == ("64", "64")
    assert about["licence"] == "MIT" and about["training_data"] == "made up"
    assert "psnr" in json.loads(about["metrics"])


def test_the_identity_start_is_an_identity():
    torch.manual_seed(0)
    net = GPEN(GPENConfig.create(64, narrow=0.03125, channel_multiplier=1))
    start.start_as_identity(net)
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        assert (net(x) - x).abs().mean() < 0.02


def test_a_step_has_one_batch(write_config):
    config = config_module.read_config(write_config())
    training, _ = sources.split(sources.read_faces(config.data), config.data)
    sampler = dataset.PairSampler(training, config)
    first, again, other = sampler.batch(3), sampler.batch(3), sampler.batch(4)
    assert torch.equal(first.degraded, again.degraded) and torch.equal(first.truth, again.truth)
    assert not torch.equal(first.truth, other.truth)
    assert first.truth.shape == (2, 3, 64, 64) and first.weight.shape == (2, 1, 64, 64)
    assert first.weight.min() >= 0 and first.weight.max() <= 1


def test_strict_rows_and_named_sources_only_and_no_face_on_both_sides(write_config, faces):
    config = config_module.read_config(write_config())
    chosen = sources.read_faces(config.data)
    assert {face.source for face in chosen} == {"studio"}
    training, validation = sources.split(chosen, config.data)
    assert not {face.path for face in training} & {face.path for face in validation}
    assert len(training) + len(validation) == len(chosen)
    also = config.data.model_copy(update={"also": ("street",), "exclude": ("studio",)})
    assert {face.source for face in sources.read_faces(also)} == {"street"}


def test_crops_lie_in_the_gpen_template(tmp_path):
    canvas = np.zeros((320, 320, 3), np.uint8)
    for x, y in template("ffhq", 256).round().int().tolist():
        canvas[y + 31 : y + 34, x + 31 : x + 34] = 255
    path = tmp_path / "points.png"
    Image.fromarray(canvas).save(path)
    truth, _ = dataset.crop(sources.Face(path, "made", 1.0), 256, dataset.Placement())
    wanted = template("gpen", 256).float()
    rows, columns = torch.meshgrid(torch.arange(13.0), torch.arange(13.0), indexing="ij")
    found = []
    for left, top in (wanted.round().int() - 6).tolist():
        spot = truth[0, 0, top : top + 13, left : left + 13]
        found.append(
            [(spot * columns).sum() / spot.sum() + left, (spot * rows).sum() / spot.sum() + top]
        )
    misfit = torch.tensor(found) - wanted
    # No similarity maps one template exactly onto the other; the least-squares one has no bias.
    assert misfit.norm(dim=1).max() < 5
    assert misfit.mean(dim=0).abs().max() < 0.5
    assert (misfit * (wanted - wanted.mean(dim=0))).sum() / wanted.var(
        dim=0
    ).sum() == pytest.approx(0, abs=0.05)


def test_the_made_up_rim_counts_by_inside(tmp_path):
    path = tmp_path / "flat.png"
    Image.fromarray(np.full((320, 320, 3), 90, np.uint8)).save(path)
    _, weight = dataset.crop(sources.Face(path, "made", 0.6), 256, dataset.Placement())
    assert weight[0, 0, 128, 128] == 1
    assert weight[0, 0, 128, 3] == pytest.approx(0.6)


def test_losses_vanish_at_the_truth_and_ignore_what_does_not_count():
    truth = torch.rand(1, 3, 16, 16)
    spoilt = truth.clone()
    spoilt[..., :4] += 1
    weight = torch.ones(1, 1, 16, 16)
    weight[..., :5] = 0
    options = config_module.Losses(l1=1, gradient=1, frequency=1)
    for value in losses.regression_losses(truth, truth, torch.ones_like(weight), options).values():
        assert value == 0
    for value in losses.regression_losses(spoilt, truth, weight, options).values():
        assert value == pytest.approx(0, abs=1e-6)
    assert losses.l1(spoilt, truth, torch.ones_like(weight)) == pytest.approx(0.25)


def test_the_learning_rate_warms_up_and_falls():
    options = config_module.Adam(lr=1.0, final_lr=0.1, decay_from=0.5, warmup=10)
    rates = [schedule.learning_rate(step, 100, options) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[10] == rates[50] == 1
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert rates[100] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"setps": 10}, "setps"),
        ({"model": {"size": 100, "narrow": 0.5}}, "power of two"),
        ({"damage": [{"preset": "awful"}]}, "awful"),
        ({"damage": [{"noise": [5, 1]}]}, "noise"),
        ({"losses": PIXELS | {"l1": 0, "gradient": 0}}, "every loss is off"),
        ({"data": {"root": "nowhere"}}, "nowhere does not exist"),
    ],
)
def test_a_wrong_config_is_named_before_the_first_step(write_config, changes, message):
    with pytest.raises(InputError, match=message):
        train(write_config(**changes))


@pytest.mark.parametrize("text", ["- a list", "a: [unclosed"])
def test_a_file_that_is_no_config_is_named(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"bad\.yaml"):
        train(path)


def test_a_wrong_data_set_is_named(write_config, tmp_path):
    (tmp_path / "manifest.csv").write_text("file,source\na.jpg,x\n")
    with pytest.raises(InputError, match="lacks the columns strict"):
        train(write_config(data={"root": str(tmp_path)}))
    (tmp_path / "manifest.csv").write_text(COLUMNS + "gone.jpg,x,1,1\n")
    with pytest.raises(InputError, match=r"missing: .*gone\.jpg"):
        train(write_config(data={"root": str(tmp_path)}))
    (tmp_path / "manifest.csv").write_text(COLUMNS + "gone.jpg,x,0,1\n")
    with pytest.raises(InputError, match="leaves no face"):
        train(write_config(data={"root": str(tmp_path)}))


def test_a_checkpoint_of_another_network_is_refused(write_config):
    train(write_config(steps=1))
    other = {"size": 64, "narrow": 0.0625, "channel_multiplier": 1}
    with pytest.raises(CheckpointError, match="does not fit"):
        train(write_config(steps=2, model=other))


def test_a_damaged_checkpoint_is_named(write_config):
    folder = train(write_config(steps=1))
    (folder / "step-00000009.pt").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=r"step-00000009\.pt is damaged"):
        train(write_config(steps=2))
