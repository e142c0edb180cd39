"""Resampling: where each pixel comes from, what lies outside, and how sharp the result is."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from gpen_core.faces.warp import (
    _clamped,
    _cut,
    _needed_region,
    region_of,
    resize_matrix,
    shift_matrix,
    square,
    warp,
)


def moved(matrix: torch.Tensor, x: float, y: float) -> list[float]:
    """Where a point goes."""
    return (matrix[:2] @ torch.tensor([x, y, 1.0], dtype=torch.float64)).tolist()


def turned(scale: float, angle: float, x: float, y: float) -> torch.Tensor:
    """(3, 3) similarity."""
    a, b = scale * math.cos(angle), scale * math.sin(angle)
    rows = [[a, -b, x], [b, a, y], [0.0, 0.0, 1.0]]
    return torch.tensor(rows, dtype=torch.float64)


def waves(height: int, width: int, period: float = 40.0) -> torch.Tensor:
    """(2, H, W) 0..1, smooth, different along x and y."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    rates = 2 * math.pi / period, 2 * math.pi / (1.3 * period)
    return torch.stack([0.5 + 0.5 * torch.sin(x * rates[0]), 0.5 + 0.5 * torch.cos(y * rates[1])])


def test_resizing_moves_pixels_as_areas() -> None:
    """A picture's edges stay its edges, and they lie half a pixel outside the outer centers."""
    matrix = resize_matrix(3.0, 0.5)
    assert moved(matrix, -0.5, -0.5) == pytest.approx([-0.5, -0.5])
    assert moved(matrix, 19.5, 19.5) == pytest.approx([59.5, 9.5])
    assert matrix[2].tolist() == [0, 0, 1]


@pytest.mark.parametrize("scale", [2.0, 3.0])
def test_enlarging_is_what_interpolation_gives(scale) -> None:
    image = waves(30, 36)
    size = (int(30 * scale), int(36 * scale))
    expected = functional.interpolate(image[None], size, mode="bicubic")[0]
    found = warp(image, resize_matrix(scale, scale), size, "replicate")
    inside = slice(6, -6)
    torch.testing.assert_close(
        found[:, inside, inside], expected[:, inside, inside], rtol=0, atol=0.02
    )


@pytest.mark.parametrize("border", ["reflect", "replicate"])
def test_the_border_is_what_padding_gives(border) -> None:
    """One pixel of 40 px outside, in every direction, at once."""
    image = torch.rand(3, 60, 50, generator=torch.Generator().manual_seed(0))
    expected = functional.pad(image[None], (40, 40, 40, 40), mode=border)[0]
    found = warp(image, shift_matrix(40, 40), (140, 130), border)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert torch.equal(found, warp(image, shift_matrix(40, 40)[:2], (140, 130), border))


def test_the_mirror_is_the_border_unless_another_is_asked_for() -> None:
    image = torch.rand(1, 20, 20)
    shift = shift_matrix(6, 6)
    assert torch.equal(warp(image, shift, (32, 32)), warp(image, shift, (32, 32), "reflect"))
    assert not torch.equal(warp(image, shift, (32, 32)), warp(image, shift, (32, 32), "replicate"))


