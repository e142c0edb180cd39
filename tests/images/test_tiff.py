"""TIFF of every kind comes in right, and what is written is a TIFF that others read."""

from __future__ import annotations

import io
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gpen_core.errors import InputError
from gpen_core.images.read import read_picture
from gpen_core.images.write import write_picture

SHORT, LONG, RATIONAL, ASCII, UNDEFINED = 3, 4, 5, 2, 7
SIZE = (31, 45)
CAMERA = {
    271: (ASCII, b"Maker\0"),
    282: (RATIONAL, [300, 1]),
    283: (RATIONAL, [300, 1]),
    296: (SHORT, [2]),
    315: (ASCII, b"A photographer\0"),
}
EXIF = {
    34665: {36867: (ASCII, b"1999:12:31 23:59:59\0"), 33434: (RATIONAL, [1, 100])},
    34853: {1: (ASCII, b"N\0"), 2: (RATIONAL, [52, 1, 30, 1, 0, 1])},
}


def quantized(picture) -> np.ndarray:
    """(H, W, C) integers of a picture, as deep as it says."""
    planes = [picture.pixels[:1] if picture.gray else picture.pixels]
    if picture.alpha is not None:
        planes.append(picture.alpha)
    samples = np.concatenate([plane.numpy() for plane in planes]).transpose(1, 2, 0)
    peak = 65535 if picture.bits == 16 else 255
    return np.round(samples.astype(np.float64) * peak).astype(np.int64)


# Name: channels, type, photometric interpretation, and what else is special.
KINDS = {
    "gray": (1, "u1", 1, {}),
    "gray alpha": (2, "u1", 1, {"tags": {338: (SHORT, [2])}}),
    "rgb": (3, "u1", 2, {}),
    "rgba": (4, "u1", 2, {"tags": {338: (SHORT, [2])}}),
    "gray 16": (1, "u2", 1, {}),
    "gray alpha 16": (2, "u2", 1, {"tags": {338: (SHORT, [2])}}),
    "rgb 16": (3, "u2", 2, {}),
    "rgba 16": (4, "u2", 2, {"tags": {338: (SHORT, [2])}}),
    "inverted": (1, "u1", 0, {}),
    "inverted 16": (1, "u2", 0, {}),
    "planes": (3, "u1", 2, {"planar": True}),
    "planes 16": (3, "u2", 2, {"planar": True, "compression": 8, "predictor": True}),
    "big-endian 16": (3, "u2", 2, {"order": ">", "compression": 8}),
    "tiles 16": (3, "u2", 2, {"tile": 16, "compression": 8, "predictor": True}),
    "pages": (3, "u1", 2, {"pages": 3}),
    "camera": (3, "u1", 2, {"tags": CAMERA, "children": EXIF}),
    "turned": (3, "u1", 2, {"tags": {274: (SHORT, [6]), 271: (ASCII, b"Maker\0")}}),
    "camera 16": (3, "u2", 2, {"order": ">", "tags": CAMERA, "children": EXIF}),
}


