"""A grown network gives the upsampled output of the one it comes from."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gpen_core.errors import InputError
from gpen_core.networks import GPEN, GPENConfig
from gpen_core.networks.fir import Blur, Upsample

pytest.importorskip("yaml", reason="pyyaml, of the extra gpen[train], is not installed")
pytest.importorskip("pydantic", reason="pydantic, of the extra gpen[train], is not installed")
grow = pytest.importorskip("gpen_core.training.growth")
start = pytest.importorskip("gpen_core.training.start")


@pytest.fixture
def small(small_state) -> GPEN:
    net = GPEN(GPENConfig.from_state_dict(small_state))
    net.load_state_dict(small_state)
    with torch.no_grad():  # trained networks have biases
        torch.manual_seed(1)
        for name, parameter in net.named_parameters():
            if name.endswith("bias") and "modulation" not in name:
                parameter.normal_(std=0.2)
    return net


def smooth(size: int) -> torch.Tensor:
    """(2, 3, size, size), -1..1, with little detail, like a face that is to be restored."""
    coarse = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(3)) * 2 - 1
    return F.interpolate(coarse, (size, size), mode="bicubic").clamp(-1, 1)


def filtered(x: torch.Tensor, values: tuple[float, float, float], **how) -> torch.Tensor:
    return F.conv2d(x, grow.kernel(values).expand(3, 1, 3, 3), groups=3, **how)


def halved(x: torch.Tensor) -> torch.Tensor:
    return filtered(Blur(pad=2)(x), grow.HALVING, stride=2)


@torch.inference_mode()
def test_the_grown_network_gives_the_upsampled_output(small):
    x = smooth(128)
    output = grow.grow(small)(x)
    assert halved(x).shape == (2, 3, 64, 64)
    exact = Upsample()(small(halved(x)))
    scale = exact.abs().max()
    assert (output - exact).abs().max() < 1e-4 * scale
    # And nearly so with the filters a user would take.
    shrunk = F.interpolate(x, (64, 64), mode="bicubic", antialias=True)
    usual = F.interpolate(small(shrunk), (128, 128), mode="bicubic")
    inner = slice(8, -8)  # at the border the filters differ in what lies outside
    difference = (output - usual)[..., inner, inner].abs().mean()
    assert difference < 0.02 * usual[..., inner, inner].std()


@torch.inference_mode()
def test_the_old_network_sees_a_bicubic_reduction(portrait):
    x = torch.from_numpy(portrait.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    wanted = F.interpolate(x, scale_factor=0.5, mode="bicubic", antialias=True)
    inner = slice(4, -4)
    error = (halved(x) - wanted)[..., inner, inner].square().mean() / 4
    assert -10 * error.log10() > 48


@torch.inference_mode()
@pytest.mark.parametrize("detail", [0.4, 1.0])
def test_the_fine_detail_of_the_input_passes(small, detail):
    x = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(4)) * 2 - 1
    output = grow.grow(small, 12, detail)(x)
    fine = filtered(x, grow.FINE, padding=1)
    expected = Upsample()(small(halved(x))) + detail * fine
    assert (output - expected).abs().max() < 1e-4 * expected.abs().max()


@torch.inference_mode()
def test_with_all_detail_a_network_that_changes_nothing_stays_one(portrait):
    torch.manual_seed(0)
    net = GPEN(GPENConfig.create(64, 0.0625))
    start.start_as_identity(net)
    face = torch.from_numpy(portrait.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    x = F.interpolate(face[..., 20:276, 90:346], (128, 128), mode="bicubic", antialias=True)
    errors = [
        (grow.grow(net, 16, detail)(x) - x)[..., 4:-4, 4:-4].square().mean() / 4
        for detail in (0.0, 1.0)
    ]
    plain, passing = (float(-10 * error.log10()) for error in errors)
    assert passing > 35 and passing > plain + 4


def test_every_layer_of_the_old_network_is_in_the_grown_one(small):
    state, old = grow.grow(small).state_dict(), small.state_dict()
    for key, value in old.items():
        if key.startswith("generator"):
            assert torch.equal(state[key], value), key
    assert torch.equal(state["ecd2.0.1.weight"], old["ecd1.0.1.weight"])
    assert torch.equal(state["final_linear.0.weight"], old["final_linear.0.weight"])
    new = sorted(set(state) - set(old))
    assert {key.split(".")[0] for key in new} == {"ecd5", "generator"}


def test_the_new_layers_learn_at_once(small):
    grown = grow.grow(small)
    grown(smooth(128)).square().mean().backward()
    assert grown.generator.to_rgbs[-1].conv.weight.grad.abs().sum() > 0
    assert grown.get_parameter("ecd0.0.0.weight").grad.abs().sum() > 0
    with torch.no_grad():  # one step later the convolutions have a say too
        grown.generator.to_rgbs[-1].conv.weight.add_(0.01)
    grown.zero_grad()
    grown(smooth(128)).square().mean().backward()
    assert grown.generator.convs[-1].conv.weight.grad.abs().sum() > 0


def test_the_new_convolutions_duplicate_those_below(small):
    grown = grow.grow(small)
    new, below = grown.generator.convs[-1], grown.generator.convs[-3]
    width = new.conv.weight.shape[1]
    assert torch.equal(new.conv.weight[:, :, :width], below.conv.weight[:, :width, :width])
    half = below.conv.weight.shape[2] // 2
    assert torch.equal(
        new.conv.weight[:, :, width:], below.conv.weight[:, :width, half : half + width]
    )


def test_1024_grows_to_the_documented_2048():
    config = grow.grown_config(GPENConfig.create(1024, 1, 2))
    assert config == GPENConfig.create(2048, 1, 2)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (GPENConfig.create(64, 0.03125), "128 px needs 6 channels there, not 4"),
        (GPENConfig.create(128, 0.0625, in_size=64), "equal sizes"),
        (GPENConfig.create(2048, 1), "power of two from 64 to 2048"),
    ],
)
def test_what_cannot_grow_is_refused(config, message):
    width = 4 if config.out_size == 64 else None
    with pytest.raises(InputError, match=message):
        grow.grown_config(config, width)


def test_a_share_of_detail_is_a_share(small):
    with pytest.raises(InputError, match="share of fine detail is 0 to 1, not 2"):
        grow.grow(small, detail=2)
