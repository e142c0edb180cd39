"""Color match: the light of the picture, inside the mask alone, without the picture's details."""

from __future__ import annotations

import pytest
import torch

from gpen_core.faces.color import match_color


def flat(*color: float, size: int = 64) -> torch.Tensor:
    """(1, 3, size, size) of one color."""
    values = torch.tensor(color, dtype=torch.float32)
    return values[None, :, None, None].expand(1, 3, size, size).clone()


FULL = torch.ones(1, 1, 64, 64)


@pytest.mark.parametrize("amount", [0.25, 1.0])
def test_an_even_difference_in_light_goes_by_the_amount(amount) -> None:
    restored, crops = flat(0.5, 0, -0.5), flat(0.1, 0.2, -0.1)
    expected = restored + amount * (crops - restored)
    for size in (64, 128, 256):
        found = match_color(flat(0.5, 0, -0.5, size=size), crops, FULL, amount)
        assert found.shape[-1] == size
        torch.testing.assert_close(found.mean((2, 3)), expected.mean((2, 3)), rtol=0, atol=1e-4)
    assert match_color(restored, crops, FULL, 0) is restored


def test_what_lies_outside_the_mask_does_not_count() -> None:
    """A face in the left half, a red wall beside it."""
    mask = FULL.clone()
    mask[..., 32:] = 0
    restored, crops = flat(0, 0, 0), flat(0.2, 0.2, 0.2)
    crops[..., 32:] = torch.tensor([1.0, -1.0, -1.0])[:, None, None]
    found = match_color(restored, crops, mask, 1.0)
    face = found[..., :28]
    torch.testing.assert_close(face, torch.full_like(face, 0.2), rtol=0, atol=0.03)


def test_light_is_what_a_blur_of_a_sixteenth_of_the_face_leaves() -> None:
    """A wave keeps exp(-(2 pi sigma / period)^2 / 2) of itself, sigma 4 px of 64."""
    x = torch.arange(64.0)
    for period in (64.0, 32.0, 16.0):
        wave = 0.4 * torch.cos(2 * torch.pi * (x + 0.5) / period)
        crops = wave.expand(1, 3, 64, 64).clone()
        found = match_color(flat(0, 0, 0), crops, FULL, 1.0)[0, 0, 32]
        # Projected on the wave, away from the edges.
        inside = slice(16, 48)
        kept = float((found[inside] * wave[inside]).sum() / (wave[inside] ** 2).sum())
        expected = torch.exp(torch.tensor(-((2 * torch.pi * 4 / period) ** 2) / 2))
        assert kept == pytest.approx(float(expected), abs=0.03)


def test_the_result_stays_a_picture_of_its_own_type() -> None:
    found = match_color(flat(0.9, 0.9, 0.9), flat(1, 1, 1) * 3, FULL, 1.0)
    assert float(found.max()) == 1.0
    half = match_color(flat(0.5, 0, 0).half(), flat(0, 0, 0), FULL, 1.0)
    assert half.dtype == torch.float16
    none = torch.zeros(0, 3, 64, 64)
    assert match_color(none, none, torch.zeros(0, 1, 64, 64), 1.0) is none