@pytest.mark.parametrize("enlarge", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_round_trip_loses_nothing(tmp_path, make_tiff, make_samples, kind, enlarge):
    channels, type_, photometric, special = KINDS[kind]
    samples = make_samples((*SIZE, channels), type_)
    (tmp_path / "in.tif").write_bytes(make_tiff(samples, photometric, **special))
    picture = read_picture(tmp_path / "in.tif")
    expected = samples.astype(np.int64)
    if photometric == 0:
        expected = np.iinfo(type_).max - expected
    if kind == "turned":
        expected = expected.transpose(1, 0, 2)[:, ::-1]
    assert np.array_equal(quantized(picture), expected)
    assert picture.bits == 8 * samples.dtype.itemsize
    pixels = picture.pixels.repeat_interleave(enlarge, 1).repeat_interleave(enlarge, 2)
    if picture.alpha is not None and enlarge == 2:
        alpha = picture.alpha.repeat_interleave(2, 1).repeat_interleave(2, 2)
        picture = type(picture)(pixels, alpha, picture.gray, picture.bits)
    else:
        picture = picture.with_pixels(pixels)
    write_picture(tmp_path / "out.tif", picture)
    again = read_picture(tmp_path / "out.tif")
    enlarged = expected.repeat(enlarge, 0).repeat(enlarge, 1)
    assert np.array_equal(quantized(again), enlarged)
    if kind == "gray alpha 16":
        return  # Pillow has no such mode; tifffile is asked below.
    with Image.open(tmp_path / "out.tif") as written:
        written.load()
        assert written.size == enlarged.shape[1::-1]
        if type_ == "u1":
            assert np.array_equal(np.asarray(written).reshape(enlarged.shape), enlarged)
        assert written.getexif().get(274, 1) == 1
        if kind.startswith("camera"):
            assert written.info["dpi"] == (300, 300)
            exif = written.getexif()
            assert (exif[271], exif[315]) == ("Maker", "A photographer")
            assert exif.get_ifd(34665)[36867] == "1999:12:31 23:59:59"
            assert exif.get_ifd(34853)[2] == (52, 30, 0)


def test_sixteen_bits_are_read_by_others(tmp_path, make_tiff, make_samples):
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    for channels, photometric in ((1, 1), (3, 2)):
        samples = make_samples((*SIZE, channels), "u2")
        (tmp_path / "in.tif").write_bytes(make_tiff(samples, photometric))
        write_picture(tmp_path / "out.tif", read_picture(tmp_path / "in.tif"), overwrite=True)
        read = cv2.imread(str(tmp_path / "out.tif"), cv2.IMREAD_UNCHANGED)
        read = read[..., None] if read.ndim == 2 else read[..., ::-1]
        assert np.array_equal(read, samples)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_layout_is_read_right(make_tiff, make_samples, tmp_path_factory, data):
    type_ = data.draw(st.sampled_from(["u1", "u2", "u4", "f2", "f4", "f8"]))
    channels = data.draw(st.integers(1, 4))
    special = {
        "order": data.draw(st.sampled_from("<>")),
        "compression": data.draw(st.sampled_from([1, 8, 32946, 32773])),
        "planar": data.draw(st.booleans()),
        "tile": data.draw(st.sampled_from([0, 16, 32])),
        "rows": data.draw(st.integers(1, 40)),
        "predictor": type_ in ("u1", "u2", "u4") and data.draw(st.booleans()),
    }
    if channels in (2, 4):
        special["tags"] = {338: (SHORT, [2])}
    shape = (data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40)), channels)
    samples = make_samples(shape, type_, data.draw(st.integers(0, 99)))
    if type_ == "u4":
        samples[0, 0, 0] = 0xFFFFFFFF
    path = tmp_path_factory.mktemp("any") / "in.tif"
    path.write_bytes(make_tiff(samples, 1 if channels <= 2 else 2, **special))
    if type_[0] == "f":
        expected = np.round(samples.astype(np.float64) * 65535)
    else:
        expected = samples >> 16 if type_ == "u4" else samples
    assert np.array_equal(quantized(read_picture(path)), expected)


@pytest.mark.parametrize("type_", ["i1", "i2", "i4"])
def test_signed_samples_are_refused(tmp_path, make_tiff, make_samples, type_):
    (tmp_path / "in.tif").write_bytes(make_tiff(make_samples((*SIZE, 1), type_), 1))
    with pytest.raises(InputError, match=r"in\.tif holds signed samples"):
        read_picture(tmp_path / "in.tif")


def test_thirty_two_bits_used_in_part_are_refused(tmp_path, make_tiff):
    samples = np.full((*SIZE, 1), 200, np.uint32)
    (tmp_path / "in.tif").write_bytes(make_tiff(samples, 1))
    with pytest.raises(InputError, match="none above 200"):
        read_picture(tmp_path / "in.tif")


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
def test_floats_outside_their_range_are_refused(tmp_path, make_tiff, value):
    samples = np.full((*SIZE, 3), 0.5, np.float32)
    samples[3, 4, 1] = value
    (tmp_path / "in.tif").write_bytes(make_tiff(samples, 2))
    with pytest.raises(InputError, match="not from 0 to 1"):
        read_picture(tmp_path / "in.tif")


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("1", {"compression": "group4"}),
        ("1", {}),
        ("P", {}),
        ("P", {"compression": "tiff_lzw"}),
        ("L", {"compression": "tiff_lzw"}),
        ("RGB", {"compression": "tiff_lzw"}),
        ("RGB", {"compression": "packbits"}),
        ("RGBA", {"compression": "tiff_adobe_deflate"}),
        ("LA", {}),
    ],
)
def test_what_pillow_writes_comes_back(tmp_path, make_samples, mode, options):
    image = Image.fromarray(make_samples((*SIZE, 3))).convert(mode)
    image.save(tmp_path / "in.tif", **options)
    alpha = mode in ("LA", "RGBA")
    expected = np.asarray(image.convert({"1": "L", "P": "RGB"}.get(mode, mode)))
    for name in ("in.tif", "out.tif"):
        picture = read_picture(tmp_path / name)
        assert (picture.gray, picture.alpha is not None) == (mode in ("1", "L", "LA"), alpha)
        assert np.array_equal(quantized(picture), expected.reshape(*SIZE, -1))
        if name == "in.tif":
            write_picture(tmp_path / "out.tif", picture)


