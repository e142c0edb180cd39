"""TIFF of every kind comes in right, and what is written is a TIFF that others read."""

from __future__ import annotations

import io
import logging
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gpen_core.errors import InputError
from gpen_core.images import metadata as meta
from gpen_core.images import tiff
from gpen_core.images.ifd import Directory, read_child, read_directory
from gpen_core.images.picture import Metadata
from gpen_core.images.read import read_picture
from gpen_core.images.write import write_picture
from gpen_core.text import counted

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


# --- kinds that few programs write ---------------------------------------------------------------


def said(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def floating(samples: np.ndarray) -> np.ndarray:
    """(H, W, C) floats as the bytes of Adobe's floating-point predictor, (H, W * C * size, 1)."""
    height, _, channels = samples.shape
    size = samples.dtype.itemsize
    planes = samples.astype(samples.dtype.newbyteorder(">")).view(np.uint8)
    planes = planes.reshape(height, -1, size).transpose(0, 2, 1).reshape(height, -1, channels)
    first = np.zeros((height, 1, channels), np.uint8)
    return np.diff(planes, axis=1, prepend=first).reshape(height, -1, 1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("type_", ["f2", "f4", "f8"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_floating_point_predictor_is_undone(make_tiff, channels, type_, order) -> None:
    values = np.random.default_rng(0).random((20, 23, channels)).astype(type_)
    size, expected = values.dtype.itemsize, np.round(values.astype(np.float64) * 65535)
    tags = {
        256: (LONG, [23]),
        258: (SHORT, [8 * size] * channels),
        277: (SHORT, [channels]),
        317: (SHORT, [3]),
        339: (SHORT, [3] * channels),
    }
    photometric = 1 if channels == 1 else 2
    for rows in (7, 20):
        data = make_tiff(floating(values), photometric, tags=tags, rows=rows, order=order)
        found = tiff.decode(data, "a.tif")
        assert found.bits == 16 and np.array_equal(found.samples, expected)
    # Four tiles of 16 x 16 px, each predicted for itself.
    padded = np.pad(values, ((0, 12), (0, 9), (0, 0)))
    tiles = [floating(padded[y : y + 16, x : x + 16]) for y in (0, 16) for x in (0, 16)]
    each = tiles[0].size
    tags |= {322: (LONG, [16]), 323: (LONG, [16]), 257: (LONG, [20])}
    tags |= {324: (LONG, [8 + each * index for index in range(4)]), 325: (LONG, [each] * 4)}
    data = make_tiff(np.concatenate(tiles), photometric, tags=tags, rows=16, order=order)
    assert np.array_equal(tiff.decode(data, "a.tif").samples, expected)


@pytest.mark.parametrize("compression", [1, 8])
def test_bits_in_the_other_order_are_turned(make_tiff, make_samples, compression) -> None:
    samples = make_samples((9, 11, 3))
    turned = np.packbits(np.unpackbits(samples[..., None], axis=-1)[..., ::-1], axis=-1)[..., 0]
    packed = turned
    if compression == 8:
        data = zlib.compress(turned.tobytes())
        reverse = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
        data = zlib.compress(samples.tobytes()).translate(reverse)
        packed = np.frombuffer(data, np.uint8).reshape(1, -1, 1)
    tags = {256: (LONG, [11]), 257: (LONG, [9]), 277: (SHORT, [3]), 266: (SHORT, [2])}
    tags |= {258: (SHORT, [8, 8, 8]), 339: (SHORT, [1, 1, 1]), 259: (SHORT, [compression])}
    tags |= {278: (LONG, [9])}
    made = make_tiff(packed, 2, tags=tags, rows=9)
    assert np.array_equal(tiff.decode(made, "a.tif").samples, samples)


def test_a_single_strip_needs_no_length(make_tiff, make_samples) -> None:
    samples = make_samples((9, 11, 3))
    for tags in ({279: (LONG, [])}, {279: (LONG, []), 278: (LONG, [])}, {278: (LONG, [0])}):
        made = make_tiff(samples, 2, tags=tags, rows=9)
        assert np.array_equal(tiff.decode(made, "a.tif").samples, samples)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize("type_", ["u1", "u2", "u4", "u8"])
def test_integers_of_every_depth_and_arrangement(
    make_tiff, make_samples, type_, tile, predictor, planar
) -> None:
    samples = make_samples((20, 37, 3), type_)
    samples[0, 0, 0] = np.iinfo(type_).max
    special = {"tile": tile, "predictor": predictor, "planar": planar, "compression": 8}
    found = tiff.decode(make_tiff(samples, 2, order=">", **special), "a.tif")
    bits = 8 * samples.dtype.itemsize
    assert found.bits == (8 if bits == 8 else 16)
    assert np.array_equal(found.samples, samples >> np.array(max(bits - 16, 0), samples.dtype))


def test_white_of_32_bits_has_to_lie_above_16(make_tiff) -> None:
    samples = np.full((4, 4, 1), 65536, np.uint32)
    assert tiff.decode(make_tiff(samples, 1), "a.tif").samples.max() == 1
    samples[:] = 65535
    with pytest.raises(tiff.Unsupported) as caught:
        tiff.decode(make_tiff(samples, 1), "a.tif")
    assert str(caught.value) == (
        "has 32-bit samples but none above 65535, so that white is not defined; "
        "save it with 8 or 16 bits"
    )


def test_floats_from_0_to_1(make_tiff) -> None:
    values = np.array([[[0.0], [0.25], [1.0]]], np.float32)
    assert tiff.decode(make_tiff(values, 1), "a.tif").samples[..., 0].tolist() == [
        [0, 16384, 65535]
    ]
    assert tiff.decode(make_tiff(values, 0), "a.tif").samples[..., 0].tolist() == [
        [65535, 49151, 0]
    ]


SAMPLES_OF = {
    "complex": ({339: (SHORT, [5])}, "f4", "holds complex or unknown samples; "),
    "floats of a byte": ({339: (SHORT, [3])}, "u1", "holds complex or unknown samples; "),
    "signed": ({}, "i2", "holds signed samples, whose black is not defined; save it unsigned"),
    "floats in a palette": ({339: (SHORT, [3]), 262: (SHORT, [3])}, "u1", "of an unusual type; "),
}


@pytest.mark.parametrize("kind", SAMPLES_OF)
def test_samples_without_a_meaning_are_refused(make_tiff, kind) -> None:
    tags, type_, message = SAMPLES_OF[kind]
    data = make_tiff(np.ones((4, 4, 1), type_), 1, tags=tags)
    with pytest.raises(tiff.Unsupported) as caught:
        tiff.decode(data, "a.tif")
    assert message in str(caught.value)


def test_undefined_samples_are_taken_for_unsigned_ones(make_tiff, make_samples) -> None:
    samples = make_samples((4, 5, 1), "u2")
    data = make_tiff(samples, 1, tags={339: (SHORT, [4])})
    assert np.array_equal(tiff.decode(data, "a.tif").samples, samples)


BROKEN = {
    "no height": ({257: (LONG, [0])}, "it has no pixels"),
    "no width": ({256: (LONG, [])}, "it has no pixels"),
    "no samples": ({277: (SHORT, [0])}, "it has no pixels"),
    "no places": ({273: (LONG, [])}, "it does not say where its pixels lie"),
    "more lengths": ({279: (LONG, [10, 10])}, "it does not say where its pixels lie"),
    "beyond the end": ({273: (LONG, [1 << 20])}, "its pixels are cut off"),
    "too few colors": ({262: (SHORT, [2])}, "it has fewer samples than its colors need"),
    "two widths": ({262: (SHORT, [3]), 256: (LONG, [4, 4])}, "a tag has more values than one"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_page_that_makes_no_sense_is_damaged(make_tiff, kind) -> None:
    tags, message = BROKEN[kind]
    data = make_tiff(np.ones((4, 4, 1), np.uint8), 1, rows=4, tags=tags)
    with pytest.raises(tiff.DamagedDirectory, match=f"^{message}$"):
        tiff.decode(data, "a.tif")


def test_as_many_channels_as_are_read(make_tiff, make_samples, caplog) -> None:
    samples = make_samples((4, 5, 32))
    found = tiff.decode(make_tiff(samples, 1, tags={338: (SHORT, [0] * 31)}), "a.tif")
    assert np.array_equal(found.samples, samples[..., :1])
    assert said(caplog) == ["a.tif: dropped 31 extra channels."]
    with pytest.raises(tiff.Unsupported, match=r"^has 33 channels, more than 32$"):
        tiff.decode(make_tiff(make_samples((4, 5, 33)), 1), "a.tif")


@pytest.mark.parametrize(
    ("colors", "extra", "alpha", "dropped"),
    [
        (1, None, 1, 0),
        (3, None, 3, 0),
        (1, [2], 1, 0),
        (1, [0], None, 1),
        (3, [0, 2], 4, 1),
        (3, [2, 2], 3, 1),
        (3, [0, 0, 2], 5, 2),
        (3, [], 3, 0),
    ],
)
def test_which_extra_channel_is_the_alpha(
    make_tiff, make_samples, caplog, colors, extra, alpha, dropped
) -> None:
    samples = make_samples((4, 5, colors + max(1, len(extra or [1]))))
    tags = {} if extra is None else {338: (SHORT, extra)}
    found = tiff.decode(make_tiff(samples, 1 if colors == 1 else 2, tags=tags), "a.tif").samples
    wanted = [*range(colors), *([] if alpha is None else [alpha])]
    assert np.array_equal(found, samples[..., wanted])
    told = [f"a.tif: dropped {counted(dropped, 'extra channel')}."] if dropped else []
    assert said(caplog) == told


@pytest.mark.parametrize("type_", ["u1", "u2"])
def test_multiplied_alpha_is_divided_out_in_full_depth(make_tiff, type_) -> None:
    peak = int(np.iinfo(type_).max)
    half = peak // 2 + 1
    samples = np.array([[[half, 10, peak], [0, 0, 0], [peak, 7, peak]]], type_)
    samples = np.concatenate([samples, np.array([[[half], [0], [peak]]], type_)], 2)
    found = tiff.decode(make_tiff(samples, 2, tags={338: (SHORT, [1])}), "a.tif").samples
    assert found.dtype == samples.dtype
    assert found[0].tolist() == [
        [peak, round(10 * peak / half), peak, half],
        [0, 0, 0, 0],
        [peak, 7, peak, peak],
    ]


def test_inverted_gray_keeps_its_alpha(make_tiff, make_samples) -> None:
    samples = make_samples((4, 5, 2))
    found = tiff.decode(make_tiff(samples, 0, tags={338: (SHORT, [2])}), "a.tif").samples
    assert np.array_equal(found[..., 0], 255 - samples[..., 0])
    assert np.array_equal(found[..., 1], samples[..., 1])


def test_inks_are_converted_with_8_bits_and_lose_their_profile(make_tiff, caplog) -> None:
    peak = 65535
    inks = np.array([[[0, 0, 0, 0, 9], [0, peak, 0, 0, 9], [0, 0, 0, 127, 9]]], np.uint16)
    tags = {34675: (UNDEFINED, b"no profile"), 338: (SHORT, [2])}
    found = tiff.decode(make_tiff(inks, 5, tags=tags), "a.tif")
    assert found.samples.shape == (1, 3, 3) and found.metadata.icc is None
    assert found.samples[0, 0].tolist() == found.samples[0, 2].tolist() == [255, 255, 255]
    assert found.samples[0, 1].max() > 240 and found.samples[0, 1, 1] < 30
    assert said(caplog)[0] == "a.tif: 16-bit CMYK is converted with 8 bits a sample."
    plain = make_tiff((inks // 257).astype(np.uint8), 5, tags={338: (SHORT, [2])})
    assert np.array_equal(tiff.decode(plain, "a.tif").samples[:, :2], found.samples[:, :2])


def test_twelve_bits_are_spread(make_tiff) -> None:
    packed = np.array([[[0xFF], [0xF8], [0x01]]], np.uint8)  # 4095 and 2049
    tags = {256: (LONG, [2]), 258: (SHORT, [12])}
    found = tiff.decode(make_tiff(packed, 1, tags=tags), "a.tif")
    assert found.samples[..., 0].tolist() == [[65535, 2049 * 65535 // 4095]]
    assert found.samples.dtype == np.uint16


def test_metadata_of_a_page(make_tiff, make_samples, caplog) -> None:
    packet = b'<a tiff:Orientation="6"/>'
    tags = {**CAMERA, 274: (SHORT, [3]), 34675: (UNDEFINED, b"profile"), 700: (UNDEFINED, packet)}
    samples = make_samples((4, 5, 3))
    found = tiff.decode(make_tiff(samples, 2, tags=tags, children=EXIF), "a.tif")
    assert (found.orientation, found.metadata.dpi) == (3, (300, 300))
    assert (found.metadata.icc, found.metadata.xmp) == (b"profile", packet.replace(b"6", b"1"))
    kept = meta.read_exif(found.metadata.exif)
    assert set(kept.entries) == {271, 315}
    assert set(kept.children) == {34665, 34853}
    bare = tiff.decode(make_tiff(samples, 2), "a.tif")
    assert (bare.metadata, bare.orientation) == (Metadata(), 1)
    assert said(caplog) == []
    broken = tiff.decode(make_tiff(samples, 2, tags={34665: (LONG, [1 << 20])}), "a.tif")
    assert np.array_equal(broken.samples, samples) and broken.metadata == Metadata()
    assert said(caplog) == [
        "a.tif: the EXIF data is damaged (a directory lies outside the file) and dropped."
    ]


# --- writing, by the directory -------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_directory_of_what_is_written(make_samples, channels, dtype, order) -> None:
    """Strips of a quarter of a mebibyte, deflated differences of neighbors."""
    height, width = 300, 700
    size = np.dtype(dtype).itemsize
    samples = make_samples((height, width, channels), np.dtype(dtype).str[1:])
    given = Directory(order)
    given.put(271, ASCII, b"Maker\0")
    metadata = Metadata(icc=b"profile", xmp=b"<packet/>", dpi=(300.0, 300.0))
    data = tiff.encode(samples, given, metadata)
    start = int.from_bytes(data[4:8], {"<": "little", ">": "big"}[order])
    assert data[:4] == {"<": b"II*\0", ">": b"MM\0*"}[order] and start % 2 == 0
    directory = read_directory(data, start, order)
    rows = (1 << 18) // (width * channels * size)
    counts, offsets = directory.numbers(279), directory.numbers(273)
    tags = {256, 257, 258, 259, 262, 271, 273, 277, 278, 279, 284, 317, 700, 34675}
    assert set(directory.entries) == tags | ({338} if channels in (2, 4) else set())
    expected = {
        256: (width,),
        257: (height,),
        258: (8 * size,) * channels,
        259: (8,),
        262: (1 if channels <= 2 else 2,),
        277: (channels,),
        278: (min(rows, height),),
        284: (1,),
        317: (2,),
        700: tuple(b"<packet/>"),
    }
    for tag, values in expected.items():
        assert directory.numbers(tag) == values, tag
    assert directory.values(34675) == (b"profile",)
    assert directory.number(338, -1) == (2 if channels in (2, 4) else -1)
    assert len(counts) == -(-height // min(rows, height))
    lines = []
    for offset, count in zip(offsets, counts, strict=True):
        lines.append(zlib.decompress(data[offset : offset + count]))
    kind = np.dtype(dtype).newbyteorder(order)
    differences = np.frombuffer(b"".join(lines), kind).reshape(height, width, channels)
    assert np.array_equal(np.cumsum(differences, axis=1, dtype=dtype), samples)
    assert offsets[0] == 8 and start - (offsets[-1] + counts[-1]) in (0, 1)
    assert set(given.entries) == {271}, "the one given is not changed"
    assert np.array_equal(tiff.decode(data, "a.tif").samples, samples)


def test_a_row_longer_than_a_strip_is_a_strip(make_samples) -> None:
    samples = make_samples((3, 100_000, 3))
    data = tiff.encode(samples, Directory("<"), Metadata())
    directory = read_directory(data, int.from_bytes(data[4:8], "little"), "<")
    assert (directory.numbers(278), len(directory.numbers(273))) == ((1,), 3)
    assert read_child(data, directory, 34665) is None
    assert np.array_equal(tiff.decode(data, "a.tif").samples, samples)


def test_nothing_is_written_beyond_four_gibibytes(monkeypatch) -> None:
    class Long(bytes):
        def __len__(self):
            return 1 << 31

    monkeypatch.setattr(tiff.zlib, "compress", lambda data, level: Long())
    with pytest.raises(tiff.DamagedDirectory, match=r"^more than 4 GiB$"):
        tiff.encode(np.zeros((3, 200_000, 3), np.uint8), Directory("<"), Metadata())
