"""Frames as numbers: read as they are shown, changed where the picture was and nowhere else."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from gpen_core.errors import InputError

av = pytest.importorskip("av", reason="films need PyAV", exc_type=ImportError)

from gpen_core.films.planes import PlanarFormat, Planes  # noqa: E402

FORMATS = (
    "yuv420p", "yuvj420p", "nv12", "yuv422p", "yuyv422", "yuv444p", "yuv411p", "yuva420p",
    "yuv420p10le", "p010le", "yuv422p12le", "yuv444p16le", "gbrp", "rgb24", "bgra", "gbrp10le",
    "rgb48le", "gray", "gray10le",
)  # fmt: skip


def gradient(height=49, width=67):
    """(H, W, 3) 0..1, smooth, so that the chroma's resolution does not matter."""
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    return np.stack([0.2 + 0.6 * x, 0.2 + 0.6 * y, 0.8 - 0.5 * x * y], -1)


def frame(pixel_format, picture=None, **how):
    picture = gradient() if picture is None else picture
    whole = av.VideoFrame.from_ndarray((picture * 65535).round().astype(np.uint16), "rgb48le")
    return whole.reformat(format=pixel_format, threads=1, **how)


def raw(planes):
    return [np.array(planes._plane(one)) for one in range(len(planes.frame.planes))]


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_pixels_are_those_that_ffmpeg_shows(pixel_format):
    picture = gradient()
    if "gray" in pixel_format:
        picture = picture.mean(-1, keepdims=True).repeat(3, -1)
    how = {} if PlanarFormat.of(pixel_format).rgb else {"dst_colorspace": 5}
    planes = Planes(frame(pixel_format, picture, **how))
    levels = 2**planes.format.bits - 1
    difference = np.abs(planes.rgb()[0].permute(1, 2, 0).numpy() - picture)
    # swscale itself rounds to about 8 bits.
    assert difference.mean() < 0.006 + 0.8 / levels
    assert difference.max() < 0.03 + 2 / levels


@pytest.mark.parametrize("matrix", [1, 5, 9])
@pytest.mark.parametrize("full", [False, True])
def test_matrix_and_range_are_the_films(matrix, full):
    shown = frame("yuv444p16le", dst_colorspace=matrix, dst_color_range=2 if full else 1)
    assert int(shown.color_range) == (2 if full else 1)
    difference = Planes(shown).rgb()[0].permute(1, 2, 0).numpy() - gradient()
    assert np.abs(difference).max() < 6e-3


@pytest.mark.parametrize("height, matrix", [(576, 5), (720, 1)])
def test_without_a_matrix_the_height_decides(height, matrix):
    picture = np.broadcast_to(np.array([0.9, 0.2, 0.3]), (height, 64, 3))
    shown = frame("yuv444p16le", picture, dst_colorspace=matrix)
    shown.colorspace = 2
    assert np.abs(Planes(shown).rgb()[0, :, 5, 5].numpy() - picture[5, 5]).max() < 6e-3


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_what_is_not_masked_stays_to_the_bit(pixel_format):
    planes = Planes(frame(pixel_format))
    before, kept = planes.rgb(), raw(planes)
    mask = torch.zeros(1, 1, 49, 67)
    mask[..., 12:24, 20:44] = 0.5
    planes.add(before, 1 - before, mask)
    for index, (old, new) in enumerate(zip(kept, raw(planes), strict=True)):
        changed = np.argwhere(old != new)
        scale_y, scale_x = -(-49 // old.shape[0]), -(-67 // old.shape[1])
        if index not in planes.format.planes:
            assert not len(changed)  # alpha
            continue
        assert len(changed)
        top, left = changed.min(0) * (scale_y, scale_x)
        bottom, right = (changed.max(0) + 1) * (scale_y, scale_x)
        assert top >= 12 and bottom <= 24 and left >= 20 and right <= 44


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_what_is_masked_becomes_what_was_given(pixel_format):
    planes = Planes(frame(pixel_format))
    before = planes.rgb()
    after = 0.25 + before * 0.5
    planes.add(before, after, torch.ones(1, 1, 49, 67))
    assert float((planes.rgb() - after).abs().mean()) < 0.004


def test_nothing_given_back_changes_nothing():
    planes = Planes(frame("yuv420p"))
    before, kept = planes.rgb(), raw(planes)
    planes.add(before, before.clone(), torch.ones(1, 1, 49, 67))
    assert all(np.array_equal(old, new) for old, new in zip(kept, raw(planes), strict=True))


def test_the_decoders_own_frame_is_not_touched():
    shown = frame("yuv420p")
    other = Planes(shown)
    kept = raw(other)
    reference = np.array(kept[0])
    planes = Planes(shown)
    planes.add(planes.rgb(), 1 - planes.rgb(), torch.ones(1, 1, 49, 67))
    assert not np.array_equal(raw(planes)[0], reference)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv411p", "nv12", "gbrp12le"])
@pytest.mark.parametrize("turns", range(4))
def test_a_part_is_cut_from_the_whole(pixel_format, turns):
    planes = Planes(frame(pixel_format))
    planes._turns = turns
    whole = planes.rgb()
    height, width = planes.size
    assert whole.shape[2:] == (height, width)
    for x0, y0 in itertools.product((0, 3, 10), (0, 5)):
        box = (x0, y0, width - 6, height - x0)
        part = whole[..., y0 : height - x0, x0 : width - 6]
        assert torch.allclose(planes.rgb(box), part, atol=1e-6)


@pytest.mark.parametrize("turns", range(4))
def test_a_part_is_changed_as_the_whole_would_be(turns):
    parts, wholes = Planes(frame("yuv420p")), Planes(frame("yuv420p"))
    parts._turns = wholes._turns = turns
    height, width = parts.size
    mask = torch.zeros(1, 1, height, width)
    mask[..., 13:30, 9:33] = 1
    picture = wholes.rgb()
    wholes.add(picture, picture * 0.5, mask)
    box = (5, 7, 41, 35)
    part = parts.rgb(box)
    parts.add(part, part * 0.5, mask[..., 7:35, 5:41], box)
    for one, other in zip(raw(parts), raw(wholes), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv411p", "yuv422p10le"])
@pytest.mark.parametrize("box", [(9, 7, 40, 32), (0, 0, 33, 21), (30, 20, 67, 49)])
def test_a_part_changed_up_to_its_edges_leaves_no_shift(pixel_format, box):
    """Whatever samples of chroma a part begins and ends in, and at the picture's own edges."""
    whole, part = (Planes(frame(pixel_format)) for _ in range(2))
    x0, y0, x1, y1 = box
    cut = (slice(None), slice(None), slice(y0, y1), slice(x0, x1))
    before = whole.rgb()
    after, mask = before.clone(), torch.zeros(1, 1, 49, 67)
    after[cut], mask[cut] = 1 - before[cut], 1
    whole.add(before, after, mask)
    part.add(before[cut], after[cut], mask[cut], box)
    for one, other in zip(raw(whole), raw(part), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("pixel_format", ["bayer_bggr8", "xyz12le", "gbrpf32le"])
def test_other_formats_are_named(pixel_format):
    with pytest.raises(InputError, match=pixel_format):
        PlanarFormat.of(pixel_format)


def test_other_matrices_are_named():
    shown = frame("yuv444p")
    shown.colorspace = 8
    with pytest.raises(InputError, match="YCgCo"):
        Planes(shown)