@pytest.mark.parametrize("mode", ["P", "1"])
def test_kinds_left_to_pillow_are_turned_once(tmp_path, make_samples, mode):
    image = Image.fromarray(make_samples((*SIZE, 3))).convert(mode)
    image.save(tmp_path / "in.tif", tiffinfo={274: 6})
    expected = np.rot90(np.asarray(image.convert("RGB")), -1)
    read = read_picture(tmp_path / "in.tif").pixels.permute(1, 2, 0).numpy() * 255
    assert np.array_equal(read.round(), expected)


def test_jpeg_inside_is_read(tmp_path, make_samples):
    smooth = Image.fromarray(make_samples((4, 6, 3))).resize((96, 64), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "in.tif", compression="jpeg", quality=95)
    assert np.abs(quantized(read_picture(tmp_path / "in.tif")) - np.asarray(smooth)).mean() < 4


@pytest.mark.parametrize("photometric", [0, 1])
def test_few_bits_are_spread_and_inverted(tmp_path, make_tiff, photometric):
    packed = np.array([[[0x1F]], [[0x80]]], np.uint8)  # four bits each: 1, 15; 8, 0
    tags = {256: (LONG, [2]), 258: (SHORT, [4])}
    (tmp_path / "in.tif").write_bytes(make_tiff(packed, photometric, tags=tags))
    expected = np.array([[17, 255], [136, 0]])
    expected = 255 - expected if photometric == 0 else expected
    assert np.array_equal(quantized(read_picture(tmp_path / "in.tif"))[..., 0], expected)


def test_premultiplied_alpha_is_divided_out(tmp_path, make_tiff):
    samples = np.array([[[100, 50, 0, 128], [0, 0, 0, 0]]], np.uint8)
    (tmp_path / "in.tif").write_bytes(make_tiff(samples, 2, tags={338: (SHORT, [1])}))
    read = quantized(read_picture(tmp_path / "in.tif"))
    assert read[0, 0].tolist() == [199, 100, 0, 128]
    assert read[0, 1].tolist() == [0, 0, 0, 0]


def test_channels_that_are_no_alpha_are_dropped_and_said(tmp_path, make_tiff, make_samples, caplog):
    samples = make_samples((*SIZE, 5))
    (tmp_path / "in.tif").write_bytes(make_tiff(samples, 2, tags={338: (SHORT, [0, 2])}))
    read = quantized(read_picture(tmp_path / "in.tif"))
    assert np.array_equal(read, samples[..., [0, 1, 2, 4]])
    assert "dropped 1 extra channel." in caplog.text


def test_further_pages_are_said(tmp_path, make_tiff, make_samples, caplog):
    (tmp_path / "in.tif").write_bytes(make_tiff(make_samples((*SIZE, 3)), 2, pages=4))
    read_picture(tmp_path / "in.tif")
    assert "4 pages; only the first" in caplog.text


def test_lab_becomes_rgb(tmp_path, make_tiff):
    lab = np.array([[[255, 0, 0], [0, 0, 0], [136, 81, 70]]], np.uint8)  # white, black, red
    (tmp_path / "in.tif").write_bytes(make_tiff(lab, 8))
    white, black, red = quantized(read_picture(tmp_path / "in.tif"))[0]
    assert white.min() > 250
    assert black.max() < 5
    assert red[0] > 230
    assert red[1:].max() < 60


@pytest.mark.parametrize("type_", ["u1", "u2"])
def test_cmyk_becomes_rgb(tmp_path, make_tiff, type_):
    peak = np.iinfo(type_).max
    inks = np.array([[[0, 0, 0, 0], [peak, 0, 0, 0], [0, 0, 0, peak]]], type_)
    (tmp_path / "in.tif").write_bytes(make_tiff(inks, 5))
    picture = read_picture(tmp_path / "in.tif")
    white, cyan, black = quantized(picture)[0]
    assert white.min() > 250
    assert cyan[0] < 60 < 200 < cyan[2]
    assert black.max() < 60


