"""Seeded damage: repeatable, independent of the batch, ordered by severity, honest about errors."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen_core.dataset.degradation import (
    LIMITS,
    PRESETS,
    Degradation,
    degrade,
    gaussian_blur,
    motion_blur,
)
from gpen_core.errors import InputError

GOLDEN = Path(__file__).parent / "golden" / "degradation"
_spec = importlib.util.spec_from_file_location("draw_degradations", GOLDEN / "draw.py")
draw = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(draw)


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    """(3, 3, 64, 64) 0..1, smooth with an edge."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    base = torch.stack((x, y, (x > 0.5).float()))
    return torch.stack((base, base.flip(-1), 1 - base))


@pytest.mark.parametrize("name", PRESETS)
def test_the_seed_decides(pictures, name):
    first = degrade(pictures, name, seed=5)
    assert first.shape == pictures.shape
    assert first.min() >= 0 and first.max() <= 1
    assert torch.equal(degrade(pictures, name, seed=5), first)
    assert not torch.equal(degrade(pictures, name, seed=6), first)


@pytest.mark.parametrize("size", [(64, 64), (37, 41)])
@pytest.mark.parametrize("name", PRESETS)
def test_a_picture_alone_is_damaged_as_in_a_batch(pictures, name, size):
    pictures = torch.nn.functional.interpolate(pictures, size, mode="bilinear")
    batch = degrade(pictures, name, seed=9)
    for index in range(3):
        alone = degrade(pictures[index : index + 1], name, seed=9 + index)
        assert torch.equal(alone[0], batch[index])


def test_the_state_of_torch_neither_matters_nor_changes(pictures):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = degrade(pictures, "old-photo", seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(degrade(pictures, "old-photo", seed=2), first)


def test_presets_are_ordered_by_error(pictures):
    errors = [
        (degrade(pictures, name, seed=0) - pictures).square().mean().item()
        for name in ("mild", "medium", "severe")
    ]
    assert errors == sorted(errors)
    assert errors[0] > 0


def test_no_damage_changes_nothing(pictures):
    assert torch.equal(degrade(pictures, Degradation()), pictures)


def test_gray_loses_the_colors(pictures):
    gray = degrade(pictures, Degradation(gray=1.0))
    assert torch.allclose(gray[:, 0], gray[:, 1]) and torch.allclose(gray[:, 0], gray[:, 2])


def test_jpeg_quality_orders_the_error(pictures):
    noisy = (pictures + 0.1 * torch.randn(pictures.shape, generator=torch.Generator())).clamp(0, 1)
    errors = [
        (degrade(noisy, Degradation(jpeg=(quality, quality))) - noisy).square().mean().item()
        for quality in (10, 40, 95)
    ]
    assert errors == sorted(errors, reverse=True)


@given(sigma=st.floats(0, 3), length=st.floats(0, 25), angle=st.floats(0, 3.2))
@settings(max_examples=25, deadline=None)
def test_blurs_keep_a_flat_picture_flat(sigma, length, angle):
    flat = torch.full((1, 3, 20, 30), 0.37)
    assert torch.allclose(gaussian_blur(flat, sigma), flat, atol=1e-5)
    assert torch.allclose(motion_blur(flat, length, angle), flat, atol=1e-5)


def test_each_picture_of_a_batch_has_its_own_blur(pictures):
    sigmas = torch.tensor([0.0, 0.7, 3.0])
    blurred = gaussian_blur(pictures, sigmas)
    assert torch.equal(blurred[0], pictures[0])
    for index, sigma in enumerate(sigmas.tolist()):
        assert torch.equal(gaussian_blur(pictures[index : index + 1], sigma)[0], blurred[index])


def test_the_blur_is_kornias(pictures):
    import kornia

    ours = gaussian_blur(pictures, 1.5)
    theirs = kornia.filters.gaussian_blur2d(pictures, (11, 11), (1.5, 1.5), "replicate")
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_the_widest_preset_reaches_every_limit():
    for name, limits in LIMITS.items():
        lowest = 2 if name == "scale" else limits[0]
        assert getattr(PRESETS["wild"], name) == (lowest, limits[1])


def test_motion_smears_along_its_angle():
    point = torch.zeros(1, 1, 31, 31)
    point[..., 15, 15] = 1
    across = motion_blur(point, 9.0, 0.0)
    assert across[0, 0, 15].gt(0).sum() == 9
    assert torch.allclose(across[0, 0].T, motion_blur(point, 9.0, torch.pi / 2)[0, 0], atol=1e-5)


@given(height=st.integers(16, 50), width=st.integers(16, 50), seed=st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_any_size_is_kept(height, width, seed):
    picture = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    damaged = degrade(picture, "severe", seed)
    assert damaged.shape == picture.shape
    assert damaged.isfinite().all()


@pytest.mark.parametrize(
    ("ranges", "name"),
    [
        ({"scale": (0.5, 2)}, "scale"),
        ({"noise": (5, 1)}, "noise"),
        ({"jpeg": (0, 50)}, "jpeg"),
        ({"blur": (0, 9)}, "blur"),
        ({"gray": 2}, "gray"),
    ],
)
def test_an_impossible_range_is_named(ranges, name):
    with pytest.raises(InputError, match=f"Degradation {name}"):
        Degradation(**ranges)


def test_an_unknown_preset_lists_the_known(pictures):
    with pytest.raises(InputError, match="'awful'; choose mild, medium, severe, old-photo, wild"):
        degrade(pictures, "awful")


def test_a_wrong_shape_is_named():
    with pytest.raises(InputError, match=r"\(N, 3, H, W\), not \(3, 8, 8\)"):
        degrade(torch.zeros(3, 8, 8), "mild")


@pytest.mark.parametrize("name", draw.NAMES)
def test_the_golden_sheets_have_not_changed(name):
    """JPEG codecs differ by a few levels in a few pixels, and where a sum is rounded to a level."""
    source = draw.read(GOLDEN / "source.png")
    got = torch.from_numpy(draw.row(draw.sheet(name, source))).float()
    difference = (got - draw.read(GOLDEN / f"{name}.png")[0].permute(1, 2, 0) * 255).abs()
    lossy = name == "jpeg" or name in PRESETS
    assert difference.mean() < (0.8 if lossy else 0.02)
    assert difference.quantile(0.999) < (12 if lossy else 1.5)
