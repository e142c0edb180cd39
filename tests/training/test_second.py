"""Training the second generation, and both rehearsed from 64 to 128 px as docs/gpen-paper-2048.yaml
says it, in small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gpen_core.cli.app import run as gpen
from gpen_core.errors import CheckpointError, InputError
from gpen_core.models.convert import inspect
from gpen_core.models.load import load_model
from gpen_core.networks.gpen_v2 import GPENv2, GPENv2Config
from gpen_core.training import train

yaml = pytest.importorskip("yaml", reason="pyyaml, of the extra gpen[train], is not installed")
pytest.importorskip("pydantic", reason="pydantic, of the extra gpen[train], is not installed")
config_module = pytest.importorskip("gpen_core.training.config")
network_module = pytest.importorskip("gpen_core.training.network")
second = pytest.importorskip("gpen_core.training.second")

PAPER = Path(__file__).resolve().parents[2] / "docs" / "gpen-paper-2048.yaml"
SMALL = {"architecture": "v2", "size": 64, "width": 16, "encoder_size": 32}


@pytest.fixture(scope="module")
def young() -> GPENv2:
    torch.manual_seed(0)
    return second.start_second(GPENv2Config.create(out_size=64, in_size=32, width=16))


def pictures(size: int = 32) -> torch.Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_a_fresh_network_is_calm_and_can_learn(young):
    made = young(pictures())
    assert float(made.detach().abs().max()) < 2
    made.square().mean().backward()
    first = young.encoder.conv1.weight.grad
    assert first is not None and float(first.abs().sum()) > 0
    young.zero_grad()


def test_a_grown_network_gives_the_picture_twice_as_large(young):
    grown = second.grow_second(young, 8)
    with torch.no_grad():
        expected = young(pictures()).repeat_interleave(2, 2).repeat_interleave(2, 3)
        torch.testing.assert_close(grown(pictures()), expected, rtol=0, atol=1e-5)
    below, new = grown.generator.blocks[-2], grown.generator.blocks[-1]
    assert torch.equal(new.conv1.weight, below.conv1.weight[:8, :8]), "weights are duplicated"
    with pytest.raises(InputError, match="grows by a block of 1 to 16 channels, not 32"):
        second.grow_second(young, 32)


def test_a_network_of_another_kind_is_not_gone_on_from(small_model_file, tmp_path):
    options = config_module.Network(**SMALL, start_from=small_model_file)
    with pytest.raises(CheckpointError, match=r"is not a GPEN v2\.0 network"):
        network_module.new_network(options, seed=0)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (SMALL | {"narrow": 0.5}, "narrow is an option of architecture: v1"),
        (SMALL | {"detail": 0.5}, "detail is an option of architecture: v1"),
        ({"size": 64, "narrow": 0.5, "depth": 101}, "depth is an option of architecture: v2"),
    ],
)
def test_options_of_the_other_generation_are_refused(write_config, model, said):
    with pytest.raises(InputError, match=said):
        config_module.read_config(write_config(model=model))


# --- the recipe of the documents -----------------------------------------------------------------


def paper() -> dict:
    return yaml.safe_load(PAPER.read_text(encoding="utf-8"))


def test_the_recipe_is_the_documents(tmp_path):
    config = config_module.read_config(PAPER)
    weights = config.losses
    assert (weights.l1, weights.perceptual, weights.identity) == (1, 0.05, 0.1)
    assert (weights.adversarial, weights.lpips) == (0.005, 0.1)
    assert not (weights.gradient or weights.frequency or weights.regions)
    assert not weights.feature_matching
    rate = config.optimizer
    assert (rate.lr, rate.final_lr, rate.decay_from) == (2e-4, 2e-5, 0.8)
    assert config.precision == "fp16"
    assert (config.backbones.perceptual, config.backbones.layers) == ("vgg19", ("relu2_2",))
    assert config.backbones.identity == "arcface"
    assert config.discriminators.patch and config.model.size == 2048
    assert config.model.grow_from is not None and config.model.grow_from.name == "1024.safetensors"


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_the_recipe_runs_from_64_to_128(write_config, tmp_path, generation):
    """Everything but the sizes, the files that are not here, and fp16, which needs a GPU."""
    recipe = paper()
    taken = {"optimizer": recipe["optimizer"]}
    losses = {name: recipe["losses"][name] for name in ("l1", "adversarial")}
    weights = tmp_path / "vgg19.pth"
    torch.manual_seed(0)
    from gpen_core.files import sha256
    from gpen_core.perception.vgg19 import VGG19

    torch.save(VGG19(["relu2_2"]).state_dict(), weights)
    losses["perceptual"] = recipe["losses"]["perceptual"]
    backbones = {
        "perceptual": recipe["backbones"]["perceptual"],
        "layers": recipe["backbones"]["layers"],
        "vgg19": str(weights),
        "vgg19_sha256": sha256(weights),
    }
    judges = {"patch_width": 4, "patch_layers": 2, "r1_every": 2, "narrow": 0.0625}
    small = (
        {"narrow": 0.0625, "channel_multiplier": 1}
        if generation == "v1"
        else {"architecture": "v2", "width": 16, "encoder_size": 32}
    )
    grown: Path | None = None
    for size in (64, 128):
        model = {"size": size, **small} | ({"grow_from": str(grown)} if grown else {})
        grown = tmp_path / f"{generation}-{size}.safetensors"
        path = write_config(
            f"{generation}-{size}",
            losses=losses | {"gradient": 0},
            model=model,
            backbones=backbones,
            discriminators=judges,
            export={"path": str(grown), "every_minutes": 99},
            steps=3,
            validate_every=3,
            **taken,
        )
        folder = train(path)
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        assert {"l1", "adversarial", "perceptual", "d", "r1"} <= {k for line in lines for k in line}
    info = inspect(grown)
    assert info.architecture == f"gpen-{generation}" and info.output_size == 128
    assert info.task == "restore" and info.input_size == (128 if generation == "v1" else 32)
    model = load_model(grown)
    made = model(pictures(model.input_size))
    assert made.shape == (2, 3, 128, 128) and bool(torch.isfinite(made).all())


def test_a_run_of_the_second_generation_is_resumed(write_config, tmp_path):
    path = write_config("v2", model=SMALL, steps=2, checkpoint_every=2)
    train(path)
    path = write_config("v2", model=SMALL, steps=4, checkpoint_every=2)
    assert gpen(["train", str(path)]) == 0
    assert (tmp_path / "v2" / "step-00000004.pt").exists()