def test_layout_tags_of_the_file_before_do_not_travel(tmp_path, make_tiff, make_samples):
    tags = {
        254: (LONG, [1]),
        269: (ASCII, b"Album\0"),
        330: (LONG, [8]),
        347: (UNDEFINED, b"\xff\xd8\xff\xd9"),
        34377: (UNDEFINED, b"8BIM"),
        50706: (UNDEFINED, b"\1\4\0\0"),
    }
    (tmp_path / "in.tif").write_bytes(make_tiff(make_samples((*SIZE, 3)), 2, tags=tags))
    write_picture(tmp_path / "out.tif", read_picture(tmp_path / "in.tif"))
    with Image.open(tmp_path / "out.tif") as written:
        assert written.tag_v2[269] == "Album"
        assert not set(written.tag_v2) & {254, 330, 347, 34377, 50706}


@pytest.mark.parametrize("cut", [20, 300, 3000])
def test_a_cut_file_is_refused(tmp_path, make_tiff, make_samples, cut):
    data = make_tiff(make_samples((*SIZE, 3)), 2)
    (tmp_path / "in.tif").write_bytes(data[:-cut])
    with pytest.raises(InputError, match="damaged or cut off"):
        read_picture(tmp_path / "in.tif")


def test_a_directory_that_claims_too_much_is_refused(tmp_path, make_tiff, make_samples):
    tags = {tag: (UNDEFINED, b"x" * 40) for tag in range(60000, 60020)}
    data = bytearray(make_tiff(make_samples((4, 4, 1)), 1, tags=tags))
    # All twenty point to the whole file: together they would be twenty times as long.
    start = int.from_bytes(data[4:8], "little")
    for entry in range(
        start + 2, start + 2 + 12 * int.from_bytes(data[start : start + 2], "little"), 12
    ):
        if int.from_bytes(data[entry : entry + 2], "little") >= 60000:
            data[entry + 4 : entry + 12] = len(data).to_bytes(4, "little") + bytes(4)
    (tmp_path / "in.tif").write_bytes(data)
    with pytest.raises(InputError, match="claims more than the file holds"):
        read_picture(tmp_path / "in.tif")


@pytest.mark.parametrize("size", [(1 << 20, 1 << 20), (0, 5), (0xFFFFFFFF, 1)])
def test_absurd_sizes_are_refused_at_once(tmp_path, make_tiff, size):
    tags = {257: (LONG, [size[0]]), 256: (LONG, [size[1]])}
    data = make_tiff(np.zeros((4, 4, 3), np.uint8), 2, tags=tags)
    (tmp_path / "in.tif").write_bytes(data)
    with pytest.raises(InputError, match=r"too large to open safely|no pixels"):
        read_picture(tmp_path / "in.tif")


def test_every_kind_agrees_with_tifffile(tmp_path, make_samples):
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    for type_ in ("u1", "u2"):
        for channels in (1, 2, 3, 4):
            samples = make_samples((*SIZE, channels), type_)
            buffer = io.BytesIO()
            tifffile.imwrite(
                buffer, samples[..., 0] if channels == 1 else samples,
                photometric="minisblack" if channels <= 2 else "rgb", byteorder=">", bigtiff=True,
                extrasamples=["unassalpha"] if channels in (2, 4) else None, metadata=None,
            )  # fmt: skip
            (tmp_path / "in.tif").write_bytes(buffer.getvalue())
            picture = read_picture(tmp_path / "in.tif")
            assert np.array_equal(quantized(picture), samples)
            write_picture(tmp_path / "out.tif", picture, overwrite=True)
            assert np.array_equal(
                tifffile.imread(tmp_path / "out.tif").reshape(samples.shape), samples
            )


def test_reading_says_nothing_where_nothing_is_wrong(tmp_path, make_tiff, make_samples, caplog):
    with caplog.at_level(logging.INFO, "gpen_core"):
        for kind in ("rgb 16", "camera", "turned", "inverted 16"):
            channels, type_, photometric, special = KINDS[kind]
            data = make_tiff(make_samples((*SIZE, channels), type_), photometric, **special)
            (tmp_path / "in.tif").write_bytes(data)
            write_picture(tmp_path / "out.tif", read_picture(tmp_path / "in.tif"), overwrite=True)
    assert caplog.text == ""
