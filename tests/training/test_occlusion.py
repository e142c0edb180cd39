"""Training of the occlusion network: it learns, it goes on where it stopped, its file is read."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from gpen_core.dataset.occluders import KINDS
from gpen_core.errors import InputError
from gpen_core.faces.occlusion import load_occlusion

yaml = pytest.importorskip("yaml", reason="pyyaml, of the extra gpen[train], is not installed")
pytest.importorskip("pydantic", reason="pydantic, of the extra gpen[train], is not installed")
training = pytest.importorskip("gpen_core.training.occlusion")
figures = pytest.importorskip("gpen_core.training.occlusion_figures")
OcclusionTrainer, main, read_config = training.OcclusionTrainer, training.main, training.read_config


@pytest.fixture
def config(tmp_path):
    """A run of 4 steps on six small pictures."""
    folder = tmp_path / "faces"
    folder.mkdir()
    for number in range(6):
        Image.effect_noise((160, 160), 20 + number).convert("RGB").save(folder / f"{number}.png")
    path = tmp_path / "run.yaml"
    content = {
        "output": "run",
        "data": {"root": "faces", "holdout": 0.2},
        "damage": [{"noise": [1, 5]}],
        "optimizer": {"lr": 1e-3, "final_lr": 1e-4, "warmup": 1},
        "steps": 4,
        "batch_size": 2,
        "echo": 2,
        "log_every": 1,
        "checkpoint_every": 2,
        "export": "net.safetensors",
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_a_run_that_was_stopped_ends_as_an_unbroken_one(config) -> None:
    whole = OcclusionTrainer(read_config(config))
    for _ in range(4):
        whole.train_step()
    broken = OcclusionTrainer(read_config(config))
    broken.train_step()
    broken.train_step()
    broken.save()
    resumed = OcclusionTrainer(read_config(config))
    assert resumed.step == 2
    resumed.train_step()
    resumed.train_step()
    for name, value in whole.net.state_dict().items():
        torch.testing.assert_close(resumed.net.state_dict()[name], value, msg=name)


def test_the_command_writes_a_file_that_can_be_used(config) -> None:
    assert main([str(config)]) == 0
    occlusion = load_occlusion(path=config.parent / "net.safetensors")
    assert occlusion(torch.zeros(1, 3, 64, 64)).shape == (1, 1, 128, 128)
    assert len((config.parent / "run" / "log.jsonl").read_text().splitlines()) == 4


def test_the_loss_falls_on_one_batch(config) -> None:
    trainer = OcclusionTrainer(read_config(config))
    batch = trainer.sampler.batch(0)
    trainer.sampler.batch = lambda step: batch
    losses = [trainer.train_step() for _ in range(12)]
    assert losses[-1] < 0.95 * losses[0]


def test_kinds_are_drawn_as_often_as_the_config_says(config) -> None:
    content = yaml.safe_load(config.read_text())
    never = dict.fromkeys(KINDS[1:], 0.0) | {"food": 1.0}
    config.write_text(yaml.safe_dump(content | {"none": 0.5, "kinds": never}))
    sampler = OcclusionTrainer(read_config(config)).sampler
    assert {kind for step in range(8) for kind in sampler.batch(step).kinds} == {"none", "food"}


def test_half_precision_learns_nearly_the_same(config) -> None:
    content = yaml.safe_load(config.read_text())
    losses = []
    for precision in ("float32", "bfloat16"):
        config.write_text(yaml.safe_dump(content | {"precision": precision}))
        losses.append(OcclusionTrainer(read_config(config)).train_step())
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.02)


def test_wrong_configs_are_said_in_one_sentence(config, tmp_path) -> None:
    assert main([]) == 2
    assert main([str(tmp_path / "missing.yaml")]) == 1
    content = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump(content | {"stepps": 3}))
    with pytest.raises(InputError, match="stepps"):
        read_config(config)
    config.write_text(yaml.safe_dump(content | {"kinds": {"hat": 2}}))
    with pytest.raises(InputError, match="there is no 'hat'; known are hand, hair"):
        read_config(config)
    config.write_text(yaml.safe_dump(content | {"kinds": {"hand": -1}}))
    with pytest.raises(InputError, match="0 or more"):
        read_config(config)
    config.write_text(yaml.safe_dump(content | {"skip": "nobody.txt"}))
    with pytest.raises(InputError, match=r"nobody\.txt"):
        OcclusionTrainer(read_config(config))


def test_the_released_recipe_can_be_read() -> None:
    from pathlib import Path

    root = Path(__file__).resolve().parents[2]
    released = read_config(root / "docs" / "gpen-occlusion.yaml")
    assert released.export is not None and released.export.name == "gpen-occlusion-128.safetensors"
    assert released.skip is not None and released.skip.is_file()


def test_figures_are_of_held_out_faces(config, caplog) -> None:
    def everywhere(faces):
        return torch.ones(len(faces), 1, 128, 128)

    def nowhere(faces):
        return torch.zeros(len(faces), 1, 128, 128)

    all_seen = figures.measure(everywhere, read_config(config), "none")
    none_seen = figures.measure(nowhere, read_config(config), "none")
    assert all_seen["none"] == pytest.approx(1.0, abs=0.01) and none_seen["none"] == 0
    assert all(value == 0 for kind, value in none_seen.items() if kind != "none")
    assert 0 < all_seen["mask"] < 0.6
    assert figures.main([]) == 2


def test_figures_leave_out_faces_that_are_listed(config) -> None:
    content = yaml.safe_load(config.read_text())
    held = figures.split(*_held(read_config(config)))[1]
    (config.parent / "listed.txt").write_text("\n".join(f"faces/{one.path.name}" for one in held))
    config.write_text(yaml.safe_dump(content | {"skip": "listed.txt"}))
    with pytest.raises(InputError, match="every held-out face is listed"):
        figures.measure(lambda faces: faces[:, :1], read_config(config), "none")


def _held(config):
    selection = config.data.selection()
    return figures.read_faces(selection), selection
