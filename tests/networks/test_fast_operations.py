"""Every fast operation against the reference beside it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen_core.networks.fast import winograd_2d
from gpen_core.networks.fast.encoder_features import ComputedFeature, RowRange, StoredFeature
from gpen_core.networks.fast.encoder_step import MARGIN, EncoderStep
from gpen_core.networks.fast.generator_level import FeatureHalf, RGBRows
from gpen_core.networks.fast.minimal_filter import matrices, transform_rows
from gpen_core.networks.fast.modulation import Modulation
from gpen_core.networks.fast.upsampling import Upsampling
from gpen_core.networks.fast.winograd_1d import Winograd1dConvolution
from gpen_core.networks.fast.winograd_2d import Winograd2dConvolution
from gpen_core.networks.fast.workspace import Workspace


class Draw:
    """Random tensors in float64, where a fast form and its reference agree to 1e-9."""

    def __init__(self, *seeds: int) -> None:
        self.random = torch.Generator().manual_seed(hash(seeds) % (1 << 40))

    def __call__(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.random, dtype=torch.float64)

    def pictures(self, n: int, channels: int, height: int, width: int) -> torch.Tensor:
        return self(n, height, width, channels).permute(0, 3, 1, 2)


def assert_equal(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


sizes = st.integers(1, 9)


@pytest.mark.parametrize(("tile", "taps"), [(4, 3), (8, 3)])
def test_minimal_filters_are_correlations(tile, taps):
    draw, (inverse, kernel, data) = Draw(tile, taps), matrices(tile, taps)
    w, d = draw(taps), draw(tile + taps - 1)
    assert_equal(inverse @ ((kernel @ w) * (data @ d)), d.unfold(0, taps, 1) @ w)


def test_rows_are_transformed_tile_by_tile():
    draw = Draw(1)
    rows, data = draw(11, 5), draw(6, 6)
    out = torch.empty(6, 2, 5, dtype=torch.float64)
    transform_rows(rows, data, 4, out)
    assert_equal(out, torch.stack((data @ rows[0:6], data @ rows[4:10]), dim=1))


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 3), rows=st.integers(1, 5), columns=st.integers(1, 5), c=sizes, k=sizes,
       chunk=st.sampled_from([1, 1 << 14, 1 << 30]))  # fmt: skip
def test_winograd_2d(n, rows, columns, c, k, chunk):
    draw = Draw(n, rows, columns, c, k)
    weight, modulation = draw(k, c, 3, 3), Modulation(draw(n, c), draw(n, k), draw(k))
    transformed = winograd_2d.transform_weight(weight)
    convolution = Winograd2dConvolution(weight, transformed, modulation, chunk)
    padded = draw.pictures(n, c, 4 * rows + 2, 4 * columns + 2)
    found, expected = (
        draw.pictures(2, n, k, 4 * rows * 4 * columns)
        .reshape(2, n, 4 * rows, 4 * columns, k)
        .permute(0, 1, 4, 2, 3)
    )
    convolution.convolve(padded, found, Workspace(poison=True))
    convolution.convolve_reference(padded, expected, Workspace())
    assert_equal(found, expected)
    assert_equal(convolution.rows(padded, Workspace(poison=True)), expected)


@settings(max_examples=20, deadline=None)
@given(tiles=st.integers(1, 4), width=sizes, c=sizes, k=sizes)
def test_winograd_1d(tiles, width, c, k):
    draw = Draw(tiles, width, c, k)
    convolution = Winograd1dConvolution.of(draw(k, c, 3, 3), draw(k))
    padded, workspace = draw.pictures(1, c, 8 * tiles + 2, width + 2), Workspace(poison=True)
    found = convolution.rows(padded, workspace)
    assert_equal(found, convolution.rows_reference(padded, workspace))


@settings(max_examples=60, deadline=None)
@given(height=sizes, width=sizes, c=sizes, k=sizes, data=st.data())
def test_upsampling(height, width, c, k, data):
    """From any row on, in any even parts."""
    draw = Draw(height, width, c, k)
    first, carry = data.draw(st.integers(0, 2 * height - 1)), None
    upsampling = Upsampling(draw(c, k, 3, 3), draw(k, 1, 4, 4), draw(k))
    x = F.pad(draw.pictures(1, c, height, width), (0, 0, 1, 1))
    while first < 2 * height:
        last = 2 * data.draw(st.integers(first // 2 + 1, height))
        expected, _ = upsampling.rows_reference(x, first, last, carry)
        assert expected.shape == (1, k, last - first, 2 * width)
        found, carry = upsampling.rows(x, first, last, carry)
        assert_equal(found, expected)
        first = last


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 2), c=sizes, k=sizes, strip_bytes=st.sampled_from([1, 1 << 12, 1 << 20]))
def test_a_step_of_the_encoder(n, c, k, strip_bytes):
    draw = Draw(n, c, k)
    step = EncoderStep(draw(c, 1, 4, 4), draw(k, c, 3, 3), draw(k))
    feature = StoredFeature(F.pad(draw.pictures(n, c, 64, 64), (0, 0, MARGIN, MARGIN)), MARGIN)
    found, expected = (torch.zeros(n, k, 32 + 2 * MARGIN, 32).double() for _ in range(2))
    step.run(feature, found, strip_bytes)
    step.run_reference(feature, expected, strip_bytes)
    assert_equal(found, expected)


@pytest.mark.parametrize("at", [RowRange(0, -2, 5), RowRange(1, 3, 4), RowRange(1, 6, 10)])
def test_rows_of_the_largest_feature(at):
    draw = Draw(*at)
    feature = ComputedFeature(draw.pictures(2, 3, 8, 8), draw(5, 3), draw(5))
    assert_equal(feature.rows(at), feature.rows_reference(at))


@pytest.mark.parametrize("kind", ["stored", "computed", "one for all"])
def test_a_feature_beside_the_channels(kind):
    draw, at = Draw(1), RowRange(1, 2, 7)
    feature = {
        "stored": StoredFeature(F.pad(draw.pictures(2, 5, 8, 8), (0, 0, 2, 2)), 2),
        "computed": ComputedFeature(draw.pictures(2, 3, 8, 8), draw(5, 3), draw(5)),
        "one for all": StoredFeature(draw.pictures(1, 5, 8, 8)),
    }[kind]
    half = FeatureHalf(feature, 0.7, draw(5).repeat(8))
    found, expected = draw.pictures(1, 10, 5, 8), draw.pictures(1, 5, 5, 8)
    half.write(at, found[:, 5:])
    half.write_reference(at, expected)
    assert_equal(found[:, 5:], expected)
    half.write(at, found[:, 5:])  # and nothing of the feature has changed
    assert_equal(found[:, 5:], expected)


@pytest.mark.parametrize(("first", "height"), [(0, 8), (2, 4), (4, 4)])
def test_rows_of_rgb(first, height):
    draw = Draw(first, height)
    below = F.pad(draw.pictures(1, 3, 4, 5), (0, 0, 1, 1))
    rgb = RGBRows(draw(3, 6), draw(3), draw(1, 1, 4, 4).expand(3, 1, 4, 4), below)
    x = draw.pictures(1, 6, height, 10)
    found, expected = (draw.pictures(1, 3, height, 10) for _ in range(2))
    rgb.write(x, first, found)
    rgb.write_reference(x, first, expected)
    assert_equal(found, expected)


def test_a_weight_with_its_modulation_is_the_same_convolution():
    draw = Draw(1)
    modulation, weight, x = Modulation(draw(1, 4), draw(1, 5), draw(5)), draw(5, 4, 3, 3), None
    x = draw.pictures(1, 4, 6, 6)
    expected = F.conv2d(x * modulation.style[:, :, None, None], weight)
    expected = expected * modulation.gain[:, :, None, None]
    assert_equal(F.conv2d(x, modulation.weight(weight)), expected)
