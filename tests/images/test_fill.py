"""What stands in for holes while faces are searched."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen_core.images.fill import smoothly_filled


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 999))
def test_known_pixels_stay_and_holes_stay_among_the_known_colors(height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 3, height, width, generator=generator)
    missing = torch.rand(2, 1, height, width, generator=generator) > 0.6
    filled = smoothly_filled(images.masked_fill(missing, 9.0), missing)
    assert torch.equal(torch.where(missing, 0.0, filled), torch.where(missing, 0.0, images))
    for image, hole, result in zip(images, missing, filled, strict=True):
        known = image[:, ~hole[0]]
        if known.numel():
            low, high = known.amin(1)[:, None, None], known.amax(1)[:, None, None]
            assert ((result >= low - 1e-5) & (result <= high + 1e-5)).all()


def test_a_ramp_goes_on_under_a_scratch():
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    missing = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    missing[..., 28:34] = True
    filled = smoothly_filled(ramp.masked_fill(missing, 1.0), missing)
    assert float((filled - ramp).abs().max()) < 0.08


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (300, 2)])
def test_one_mask_serves_all_images_of_any_shape(size):
    missing = torch.zeros(1, 1, *size, dtype=torch.bool)
    missing[..., 1:] = True
    filled = smoothly_filled(torch.full((3, 3, *size), 0.25), missing)
    assert torch.allclose(filled, torch.full((3, 3, *size), 0.25))


def test_an_image_of_which_nothing_is_known_becomes_black():
    images = torch.rand(1, 3, 8, 8)
    assert not smoothly_filled(images, torch.ones(1, 1, 8, 8, dtype=torch.bool)).any()
