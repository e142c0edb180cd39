"""The v2.0 layout: variants of its keys, what its arguments may say, and the way back to .pth."""

from __future__ import annotations

import argparse
import logging
import zipfile

import pytest
import torch

from gpen_core.errors import CheckpointError, InputError
from gpen_core.models.convert import convert, inspect, save_torch
from gpen_core.models.load import load_model
from gpen_core.networks.gpen_v2 import GPENv2, GPENv2Config

SMALL = GPENv2Config(64, 64, (1, 2, 1, 1), 8, True, 32, 2, 8, (16, 16, 12, 8))
CROPS = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = GPENv2(SMALL)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return network.state_dict()


def in_parts(state, **args) -> dict:
    parts: dict = {"encoder": {}, "mapper": {}, "generator": {}}
    for key, value in state.items():
        part, _, name = key.partition(".")
        parts[part][name] = value
    return {**parts, "args": argparse.Namespace(**{"input_resolution": 64, **args})}


def test_the_described_network_has_resnets_depth_and_reaches_2048():
    config = GPENv2Config.create()
    assert (config.stages, len(config.widths), config.latent) == ((3, 4, 6, 3), 9, 512)
    assert GPENv2Config.create(depth=101).stages == (3, 4, 23, 3)
    with torch.device("meta"):
        state = GPENv2(config).state_dict()
    assert state["encoder.fc.weight"].shape == (512, 2048)
    assert GPENv2Config.from_state_dict(state, {"input_resolution": 256}) == config


@pytest.mark.parametrize("options", [{"out_size": 96}, {"out_size": 4}, {"depth": 34}])
def test_no_other_depth_or_size(options):
    with pytest.raises(InputError, match="depth 50 or 101"):
        GPENv2Config.create(**options)


def test_every_face_is_restored_on_its_own(state):
    model = load_model(in_parts(state))
    alone = torch.cat([model(CROPS[i : i + 1]) for i in range(2)])
    # Another number of threads sums in another order: 1e-4 of the largest value is fp32 rounding.
    assert (model(CROPS) - alone).abs().max() < 1e-4 * alone.abs().max()
    assert not torch.allclose(alone[0], alone[1])


def test_missing_convolution_biases_count_as_zero(state):
    zeroed = {
        key: torch.zeros_like(value)
        if key.startswith("encoder.layer") and key.endswith(".bias")
        else value
        for key, value in state.items()
    }
    without = {
        key: value
        for key, value in state.items()
        if not (key.startswith("encoder.layer") and key.endswith(".bias"))
    }
    assert torch.equal(load_model(in_parts(without))(CROPS), load_model(in_parts(zeroed))(CROPS))
    bare = {k: v for k, v in without.items() if k != "encoder.conv1.bias"}
    assert load_model(in_parts(bare)).network.config.conv_bias is False


def test_a_mapper_written_as_a_sequence(state):
    names = {"fc1": "0", "norm1": "1", "fc2": "3", "norm2": "4"}
    numbered = {}
    for key, value in state.items():
        part, _, rest = key.partition(".")
        module, _, name = rest.partition(".")
        numbered[f"mapper.{names[module]}.{name}" if part == "mapper" else key] = value
    assert "mapper.4.bias" in numbered
    assert torch.equal(load_model(in_parts(numbered))(CROPS), load_model(in_parts(state))(CROPS))


def test_data_parallel_parts(state):
    parts = in_parts(state)
    parts["generator"] = {f"module.{key}": value for key, value in parts["generator"].items()}
    assert torch.equal(load_model(parts)(CROPS), load_model(in_parts(state))(CROPS))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"output_resolution": 128}, "output_resolution 128.*makes 64"),
        ({"version": "GPEN-BFR-v2.0-2048"}, "v2.0-2048.*64 px"),
        ({"version": "GPEN-BFR-v3.0-64"}, "v3.0-64"),
        ({"input_resolution": "large"}, "'large', which is not a size"),
        ({"input_resolution": 0}, "input_resolution 0"),
        ({"input_resolution": 10**6}, "32 to 4096"),
        ({"input_resolution": True}, "not a size"),
        ({"input_resolution": (64, 128)}, "not a size"),
    ],
)
def test_arguments_that_cannot_be(state, args, message):
    with pytest.raises(CheckpointError, match=message):
        load_model(in_parts(state, **args))


@pytest.mark.parametrize("value", [64, "64", 64.0, (64, 64), [64, 64]])
def test_sizes_may_be_written_in_several_ways(state, value):
    assert load_model(in_parts(state, input_resolution=value)).input_size == 64


def test_an_unstated_input_size_is_said_in_the_log(state, caplog):
    with caplog.at_level(logging.WARNING):
        assert load_model(dict(state)).input_size == 256
    assert "256 px is assumed" in caplog.text


def test_a_missing_stage_a_wrong_shape_and_an_unknown_key_are_named(state):
    cut = {k: v for k, v in state.items() if not k.startswith("encoder.layer3")}
    with pytest.raises(CheckpointError, match="stages are missing"):
        load_model(in_parts(cut))
    with pytest.raises(CheckpointError, match=r"mapper\.fc2\.weight.*expected.*found"):
        load_model(in_parts({**state, "mapper.fc2.weight": torch.zeros(3, 3)}))
    with pytest.raises(CheckpointError, match=r"unknown key 'encoder\.bn1\.weight'"):
        load_model(in_parts({**state, "encoder.bn1.weight": torch.zeros(8)}))


@pytest.mark.parametrize("legacy", [False, True])
def test_saved_in_its_own_layout_as_pytorch_file(tmp_path, state, legacy):
    source, flat, back = (tmp_path / name for name in ("v2.pth", "v2.safetensors", "back.pth"))
    torch.save(in_parts(state, lr=0.002, version="GPEN-BFR-v2.0-64"), source)
    convert(source, flat)
    save_torch(flat, back, precision="fp16", legacy=legacy)
    assert zipfile.is_zipfile(back) is not legacy
    info = inspect(back)
    assert (info.architecture, info.stored, info.input_size) == ("gpen-v2", "fp16", 64)
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(back, weights_only=True)
    assert set(content) == {"encoder", "mapper", "generator", "args"}
    assert content["args"].lr == 0.002
    halved = load_model(source).network.state_dict()
    expected = load_model(in_parts({key: value.half() for key, value in halved.items()}))
    assert torch.equal(load_model(back)(CROPS), expected(CROPS))
