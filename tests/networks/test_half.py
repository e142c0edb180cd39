"""Half precision: near enough to fp32 on real faces, and styles that cannot overflow it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen_core.errors import MissingDependencyError
from gpen_core.faces.align import align
from gpen_core.faces.detect import detect
from gpen_core.faces.detector import load_detector
from gpen_core.images.read import read_picture
from gpen_core.models.load import load_model
from gpen_core.networks import GPEN, GPENConfig
from gpen_core.networks.fast.network import prepare

SAMPLES = Path(__file__).resolve().parents[2] / "docs" / "samples"
SMALL = GPENConfig.create(64, narrow=1 / 32, channel_multiplier=1)


@pytest.fixture(scope="module")
def faces():
    """Three aligned faces of a photograph, (3, 3, 256, 256) -1..1."""
    try:
        detector = load_detector()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    pictures = read_picture(SAMPLES / "solvay-1927.jpg").pixels[None]
    crops = align(pictures, detect(pictures, detector), 256, "gpen").crops
    assert len(crops) > 3
    return crops[:3]


def psnr(found: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """Of each picture of a batch -1..1, decibels."""
    return -10 * ((found - expected) / 2).square().flatten(1).mean(dim=1).log10()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_near_on_real_faces(precision, faces):
    model = load_model()
    expected = model(faces).clamp(-1, 1)
    found = model.with_precision(precision)(faces).clamp(-1, 1)
    assert not torch.equal(found, expected)
    assert (found - expected).abs().mean() / expected.abs().mean() < 0.02
    assert psnr(found, expected).min() > 45


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1 << 30), magnitude=st.sampled_from([1e-4, 1e-2, 1.0, 1e2, 1e5]))
@torch.inference_mode()
def test_normalized_styles_are_the_same_convolution(seed, magnitude):
    """Whatever the size of the styles: factors of at most 1, and the product as in fp32."""
    torch.manual_seed(seed)
    fast = prepare(GPEN(SMALL))
    style = torch.randn(2, SMALL.style_dim) * magnitude
    for layer in (fast.generator.conv1, *fast.generator.convs):
        exact = fast.operations.modulation(layer, style, torch.float32)
        for dtype in (torch.float16, torch.bfloat16):
            coarse = fast.operations.modulation(layer, style, dtype)
            small, large = coarse.style.float(), coarse.gain.float()
            assert small.abs().amax(dim=1).tolist() == [1.0, 1.0]
            expected = exact.gain[:, :, None] * exact.style[:, None]
            found = large[:, :, None] * small[:, None]
            error = (found - expected).abs().amax() / expected.abs().amax()
            assert error < 2 * torch.finfo(dtype).eps


@torch.inference_mode()
def test_the_style_is_computed_in_float32():
    torch.manual_seed(0)
    coarse = prepare(GPEN(SMALL), dtype=torch.bfloat16)
    rounded = prepare(coarse, dtype=torch.float32)
    code = torch.randn(2, rounded.final_linear[0].weight.shape[1])
    expected = rounded.style(code.bfloat16().float())
    assert torch.equal(coarse.style(code.bfloat16()), expected.bfloat16())
