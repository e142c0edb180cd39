"""Layouts: what is refused frame by frame, and what follows a change of size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from gpen_core.errors import InputError
from gpen_core.hooks import Hooks
from gpen_core.images import layouts
from gpen_core.images.layouts import (
    enlarge,
    from_comfy,
    from_network,
    resize,
    to_comfy,
    to_network,
)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_bad_value_in_one_frame_is_enough(bad) -> None:
    image = torch.rand(3, 6, 7, 3)
    image[1, 2, 3, 0] = bad
    with pytest.raises(InputError, match="Image 1 holds NaN or infinite values"):
        from_comfy(image)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3, 4]))
def test_comfy_layout_round_trip_is_exact(batch, height, width, channels):
    image = torch.rand(batch, height, width, channels)
    images, alpha = from_comfy(image)
    assert images.shape == (batch, 3, height, width)
    back = to_comfy(images, alpha)
    expected = image.expand(-1, -1, -1, 3) if channels == 1 else image
    assert torch.equal(back, expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_network_range_round_trip(seed):
    images = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(from_network(to_network(images)), images, atol=1e-6)
    assert to_network(images).abs().max() <= 1


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(4, 4, 3), "shape"),
        (torch.zeros(1, 4, 4, 2), "channels"),
        (torch.zeros(0, 4, 4, 3), "empty"),
        (torch.zeros(1, 0, 4, 3), "empty"),
        (torch.zeros(1, 4, 4, 3, dtype=torch.uint8), "floating-point"),
        (torch.full((2, 4, 4, 3), float("nan")), "Image 0 holds NaN"),
        (torch.zeros(1, 4, 4, 3, 1), "shape"),
    ],
)
def test_bad_images_are_refused(image, message):
    with pytest.raises(InputError, match=message):
        from_comfy(image)


def stripes(height: int = 8, width: int = 12) -> torch.Tensor:
    """(1, 1, height, width): the left half opaque, the right half clear."""
    alpha = torch.zeros(1, 1, height, width)
    alpha[..., : width // 2] = 1
    return alpha


def test_alpha_follows_an_enlargement() -> None:
    large = to_comfy(torch.rand(1, 3, 32, 48), stripes())
    assert large.shape == (1, 32, 48, 4) and large.is_contiguous()
    torch.testing.assert_close(large[0, :, :14, 3], torch.ones(32, 14))
    torch.testing.assert_close(large[0, :, 34:, 3], torch.zeros(32, 14))
    assert float(large[0, :, 24, 3].max()) < 0.5 < float(large[0, :, 23, 3].min())


def test_alpha_of_one_other_side_is_resized_too() -> None:
    for size in ((8, 24), (16, 12)):
        assert to_comfy(torch.rand(1, 3, *size), stripes()).shape == (1, *size, 4)


def test_alpha_takes_the_type_of_the_images() -> None:
    for dtype in (torch.float16, torch.float64):
        images = torch.rand(2, 3, 8, 12).to(dtype)
        whole = to_comfy(images, stripes().expand(2, 1, 8, 12))
        assert whole.dtype == dtype
        assert torch.equal(whole[..., :3], images.permute(0, 2, 3, 1))
        assert torch.equal(whole[..., 3], stripes().expand(2, 1, 8, 12)[:, 0].to(dtype))


def test_a_networks_output_is_clamped() -> None:
    crops = torch.tensor([-3.0, -1.0, -0.5, 0.0, 1.0, 1.5])
    assert from_network(crops).tolist() == [0, 0, 0.25, 0.5, 1, 1]
    assert to_network(torch.tensor([0.0, 0.25, 1.0])).tolist() == [-1, -0.5, 1]


def test_resizing_to_the_same_size_changes_nothing() -> None:
    images = torch.rand(1, 3, 5, 6) * 3 - 1
    assert resize(images, (5, 6)) is images
    small = resize(images, (5, 3))
    assert small.shape == (1, 3, 5, 3)
    assert (float(small.min()), float(small.max())) == (0, 1)
    assert enlarge(images, 1) is images


def test_resizing_is_antialiased_and_keeps_the_edges() -> None:
    """One-pixel stripes become gray; a ramp keeps its middle and both its ends."""
    stripes = (torch.arange(64) % 2).float().expand(1, 1, 64, 64)
    assert float((resize(stripes, (10, 10)) - 0.5).abs().max()) < 0.03
    ramp = torch.linspace(0.5, 63.5, 64).expand(1, 1, 64, 64) / 64
    small = resize(ramp, (8, 8))[0, 0, 0]
    torch.testing.assert_close(small[2:6], (torch.arange(2.0, 6) + 0.5) / 8, rtol=0, atol=1e-3)


@pytest.mark.parametrize("with_alpha", [False, True])
def test_strips_of_rows_are_the_whole_picture(monkeypatch, with_alpha) -> None:
    images = torch.rand(2, 3, 11, 7)
    alpha = torch.rand(2, 1, 11, 7) if with_alpha else None
    layers = images if alpha is None else torch.cat([images, alpha], 1)
    asked: list[int] = []

    class Asked(Hooks):
        def may_stop(self) -> None:
            asked.append(1)

    monkeypatch.setattr(layouts, "_STRIP_PIXELS", 4 * 7)
    assert torch.equal(to_comfy(images, alpha, Asked()), layers.permute(0, 2, 3, 1))
    assert len(asked) == 2 * 3


class Telling(Hooks):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int]] = []

    def progress(self, stage, done, total):
        self.told.append((stage, done, total))


@pytest.mark.parametrize("factor", [2, 4])
def test_enlarging_in_strips_is_enlarging_at_once_and_tells_on_the_way(monkeypatch, factor) -> None:
    """Strips of 2000 / (factor^2 x 31) rows: 16 of twice the size, 4 of four times."""
    images = torch.rand(2, 3, 53, 31) * 1.2 - 0.1
    monkeypatch.setattr(layouts, "_STRIP_PIXELS", 2000)
    hooks = Telling()
    whole = functional.interpolate(images, scale_factor=factor, mode="bicubic").clamp(0, 1)
    assert torch.equal(enlarge(images, factor, hooks), whole)
    rows = {2: 16, 4: 4}[factor]
    ends = [min(first + rows, 53) for first in range(0, 53, rows)]
    told = [*ends, *(53 + end for end in ends)]
    assert hooks.told == [("enlarge", row, 2 * 53) for row in told]
    assert torch.equal(enlarge(images, factor), whole)
    assert enlarge(images.double(), factor).dtype == torch.float64


def test_a_photograph_is_enlarged_in_one_strip_a_picture() -> None:
    hooks = Telling()
    enlarge(torch.rand(3, 3, 300, 400), 2, hooks)
    assert hooks.told == [("enlarge", 300, 900), ("enlarge", 600, 900), ("enlarge", 900, 900)]
