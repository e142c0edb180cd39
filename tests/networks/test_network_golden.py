"""GPEN v1 against the official network: keys, shapes, output; and the inference of its sizes."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from gpen_core.errors import CheckpointError, InputError
from gpen_core.networks import GPEN, GPENConfig
from gpen_core.networks.fir import fir_kernel

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
needs_golden = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="the golden data (shared/golden beside the project) is absent"
)
MODELS = {
    "gpen_256": GPENConfig.create(256, narrow=0.5, channel_multiplier=1),
    "gpen_512": GPENConfig.create(512),
    "gpen_1024": GPENConfig.create(1024),
    "gpen_2048": GPENConfig.create(2048),
    "gpen_sr_256_1024": GPENConfig.create(1024, 0.5, 1, in_size=256),
}
TINY = GPENConfig.create(64, narrow=1 / 64, channel_multiplier=1)
TINY_SR = GPENConfig.create(128, narrow=1 / 32, channel_multiplier=1, in_size=64)


def made_weights(config: GPENConfig) -> dict[str, torch.Tensor]:
    """The golden recipe: every tensor drawn from a generator seeded by its key."""
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in GPEN(config).state_dict().items()}
    state = {}
    for key, shape in shapes.items():
        random = np.random.RandomState(zlib.crc32(key.encode()))
        w = random.standard_normal(int(np.prod(shape))).astype(np.float32).reshape(shape)
        if key.startswith("generator.style.") and key.endswith("weight"):
            w = 100 * w
        elif key.startswith("generator.style.") and key.endswith("bias"):
            w = 10 * w
        elif key.endswith("modulation.bias"):
            w = 1 + 0.1 * w
        elif key.endswith("noise.weight"):
            w = 0.3 * w
        elif key.endswith("bias"):
            w = 0.1 * w
        elif key.endswith("kernel"):
            w = fir_kernel(1.0 if key.startswith("ecd") else 4.0).numpy()
        state[key] = torch.from_numpy(np.ascontiguousarray(w, dtype=np.float32))
    return state


def network(config: GPENConfig) -> GPEN:
    net = GPEN(config).eval()
    net.load_state_dict(made_weights(config))
    return net


def meta_state(config: GPENConfig) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return dict(GPEN(config).state_dict())


@needs_golden
@torch.inference_mode()
def test_gpen_256_gives_the_official_output():
    golden = np.load(GOLDEN / "gpen_256.npz")
    x = torch.from_numpy(golden["input"]).permute(2, 0, 1)[None] / 255.0 * 2.0 - 1.0
    y = network(MODELS["gpen_256"])(x)[0].numpy()
    assert np.abs(y - golden["output"]).max() < 1e-4


@needs_golden
@pytest.mark.parametrize("name", MODELS)
def test_keys_and_shapes_are_the_official_ones_in_order(name):
    official = json.loads((GOLDEN / f"{name}.keys.json").read_text())
    ours = {key: list(value.shape) for key, value in meta_state(MODELS[name]).items()}
    assert list(ours.items()) == list(official.items())


@pytest.mark.parametrize(
    "config",
    [*MODELS.values(), TINY, TINY_SR, GPENConfig.create(64, 0.37, 1), GPENConfig.create(2048, 0.3)],
)
def test_the_state_dict_tells_its_config(config):
    assert GPENConfig.from_state_dict(meta_state(config)) == config


def test_narrow_and_multiplier_are_told():
    config = MODELS["gpen_256"]
    assert (config.narrow, config.multiplier) == (0.5, 1)
    assert (MODELS["gpen_1024"].narrow, MODELS["gpen_1024"].multiplier) == (1, 2)


@pytest.mark.parametrize("config", [TINY, TINY_SR], ids=["plain", "sr"])
@torch.inference_mode()
def test_a_face_alone_equals_the_face_in_a_batch(config):
    net = network(config)
    x = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    batch = net(x)
    for index in range(3):
        torch.testing.assert_close(net(x[index : index + 1])[0], batch[index], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_sr_noise_follows_its_generator():
    net = network(TINY_SR)
    x = torch.zeros(1, 3, 64, 64)
    default = net(x)
    assert default.shape == (1, 3, 128, 128)
    assert torch.equal(net(x), default)
    assert torch.equal(net(x, torch.Generator().manual_seed(0)), default)
    assert not torch.allclose(net(x, torch.Generator().manual_seed(1)), default)


def test_training_reaches_every_parameter():
    net = network(TINY)
    net(torch.rand(2, 3, 64, 64)).square().mean().backward()
    assert [name for name, p in net.named_parameters() if not p.grad.abs().sum() > 0] == []


@torch.inference_mode()
def test_odd_kernels_in_a_checkpoint_are_honoured():
    net = network(TINY)
    x = torch.rand(1, 3, 64, 64)
    before = net(x)
    net.get_submodule("ecd1.0.0").kernel[0, 0] += 0.5
    assert not torch.allclose(net(x), before)


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 3, 32, 32), (1, 4, 64, 64)])
def test_a_wrong_input_is_named(shape):
    with pytest.raises(InputError, match=r"takes \(N, 3, 64, 64\)"):
        GPEN(TINY)(torch.zeros(shape))


@pytest.mark.parametrize("size", [0, 32, 100, 4096])
def test_an_impossible_size_is_named(size):
    with pytest.raises(InputError, match="power of two from 64 to 2048"):
        GPENConfig.create(size)


def test_too_narrow_is_named():
    with pytest.raises(InputError, match="without channels"):
        GPENConfig.create(2048, narrow=0.01)


def _drop(state):
    del state["generator.convs.1.noise.weight"]


def _grow(state):
    state["ecd2.0.1.weight"] = torch.zeros(9, 8, 3, 3, device="meta")


def _add(state):
    state["stddev_conv.weight"] = torch.zeros(3, device="meta")


def _cut(state):
    for key in [key for key in state if key.startswith("ecd")]:
        del state[key]


def _flat(state):
    state["generator.conv1.conv.weight"] = torch.zeros(8, 8, device="meta")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop, r"'generator\.convs\.1\.noise\.weight' .* is missing"),
        (_grow, r"'ecd2\.0\.1\.weight' .*expected \(8, 8, 3, 3\), found \(9, 8, 3, 3\)"),
        (_add, r"unknown key 'stddev_conv\.weight'"),
        (_cut, r"'ecd0\.0\.0\.weight' is missing"),
        (_flat, r"'generator\.conv1\.conv\.weight' must have 5 dimensions"),
    ],
)
def test_a_damaged_state_dict_names_the_key(damage, message):
    state = meta_state(TINY)
    damage(state)
    with pytest.raises(CheckpointError, match=message):
        GPENConfig.from_state_dict(state)