def test_a_mirror_shows_the_picture_as_often_as_it_takes() -> None:
    """Far outside of a tiny picture: a triangle wave about the centers of the edge pixels."""
    image = torch.tensor([[[0.0, 0.25, 0.5, 1.0]]]).expand(1, 5, 4)
    found = warp(image, shift_matrix(20, 0), (5, 30))
    wave = [0.0, 0.25, 0.5, 1.0, 0.5, 0.25]
    reach = range(-9, 9)  # further than that the mirror is cut off: the same again
    for x in reach:
        assert float(found[0, 2, 20 + x]) == pytest.approx(wave[x % 6], abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(
    scale=st.floats(0.3, 3),
    angle=st.floats(-math.pi, math.pi),
    x=st.floats(-20, 20),
    y=st.floats(-20, 20),
)
def test_every_pixel_shows_its_place(scale, angle, x, y) -> None:
    """A smooth picture, read through the inverse map by its formula."""
    period = 60.0
    image = waves(120, 110, period)
    # About the picture's center, so that the target sees the inside.
    about = shift_matrix(54.5, 59.5) @ turned(1, 0, 0, 0)
    matrix = shift_matrix(15 + x * scale / 3, 15 + y * scale / 3) @ turned(scale, angle, 0, 0)
    matrix = matrix @ torch.linalg.inv(about)
    found = warp(image, matrix, (31, 33))
    inverse = torch.linalg.inv(matrix)
    v, u = torch.meshgrid(torch.arange(31.0), torch.arange(33.0), indexing="ij")
    points = torch.stack([u, v, torch.ones_like(u)]).double().flatten(1)
    px, py = (inverse[:2] @ points).view(2, 31, 33)
    inside = (px > 8) & (px < 101) & (py > 8) & (py < 111)
    expected = torch.stack(
        [
            0.5 + 0.5 * torch.sin(px * 2 * math.pi / period),
            0.5 + 0.5 * torch.cos(py * 2 * math.pi / (1.3 * period)),
        ]
    ).float()
    error = (found - expected).abs().amax(0)
    assert float(error[inside].max() if inside.any() else 0) < 0.02


def test_shrinking_keeps_what_fits_and_drops_what_does_not() -> None:
    """Four times smaller: waves of 40 px stay, waves of 3 px go."""
    matrix = resize_matrix(0.25, 0.25)
    coarse, fine = (warp(waves(400, 400, period), matrix, (100, 100)) for period in (40.0, 3.0))
    expected = functional.interpolate(waves(400, 400)[None], (100, 100), mode="area")[0]
    inside = slice(4, -4)
    torch.testing.assert_close(
        coarse[:, inside, inside], expected[:, inside, inside], rtol=0, atol=0.04
    )
    assert float((fine[:, inside, inside] - 0.5).abs().max()) < 0.05


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_the_smallest_targets(size) -> None:
    image = torch.rand(3, 12, 14, generator=torch.Generator().manual_seed(1))
    found = warp(image, shift_matrix(-2, -3), size)
    expected = image[:, 3 : 3 + size[0], 2 : 2 + size[1]]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2)])
@pytest.mark.parametrize("border", ["reflect", "replicate"])
def test_the_smallest_pictures(shape, border) -> None:
    image = torch.full((2, *shape), 0.3)
    found = warp(image, turned(1.7, 0.3, 5, 6), (20, 21), border)
    torch.testing.assert_close(found, torch.full((2, 20, 21), 0.3), rtol=0, atol=1e-5)


def test_the_result_is_float32_of_any_input() -> None:
    image = waves(30, 30)
    expected = warp(image, shift_matrix(-3, -4), (20, 20))
    for dtype in (torch.float64, torch.float16):
        found = warp(image.to(dtype), shift_matrix(-3, -4), (20, 20))
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)


def test_a_region_is_the_box_of_the_pixels_areas() -> None:
    assert region_of(shift_matrix(3, 4), (10, 20)) == pytest.approx((2.5, 3.5, 22.5, 13.5))
    diagonal = region_of(turned(1, math.pi / 4, 0, 0), (2, 2))
    assert diagonal == pytest.approx((-(2**0.5), -(0.5**0.5), 2**0.5, 1.5 * 2**0.5), abs=1.0)
    assert diagonal[2] - diagonal[0] == pytest.approx(2 * 2**0.5)


def test_matrices_become_square_in_double_precision() -> None:
    matrices = torch.arange(12.0).view(2, 2, 3) / 7
    found = square(matrices)
    assert (found.dtype, found.shape) == (torch.float64, (2, 3, 3))
    assert torch.equal(found[:, :2], matrices.double())
    assert found[:, 2].tolist() == [[0, 0, 1]] * 2
    assert square(matrices[0])[2].tolist() == [0, 0, 1]
    exact = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.equal(square(exact)[:2], exact.detach()) and not square(exact).requires_grad


