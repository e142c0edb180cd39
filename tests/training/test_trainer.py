"""A toy run at 64 px: the loss falls, a resume is exact, mistakes are named before step one."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from gpen_core.cli.app import run as gpen
from gpen_core.dataset import sources
from gpen_core.dataset.degradation import PRESETS, Degradation
from gpen_core.errors import CheckpointError, GPENError, InputError
from gpen_core.models.load import load_model
from gpen_core.networks import GPEN, GPENConfig
from gpen_core.training import train

# Without the extra gpen[train] there is nothing to test here.
pytest.importorskip("yaml", reason="pyyaml, of the extra gpen[train], is not installed")
pytest.importorskip("pydantic", reason="pydantic, of the extra gpen[train], is not installed")
checkpoint = pytest.importorskip("gpen_core.training.checkpoint")
config_module = pytest.importorskip("gpen_core.training.config")
growth = pytest.importorskip("gpen_core.training.growth")
loop = pytest.importorskip("gpen_core.training.loop")
network_module = pytest.importorskip("gpen_core.training.network")
optimizer_module = pytest.importorskip("gpen_core.training.optimizer")
schedule = pytest.importorskip("gpen_core.training.schedule")
start = pytest.importorskip("gpen_core.training.start")
trainer_module = pytest.importorskip("gpen_core.training.trainer")

RECIPES = Path(__file__).resolve().parents[2] / "docs" / "gpen-lite"
GAME = {"adversarial": 0.05, "feature_matching": 0.1}
REGIONS = GAME | {"regions": 0.05, "region_style": 0.5}
AUGMENT = {"patch_width": 4, "patch_layers": 2, "r1_every": 3, "region_width": 4}
AUGMENT |= {"augment": True, "augment_pictures": 20, "augment_target": 0.01}


def by_step(folder: Path, name: str) -> dict[int, float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line[name] for line in lines if name in line}


def logged(folder: Path, name: str) -> list[float]:
    return list(by_step(folder, name).values())


def test_the_loss_falls(write_config):
    model = {"size": 64, "narrow": 0.03125, "channel_multiplier": 1, "start": "random"}
    values = logged(train(write_config(model=model, steps=30)), "loss")
    assert len(values) == 30
    assert np.mean(values[-5:]) < 0.85 * np.mean(values[:5])


@pytest.mark.parametrize("task", ["colorize", "inpaint"])
def test_other_tasks_are_learned_and_written_into_the_model(write_config, tmp_path, task):
    model = tmp_path / "trained.safetensors"
    export = {"path": str(model), "every_minutes": 99}
    path = write_config(task, task=task, steps=8, export=export, validate_every=8)
    folder = train(path)
    with safe_open(model, "pt") as file:
        assert file.metadata()["task"] == task
    values = logged(folder, "psnr")
    assert len(values) == 1 and math.isfinite(values[0])
    assert logged(folder, "psnr_degraded")[0] < 60, "the task leaves something to do"
    assert load_model(model).task == task


def same(ours: object, theirs: object) -> bool:
    """Whether two parts of a checkpoint are equal, bit for bit."""
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in theirs)
    if isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return torch.equal(ours, theirs) if isinstance(theirs, torch.Tensor) else ours == theirs


@pytest.mark.parametrize(
    ("losses", "method"),
    [({}, "adam"), ({}, "muon"), (GAME, "adam"), (REGIONS, "adam")],
    ids=["pixels", "muon", "adversarial", "regions"],
)
def test_a_resumed_run_equals_an_unbroken_one(write_config, losses, method):
    optimizer = {"lr": 0.005, "warmup": 2, "method": method}
    changes = {"steps": 8, "optimizer": optimizer}
    changes |= {"discriminators": AUGMENT} if losses is REGIONS else {}
    whole = train(write_config("whole", losses, **changes))
    path = write_config("halves", losses, **changes)
    trainer = trainer_module.Trainer(config_module.read_config(path))
    for _ in range(5):
        trainer.train_step()
    trainer.save()
    halves = train(path)
    names = ["loss", *(["d", "r1"] if losses else [])]
    for name in names:
        late = [value for step, value in by_step(whole, name).items() if step > 5]
        assert late == list(by_step(halves, name).values())
    ours, theirs = checkpoint.load_last(halves), checkpoint.load_last(whole)
    assert ours["step"] == theirs["step"] == 8
    parts = {"g", "g_ema", "g_optim"} | ({"d", "d_patch", "d_optim"} if losses else set())
    parts |= {"g_muon"} if method == "muon" else set()
    parts |= {"d_regions", "augmentation"} if losses is REGIONS else set()
    if losses is REGIONS:
        assert theirs["augmentation"]["p"] > 0, "nothing was augmented"
    assert theirs.keys() == parts | {"step", "seconds"}
    assert all(same(ours[part], theirs[part]) for part in parts)


def test_muon_turns_convolutions_and_adam_the_rest():
    rate = 0.01
    net = GPEN(GPENConfig.create(64, 1 / 16, 1))
    options = config_module.Optimizer(method="muon", lr=rate)
    both = optimizer_module.optimizers(net, options)
    held = [p.data_ptr() for one in both.values() for g in one.param_groups for p in g["params"]]
    assert sorted(held) == sorted(parameter.data_ptr() for parameter in net.parameters())
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    net(
        torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    ).square().mean().backward()
    for one in both.values():
        one.step()
    moved = {name: value.detach() - before[name] for name, value in net.named_parameters()}
    matrix = moved["generator.convs.0.conv.weight"].flatten(2)[0]
    # Nearly one singular value for all: Newton and Schulz's iteration ends early.
    values = torch.linalg.svdvals(matrix) / (rate * 0.2 * max(matrix.shape) ** 0.5)
    assert (values > 0.5).float().mean() > 0.75
    assert values.max() < 1.5
    # Adam's first step has the size of its rate.
    step = moved["generator.to_rgbs.0.conv.weight"].abs()
    assert step.max().item() == pytest.approx(rate, rel=0.01)


def test_passes_that_are_summed_equal_one_larger_batch(write_config):
    plain = {"jitter": {"rotation": 0, "shift": 0, "scale": [1.15, 1.15]}, "steps": 3}
    judges = {"style": False, "patch_width": 4, "patch_layers": 2}
    runs = [
        train(
            write_config(
                name, GAME, batch_size=size, accumulate=passes, **plain, discriminators=judges
            )
        )
        for name, size, passes in (("once", 4, 1), ("twice", 2, 2))
    ]
    for name in ("loss", "adversarial", "d", "r1"):
        assert logged(runs[1], name) == pytest.approx(logged(runs[0], name), rel=1e-3)


def test_workers_change_nothing_but_the_time(write_config, training_faces):
    runs = [
        train(
            write_config(
                f"w{workers}",
                steps=3,
                data={"root": str(training_faces), "holdout": 0.2, "workers": workers},
            )
        )
        for workers in (0, 1)
    ]
    assert logged(runs[0], "loss") == logged(runs[1], "loss")


def test_the_discriminators_wait_for_their_step(write_config):
    judges = {"from_step": 2, "patch_width": 4, "patch_layers": 2}
    folder = train(write_config("late", GAME, steps=4, discriminators=judges))
    assert list(by_step(folder, "adversarial")) == list(by_step(folder, "d")) == [3, 4]
    alone = train(write_config("alone", steps=4))
    assert logged(folder, "loss")[:2] == logged(alone, "loss")[:2]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [({}, GAME, "no discriminators"), (GAME, {}, "discriminators are dropped")],
)
def test_a_run_can_take_up_and_give_up_the_discriminators(
    write_config, caplog, before, after, message
):
    train(write_config("run", before, steps=2))
    with caplog.at_level(logging.WARNING):
        folder = train(write_config("run", after, steps=4))
    assert message in caplog.text
    assert ("d_optim" in checkpoint.load_last(folder)) == bool(after)
    assert list(by_step(folder, "loss")) == [1, 2, 3, 4]


def test_a_run_can_take_up_the_regions(write_config, caplog):
    before = train(write_config("run", GAME, steps=2))
    kept = checkpoint.load_last(before)["d"]
    path = write_config("run", REGIONS, steps=3, discriminators=AUGMENT)
    with caplog.at_level(logging.WARNING):
        trainer = trainer_module.Trainer(config_module.read_config(path))
    assert "what is new, and their optimizer, starts afresh" in caplog.text
    assert same(trainer.adversary.style.state_dict(), kept)
    assert set(trainer.train_step()) >= {"regions", "region_style", "adversarial"}
    trainer.save()
    assert {"d", "d_patch", "d_regions"} <= checkpoint.load_last(before).keys()


def test_the_regions_can_play_alone(write_config):
    folder = train(write_config("alone", {"regions": 0.05}, steps=2, discriminators=AUGMENT))
    state = checkpoint.load_last(folder)
    assert "d_regions" in state and "d" not in state and "d_patch" not in state
    assert logged(folder, "regions") and not logged(folder, "adversarial")


def test_half_precision_trains_and_fp16_needs_a_gpu(write_config):
    folder = train(write_config("half", GAME, steps=2, precision="bf16"))
    whole = train(write_config("whole", GAME, steps=2))
    assert logged(folder, "loss") == pytest.approx(logged(whole, "loss"), rel=0.05)
    with pytest.raises(InputError, match="fp16 needs a CUDA GPU"):
        train(write_config("fp16", precision="fp16"))


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs g++")
def test_a_compiled_network_takes_the_same_steps(write_config, monkeypatch):
    """Traced and cut as for the compiler, which alone would take minutes."""
    plain = train(write_config("plain", steps=2))
    real, traced = torch.compile, []

    def trace(net, **options):
        traced.append(real(net, backend="aot_eager", **options))
        return traced[-1]

    monkeypatch.setattr(torch, "compile", trace)
    folder = train(write_config("compiled", steps=2, compile=True))
    assert len(traced) == 1
    assert logged(folder, "loss") == pytest.approx(logged(plain, "loss"), rel=1e-4)
    before, after = (checkpoint.load_last(one)["g"] for one in (plain, folder))
    for name, value in before.items():
        assert torch.allclose(after[name], value, rtol=1e-2, atol=1e-3), name


def test_compiling_without_a_compiler_is_said_before_the_first_step(write_config, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match=r"the C\+\+ compiler no-such-compiler"):
        train(write_config("none", steps=2, compile=True))


def test_loss_scaling_changes_no_step_and_skips_what_overflows(write_config):
    """What fp16 needs on a GPU, here with float32, whose steps are known."""
    plain, scaled = (
        trainer_module.Trainer(config_module.read_config(write_config(name, GAME)))
        for name in ("plain", "scaled")
    )
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, enabled=True)
    for _ in range(2):
        for trainer in (plain, scaled):
            trainer.train_step()
    for name in ("net", "adversary"):
        pairs = zip(
            getattr(plain, name).parameters(), getattr(scaled, name).parameters(), strict=True
        )
        assert all(torch.allclose(ours, theirs, atol=1e-4) for ours, theirs in pairs)
    before = [parameter.clone() for parameter in scaled.net.parameters()]
    hook = scaled.net.generator.input.input.register_hook(lambda gradient: gradient * math.inf)
    scaled.train_step()
    hook.remove()
    pairs = zip(before, scaled.net.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
    assert scaled.scaler.get_scale() < 2.0**12
    scaled.save()
    kept = checkpoint.load_last(scaled.config.output)["scaler"]["scale"]
    assert kept == scaled.scaler.get_scale()


def test_a_run_that_diverges_stops_and_keeps_the_good_checkpoint(write_config):
    train(write_config(steps=4))
    wild = {"lr": 1e30, "final_lr": 1e30, "warmup": 0}
    with pytest.raises(InputError, match=r"at step \d+; go on from the last checkpoint"):
        train(write_config(steps=9, optimizer=wild, log_every=100, checkpoint_every=9))
    assert checkpoint.load_last(write_config().parent / "run")["step"] == 4


def test_the_watcher_sees_every_step(write_config):
    seen = []
    train(write_config(steps=3), lambda step, steps, losses: seen.append((step, steps, losses)))
    assert [entry[:2] for entry in seen] == [(1, 3), (2, 3), (3, 3)]
    assert all(losses["loss"] > 0 for _, _, losses in seen)


def test_tensorboard_gets_curves_and_samples(write_config):
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard, of the extra gpen[train], is not installed",
    )
    folder = train(write_config(steps=3, tensorboard=True))
    events = reader.EventAccumulator(str(folder / "tensorboard")).Reload()
    curve = [point.value for point in events.Scalars("train/loss")]
    assert curve == pytest.approx(logged(folder, "loss"), abs=1e-5)
    assert "validation/psnr" in events.Tags()["scalars"]
    assert events.Tags()["images"] == ["degraded, restored, truth"]


def test_without_tensorboard_there_is_a_hint_and_a_log(write_config, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with caplog.at_level(logging.WARNING):
        folder = train(write_config(steps=1, tensorboard=True))
    assert "TensorBoard is not installed" in caplog.text and "gpen[train]" in caplog.text
    assert len(logged(folder, "loss")) == 1


def test_a_run_goes_on_from_a_file_and_grows(write_config, tmp_path):
    wide = {"size": 64, "narrow": 0.0625, "channel_multiplier": 1}
    export = {"path": "small.safetensors"}
    train(write_config("small", steps=2, model=wide, export=export))
    small = str(tmp_path / "small.safetensors")
    on = config_module.read_config(write_config("on", model=wide | {"start_from": small}))
    trainer = trainer_module.Trainer(on)
    assert type(trainer.net) is GPEN, "the fast form, for inference, cannot be trained"
    state = trainer.net.state_dict()
    assert all(torch.equal(state[key].half(), value) for key, value in load_file(small).items())
    assert trainer.train_step()["loss"] > 0
    grown = train(write_config("grown", steps=1, model=wide | {"size": 128, "grow_from": small}))
    network = GPENConfig.from_state_dict(checkpoint.load_last(grown)["g_ema"])
    assert (network.in_size, network.out_size) == (128, 128)


def test_small_networks_grow_to_any_table_of_channels(write_config, tmp_path):
    """64 -> 128 -> 256 px, wider below each time, and wider at the new size than half of below."""
    tables = [
        {4: 16, 8: 16, 16: 16, 32: 12, 64: 8},
        {4: 20, 8: 16, 16: 16, 32: 16, 64: 8, 128: 12},
        {4: 20, 8: 16, 16: 18, 32: 16, 64: 16, 128: 12, 256: 8},
    ]
    before: dict[str, object] = {}
    for table in tables:
        size = max(table)
        model = {"size": size, "channels": table, **before}
        path = write_config(
            f"at{size}", model=model, steps=1, export={"path": f"{size}.safetensors"}
        )
        net = network_module.new_network(config_module.read_config(path).model, seed=0)
        assert dict(net.config.channels) == table
        if before:
            x = torch.rand(1, 3, size, size) * 2 - 1
            with torch.inference_mode():
                old = network_module.read_generator(tmp_path / f"{size // 2}.safetensors")
                expected = growth.grow(old, 6, detail=1)(x)
                assert (net(x) - expected).abs().max() < 1e-3 * expected.abs().max()
        train(path)
        before = {"grow_from": f"{size}.safetensors", "detail": 1}


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
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".gpen-abc.part").write_bytes(b"torn")
    folder = train(write_config(export=export, keep=2))
    assert sorted(path.name for path in folder.glob("*.pt")) == [
        "step-00000008.pt",
        "step-00000012.pt",
    ]
    assert not list(tmp_path.rglob(".*"))
    state = load_file(tmp_path / "lite.safetensors")
    config = GPENConfig.from_state_dict(state)
    assert (config.in_size, config.out_size) == (64, 64)
    assert {value.dtype for value in state.values()} == {torch.float16}
    with safe_open(tmp_path / "lite.safetensors", "pt") as file:
        about = file.metadata()
    assert about["architecture"] == "gpen-v1" and about["template"] == "gpen"
    assert (about["input_size"], about["output_size"]) == ("64", "64")
    assert about["license"] == "MIT" and about["training_data"] == "made up"
    assert "psnr" in json.loads(about["metrics"])


def test_the_identity_start_is_an_identity():
    torch.manual_seed(0)
    net = GPEN(GPENConfig.create(64, narrow=0.03125, channel_multiplier=1))
    start.start_as_identity(net)
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        assert (net(x) - x).abs().mean() < 0.02


def test_the_learning_rate_warms_up_and_falls():
    options = config_module.Adam(lr=1.0, final_lr=0.1, decay_from=0.5, warmup=10)
    rates = [schedule.learning_rate(step, 100, options) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[10] == rates[50] == 1
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert rates[100] == pytest.approx(0.1)
    step = options.model_copy(update={"decay": "step"})
    assert {schedule.learning_rate(at, 100, step) for at in range(51, 101)} == {0.1}


def test_the_documented_defaults_hold(write_config):
    options = config_module.Losses()
    assert options.model_dump() == {
        "l1": 1.0,
        "perceptual": 0.05,
        "identity": 0.1,
        "identity_features": 0.0,
        "identity_augment": 0.0,
        "landmarks": 0.0,
        "adversarial": 0.005,
        "lpips": 0.1,
        "feature_matching": 0.0,
        "gradient": 0.0,
        "frequency": 0.0,
        "regions": 0.0,
        "region_style": 0.0,
        "eyes": 1.0,
        "mouth": 1.0,
        "perceptual_crop": None,
        "perceptual_at": "random",
        "perceptual_every": 1,
    }
    adam = config_module.Adam()
    assert (adam.lr, adam.final_lr, adam.decay_from) == (2e-4, 2e-5, 0.8)


def test_the_recipes_of_the_embedded_model_are_configs():
    """And each stage starts from the file that the one before it exports."""
    stages = sorted(RECIPES.glob("[1-9]-*.yaml"))
    assert len(stages) >= 3
    exported = None
    for path in stages:
        config = config_module.read_config(path)
        before = config.model.grow_from or config.model.start_from
        assert exported is None or before == exported
        exported = config.export.path
    made = config_module.read_config(RECIPES / "3-256px.yaml")
    embedded = load_model("gpen-lite-256", "cpu")
    assert embedded.network.config.channels == made.model.shape().channels


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"setps": 10}, "setps"),
        ({"model": {"size": 100, "narrow": 0.5}}, "power of two"),
        ({"damage": [{"preset": "awful"}]}, "awful"),
        ({"damage": [{"noise": [5, 1]}]}, "noise"),
        ({"damage": [{"then": {"blocks": [5, 90]}}]}, "blocks"),
        ({"damage": [{"preset": "mild", "noise": [1, 2]}]}, "a preset or quantities"),
        ({"losses": {"l1": 0, "gradient": 0}}, "every loss is off"),
        ({"losses": {"feature_matching": 1}}, "feature_matching needs adversarial"),
        ({"losses": {"perceptual_crop": 128}}, "larger than model.size"),
        ({"losses": {"perceptual_at": "regions"}}, "needs the side of the square"),
        ({"losses": {"l1": 0, "gradient": 0, "lpips": 1, "perceptual_every": 2}}, "in between"),
        ({"losses": {"identity": 0, "identity_augment": 0.5}}, "identity_augment needs identity"),
        (
            {"losses": {"identity_features": 1}, "backbones": {"identity": "arcface"}},
            "identity_features needs backbones.identity: sface",
        ),
        ({"losses": {"region_style": 1}}, "region_style needs regions"),
        ({"losses": {"lpips": -1}}, "losses.lpips"),
        ({"discriminators": {"style": False, "patch": False}}, "both discriminators are off"),
        ({"optimizer": {"decay": "never"}}, "optimizer.decay"),
        ({"optimizer": {"method": "sgd"}}, "optimizer.method"),
        ({"optimizer": {"betas": [0.9, 1]}}, "betas"),
        ({"jitter": {"scale": [1.2, 0.9]}}, "scale must be a range"),
        ({"device": "toaster"}, "device"),
        ({"device": "cuda:99"}, "no such CUDA GPU"),
        ({"batch_size": 7}, "6 faces to train on, fewer than the 7"),
        ({"batch_size": 2, "accumulate": 4}, "fewer than the 8"),
        ({"model": {"size": 64, "narrow": 0.01}}, "identity needs 6 channels"),
        ({"model": {"size": 64, "narrow": 1, "start_from": "gone.pth"}}, "gone.pth"),
        ({"model": {"size": 64, "narrow": 1, "start_from": "a", "grow_from": "b"}}, "not both"),
        ({"losses": {"lpips": 1}, "backbones": {"vgg": "gone.pth"}}, "gone.pth is missing"),
        ({"losses": {"identity": 1}, "backbones": {"sface": "x.onnx"}}, "x.onnx is missing"),
        ({"data": {"root": "nowhere"}}, "nowhere does not exist"),
        ({"model": {"size": 64}}, "narrow or channels"),
        ({"data": {"root": ".", "resident": True, "workers": 2}}, "leave workers out"),
        ({"model": {"size": 64, "narrow": 1, "detail": 1}}, "detail is for a network that grows"),
        ({"model": {"size": 64, "channels": {4: 8, 8: 8}}}, "channels must be given for"),
    ],
)
def test_a_wrong_config_is_named_before_the_first_step(write_config, changes, message):
    path = write_config(**changes)
    with pytest.raises(GPENError, match=message):
        train(path)
    assert not (path.parent / "run").exists()


def test_damage_is_what_the_config_says(write_config):
    damage = [
        {"share": 0.5, "preset": "reposted"},
        {"sharpen": [0, 2], "blocks": [20, 60], "sepia": 0.2, "then": {"jpeg": [30, 50]}},
        {"share": 0.1},
    ]
    plan = config_module.read_config(write_config(damage=damage)).plan()
    assert [share for share, _ in plan.recipes] == [0.5, 1.0, 0.1]
    second = Degradation(jpeg=(30, 50))
    assert plan.recipes[0][1] == PRESETS["reposted"] and plan.recipes[2][1] == Degradation()
    assert plan.recipes[1][1] == Degradation(
        sharpen=(0, 2), blocks=(20, 60), sepia=0.2, then=second
    )


def test_resident_faces_of_a_pack_resume_exactly(write_config, training_faces, tmp_path):
    sources.pack(sources.Selection(training_faces), tmp_path / "faces.safetensors")
    data = {"root": "faces.safetensors", "holdout": 0.2, "resident": True}
    whole = train(write_config("whole", data=data, steps=4))
    train(write_config("halves", data=data, steps=2))
    halves = train(write_config("halves", data=data, steps=4))
    assert logged(halves, "loss") == logged(whole, "loss")
    files = train(write_config("files", steps=4))
    # The same faces and damage; the noise is the same on a CPU, and JPEG nearly.
    assert logged(whole, "loss") == pytest.approx(logged(files, "loss"), rel=0.1)
    assert logged(whole, "loss") != logged(files, "loss")


def test_a_checkpoint_is_due_by_the_clock_too(write_config):
    often = {"checkpoint_every": 1000, "checkpoint_minutes": 1e-9, "keep": 9, "steps": 3}
    folder = train(write_config(**often))
    assert len(list(folder.glob("step-*.pt"))) == 3
    rarely = train(write_config("rarely", **(often | {"checkpoint_minutes": 1000})))
    assert len(list(rarely.glob("step-*.pt"))) == 1  # the last


def test_the_faces_of_a_config_are_packed(write_config, tmp_path, capfd):
    path, target = str(write_config()), str(tmp_path / "faces.safetensors")
    assert gpen(["pack-faces", path, target]) == 0
    assert "(8 faces," in capfd.readouterr().out
    assert gpen(["pack-faces", path, target]) == 2
    assert "exists already" in " ".join(capfd.readouterr().err.split())


def test_the_script_for_a_gpu_rehearses_on_a_cpu(write_config, tmp_path):
    """One command: two steps, stopped, and gone on with."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("the script needs bash")
    config = write_config()
    pack, out = tmp_path / "faces.safetensors", tmp_path / "out"
    sources.pack(config_module.read_config(config).data.selection(), pack)
    script = RECIPES.parents[1] / "benchmarks" / "train_gpu.sh"
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(RECIPES.parents[1])}
    for steps in (2, 3):
        options = ["5", "device=cpu", "batch_size=2", f"steps={steps}", "log_every=1"]
        command = [bash, str(script), str(config), str(pack), str(out), *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert list(by_step(out, "loss")) == [1, 2, 3]
    assert GPENConfig.from_state_dict(load_file(out / "model.safetensors")).out_size == 64


@pytest.mark.parametrize("text", ["- a list", "a: [unclosed"])
def test_a_file_that_is_no_config_is_named(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"bad\.yaml"):
        train(path)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"size": 64, "narrow": 0.03125}, "narrow to 0.0625"),
        ({"size": 128, "narrow": 0.0625}, "is a network of 64 px"),
    ],
)
def test_a_file_of_another_shape_does_not_start_a_run(
    write_config, small_state, tmp_path, model, message
):
    torch.save({"g_ema": small_state}, tmp_path / "small.pth")
    with pytest.raises(CheckpointError, match=message):
        train(write_config(model=model | {"start_from": "small.pth"}))


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
