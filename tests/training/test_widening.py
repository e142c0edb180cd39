"""A widened network gives what the narrow one gave, and learns with what it got."""

from __future__ import annotations

import pytest
import torch

from gpen_core.errors import InputError
from gpen_core.networks import GPEN, GPENConfig

pytest.importorskip("yaml", reason="pyyaml, of the extra gpen[train], is not installed")
pytest.importorskip("pydantic", reason="pydantic, of the extra gpen[train], is not installed")
widen = pytest.importorskip("gpen_core.training.widening")

WIDE = ((4, 48), (8, 40), (16, 32), (32, 33), (64, 38))


@pytest.fixture
def narrow(small_state) -> GPEN:
    net = GPEN(GPENConfig.from_state_dict(small_state))
    net.load_state_dict(small_state)
    with torch.no_grad():  # trained networks have biases
        torch.manual_seed(1)
        for name, parameter in net.named_parameters():
            if name.endswith("bias") and "modulation" not in name:
                parameter.normal_(std=0.2)
    return net


def test_the_widened_network_gives_the_same_and_every_new_input_learns(narrow):
    wide = widen.widen(narrow, GPENConfig(64, 64, WIDE))
    torch.manual_seed(2)
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    expected = narrow(x)
    given = wide(x)
    assert (given - expected).abs().max() < 1e-4 * expected.abs().max()
    given.square().mean().backward()
    for name, parameter in wide.named_parameters():
        if "conv.weight" in name:
            assert parameter.grad is not None
            assert bool((parameter.grad.abs().sum(dim=(0, 1, 3, 4)) > 0).all()), name


@pytest.mark.parametrize(
    ("size", "channels", "message"),
    [
        (64, ((4, 31), *WIDE[1:]), "more than the 31"),
        (128, (*WIDE, (128, 8)), "Only the channels"),
    ],
)
def test_what_cannot_be_widened_is_refused(narrow, size, channels, message):
    with pytest.raises(InputError, match=message):
        widen.widen(narrow, GPENConfig(size, size, channels))