@pytest.mark.parametrize("border", ["reflect", "replicate"])
def test_a_part_cut_out_is_what_padding_by_hand_gives(border) -> None:
    """Inside, over each edge, over all of them, and far outside; near ones go another way."""
    image = torch.rand(2, 9, 7, generator=torch.Generator().manual_seed(0))
    far = 40
    index_y, index_x = (torch.arange(-far, length + far) for length in (9, 7))
    if border == "reflect":
        index_y, index_x = (
            torch.minimum(index % (2 * length - 2), (2 * length - 2) - index % (2 * length - 2))
            for index, length in ((index_y, 9), (index_x, 7))
        )
    whole = image[:, index_y.clamp(0, 8)][:, :, index_x.clamp(0, 6)]
    for left, top, right, bottom in (
        (1, 2, 5, 8),
        (0, 0, 7, 9),
        (-3, 1, 5, 8),
        (1, -4, 5, 12),
        (2, 3, 12, 9),
        (-6, -8, 13, 17),
        (-7, 0, 7, 9),
        (0, -9, 7, 9),
        (-30, -20, 30, 25),
        (10, 2, 14, 6),
        (2, -20, 6, -15),
        (-9, 12, -2, 30),
    ):
        found = _cut(image, (left, top, right, bottom), border)
        expected = whole[:, top + far : bottom + far, left + far : right + far]
        assert torch.equal(found, expected), (left, top, right, bottom)
    assert _cut(image, (1, 2, 5, 8), border).data_ptr() == image[:, 2:, 1:].data_ptr(), "no copy"


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((2.7, 5.2, 0, 100), (2, 7)),
        ((-3.5, 5.0, 0, 100), (0, 6)),
        ((90.0, 120.0, 0, 100), (90, 100)),
        ((120.0, 130.0, 0, 100), (98, 100)),
        ((-30.0, -20.0, 0, 100), (0, 2)),
        ((97.5, 97.6, 0, 98), (96, 98)),
    ],
)
def test_an_interval_holds_two_pixels_within_its_limits(interval, expected) -> None:
    assert _clamped(*interval) == expected


def test_a_target_sees_no_more_of_the_picture_than_its_filters_reach() -> None:
    """Far outside one reach is enough of a replicated border, one picture and a reach of a
    mirrored one."""
    image, near, small = torch.rand(1, 50, 60), shift_matrix(-20, -10), (8, 10)
    for border in ("reflect", "replicate"):
        assert _needed_region(image, near, small, 1.0, border) == (14, 4, 36, 24)
        assert _needed_region(image, near, small, 4.0, border) == (14, 4, 36, 24)
    half = resize_matrix(0.5, 0.5)
    assert _needed_region(image, half, (10, 10), 0.5, "reflect") == (-10, -10, 30, 30)
    beyond = shift_matrix(500, 400)
    assert _needed_region(image, beyond, small, 1.0, "replicate") == (-5, -5, -3, -3)
    assert _needed_region(image, beyond, small, 1.0, "reflect") == (-65, -55, -63, -53)


@pytest.mark.parametrize("size", [(3, 40), (40, 3)])
def test_a_narrow_picture_is_shrunk_along_its_length_alone(size) -> None:
    """Eight times smaller: no side of what is sampled falls below two pixels."""
    image = waves(*size, period=30.0)
    target = (max(1, size[0] // 8), max(1, size[1] // 8))
    found = warp(image, resize_matrix(1 / 8, 1 / 8), target, "replicate")
    assert found.shape == (2, *target)
    expected = functional.interpolate(image[None], target, mode="area")[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=0.2)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 30), (30, 1)])
def test_a_target_one_pixel_wide_shows_the_same_places(size) -> None:
    image = waves(40, 40)
    matrix = turned(0.9, 0.2, 3, 4)
    whole = warp(image, matrix, (30, 30))
    torch.testing.assert_close(
        warp(image, matrix, size), whole[:, : size[0], : size[1]], rtol=0, atol=2e-3
    )
