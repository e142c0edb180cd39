"""What a file says about its pixels travels: camera, place, resolution, XMP, comments, texts."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin, features

from gpen_core.images import ifd
from gpen_core.images import metadata as meta
from gpen_core.images.picture import Metadata, Picture
from gpen_core.images.read import read_picture
from gpen_core.images.write import write_picture

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF tiff:Orientation="6"/></x:xmpmeta>'
WORKFLOW = '{"nodes": [{"title": "Gr\u00fc\u00dfe"}]}'
SUFFIXES = [".jpg", ".png", ".webp", ".tif"]
SUFFIXES += [".avif"] if "avif" in features.get_supported() else []


def camera(orientation: int = 6, order: str = ">") -> bytes:
    """An EXIF block with a camera, a place, a maker's note, a thumbnail."""
    thumbnail = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(thumbnail, "JPEG")
    first = ifd.Directory(order)
    first.put(271, ifd.ASCII, b"A camera\0")
    first.put(meta.ORIENTATION, ifd.SHORT, (orientation,))
    first.put(306, ifd.ASCII, b"2020:01:01 00:00:00\0")
    first.put(40091, ifd.BYTE, "Title\0".encode("utf-16-le"))
    meta.put_resolution(first, (240.0, 240.0))
    inner = ifd.Directory(order)
    inner.put(36867, ifd.ASCII, b"1999:12:31 23:59:59\0")
    inner.put(33434, ifd.RATIONAL, (1, 125))
    inner.entries[37380] = ifd.Entry(10, 1, struct.pack(order + "ll", -1, 3))  # signed rational
    inner.put(37500, ifd.UNDEFINED, b"NOTE" * 9)
    inner.put(37510, ifd.UNDEFINED, b"ASCII\0\0\0hello")
    inner.put(40962, ifd.LONG, (9,))
    inner.put(40963, ifd.LONG, (6,))
    place = ifd.Directory(order)
    place.put(1, ifd.ASCII, b"N\0")
    place.put(2, ifd.RATIONAL, (52, 1, 30, 1, 125, 10))
    first.children = {meta.EXIF_IFD: inner, meta.GPS_IFD: place}
    block = bytearray(meta.exif_bytes(first))
    # The thumbnail hangs behind the first directory, as cameras write it.
    second = ifd.Directory(order)
    at = len(block) - 6
    second.put(513, ifd.LONG, (at + 2 + 24 + 4,))
    second.put(514, ifd.LONG, (len(thumbnail.getvalue()),))
    link = 6 + 8 + 2 + 12 * (len(first.entries) + 2)
    block[link : link + 4] = struct.pack(order + "L", at)
    return bytes(block) + ifd.write_directory(second, at) + thumbnail.getvalue()


def check_camera(path, size) -> None:
    """What Pillow, which is other code, finds in the file."""
    with Image.open(path) as image:
        exif = image.getexif()
        inner, place = exif.get_ifd(34665), exif.get_ifd(34853)
        assert exif[271] == "A camera"
        assert exif[306] == "2020:01:01 00:00:00"
        assert exif.get(274, 1) == 1
        assert inner[36867] == "1999:12:31 23:59:59"
        assert inner[33434] == pytest.approx(1 / 125)
        assert inner[37380] == pytest.approx(-1 / 3)
        assert bytes(inner[37500]) == b"NOTE" * 9
        assert (inner[40963], inner[40962]) == size
        assert place[2] == (52, 30, 12.5)
        assert not exif.get_ifd(1)  # the thumbnail shows the picture before
        assert b"\xff\xd8\xff" not in (image.info.get("exif") or b"")


def save(path, image: Image.Image, **kept) -> None:
    """By Pillow, in the way of each format."""
    if path.suffix == ".png":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", kept.pop("xmp").decode())
        kept["pnginfo"] = texts
    elif path.suffix == ".jpg":
        xmp = b"http://ns.adobe.com/xap/1.0/\0" + kept.pop("xmp")
        kept["extra"] = b"\xff\xe1" + struct.pack(">H", 2 + len(xmp)) + xmp
    elif path.suffix == ".tif":
        tags = {700: kept.pop("xmp"), 270: "described"}
        return image.save(path, tiffinfo=tags, **kept)
    image.save(path, **kept)


@pytest.mark.parametrize("target", SUFFIXES)
@pytest.mark.parametrize("source", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("order", "<>")
def test_camera_and_place_travel_between_formats(tmp_path, source, target, order):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8))
    save(tmp_path / f"in{source}", image, exif=camera(6, order), xmp=XMP)
    picture = read_picture(tmp_path / f"in{source}")
    assert picture.size == (48, 32)  # turned upright
    enlarged = picture.with_pixels(picture.pixels.repeat_interleave(2, 1).repeat_interleave(2, 2))
    write_picture(tmp_path / f"out{target}", enlarged)
    check_camera(tmp_path / f"out{target}", (96, 64))
    again = read_picture(tmp_path / f"out{target}")
    assert again.size == (96, 64)
    assert again.xmp == XMP.replace(b'"6"', b'"1"')
    assert again.dpi == pytest.approx((240, 240), rel=1e-4)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_is_none_turns_nothing(tmp_path, orientation):
    save(tmp_path / "in.jpg", Image.new("RGB", (6, 4)), exif=camera(orientation), xmp=XMP[:20])
    assert read_picture(tmp_path / "in.jpg").size == (4, 6)


def test_an_orientation_of_xmp_alone_is_applied(tmp_path):
    save(tmp_path / "in.png", Image.new("RGB", (6, 4)), xmp=XMP)
    assert read_picture(tmp_path / "in.png").size == (6, 4)


@pytest.mark.parametrize("target", [".png", ".tif", ".jpg", ".bmp"])
@pytest.mark.parametrize("dpi", [(300.0, 300.0), (72.0, 144.0), (600.0, 600.0)])
def test_resolution_travels(tmp_path, target, dpi):
    write_picture(tmp_path / f"out{target}", Picture(torch.rand(3, 8, 8), dpi=dpi))
    with Image.open(tmp_path / f"out{target}") as image:
        assert image.info["dpi"] == pytest.approx(dpi, rel=1e-3)
    assert read_picture(tmp_path / f"out{target}").dpi == pytest.approx(dpi, rel=1e-3)


def test_texts_of_a_png_travel(tmp_path):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("prompt", '{"1": {}}')
    texts.add_text("workflow", WORKFLOW)
    texts.add_itxt("Author", "\u5c71\u7530", "ja", "author")
    texts.add_text("Long", "x" * 5000, zip=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "in.png", pnginfo=texts)
    write_picture(tmp_path / "out.png", read_picture(tmp_path / "in.png"))
    with Image.open(tmp_path / "out.png") as image:
        image.load()
        assert image.text == {
            "prompt": '{"1": {}}',
            "workflow": WORKFLOW,
            "Author": "\u5c71\u7530",
            "Long": "x" * 5000,
        }


@pytest.mark.parametrize("target", [".webp", ".jpg", ".tif"])
def test_a_workflow_goes_where_comfyui_looks_for_it(tmp_path, target, caplog):
    texts = (("prompt", "{}"), ("workflow", WORKFLOW), ("Author", "somebody"))
    write_picture(tmp_path / f"out{target}", Picture(torch.rand(3, 8, 8), text=texts))
    with Image.open(tmp_path / f"out{target}") as image:
        exif = image.getexif()
    assert exif[0x0110] == "prompt:{}"
    assert exif[0x010F].encode("latin-1", "replace")[:9] == b"workflow:"
    assert "has no room for Author; dropped" in caplog.text


def test_comments_travel(tmp_path):
    image = Image.new("RGB", (8, 8))
    image.save(tmp_path / "in.jpg", comment=b"scan no 5")
    for name in ("out.jpg", "out.png", "out.tif", "out.webp"):
        write_picture(tmp_path / name, read_picture(tmp_path / "in.jpg"))
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.info["comment"] == b"scan no 5"
    with Image.open(tmp_path / "out.png") as image:
        assert image.info["Comment"] == "scan no 5"
    for name in ("out.tif", "out.webp"):
        with Image.open(tmp_path / name) as image:
            assert image.getexif()[270] == "scan no 5"


DAMAGE = {
    "no header": b"Exif\0\0MM\0t" + bytes(40),
    "nothing": b"Exif\0\0",
    "cut off": camera()[:40],
    "outside": b"Exif\0\0II*\0\xff\xff\xff\x7f",
    "pointer to nowhere": camera().replace(
        struct.pack(">HHLL", meta.GPS_IFD, 4, 1, 0)[:8], struct.pack(">HHL", meta.GPS_IFD, 4, 9)
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_damaged_exif_costs_the_exif_only(tmp_path, kind, suffix, caplog):
    exact = np.full((16, 16, 3), 200, np.uint8)
    Image.fromarray(exact).save(tmp_path / f"in{suffix}", exif=DAMAGE[kind])
    picture = read_picture(tmp_path / f"in{suffix}")
    assert picture.size == (16, 16)
    assert (picture.pixels * 255).sub(200).abs().max() < 4
    assert kind == "nothing" or "damaged" in caplog.text
    write_picture(tmp_path / "out.tif", picture)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_bytes_in_place_of_exif_raise(data):
    block = bytearray(camera())
    for _ in range(data.draw(st.integers(1, 8))):
        block[data.draw(st.integers(6, len(block) - 1))] = data.draw(st.integers(0, 255))
    block = block[: data.draw(st.integers(6, len(block)))]
    kept, orientation, _ = meta.travelling_exif(bytes(block), "a.jpg")
    assert 1 <= orientation <= 8
    if kept is not None:
        directory = meta.directory_to_write(Metadata(exif=kept), (4, 4), "a.jpg")
        assert meta.exif_bytes(meta.read_exif(kept)) == kept
        assert directory.entries or directory.children


def test_exif_that_is_too_long_for_jpeg_is_dropped_and_said(tmp_path, caplog):
    directory = meta.read_exif(camera())
    directory.children[meta.EXIF_IFD].put(37510, ifd.UNDEFINED, b"x" * 100_000)
    picture = Picture(torch.rand(3, 8, 8), exif=meta.exif_bytes(directory))
    write_picture(tmp_path / "out.jpg", picture)
    assert "the EXIF data is too long for JPEG" in caplog.text
    for name in ("out.png", "out.tif", "out.webp"):
        write_picture(tmp_path / name, picture)
        with Image.open(tmp_path / name) as image:
            assert len(image.getexif().get_ifd(34665)[37510]) == 100_000


def test_texts_too_long_for_jpeg_leave_the_camera_in(tmp_path, caplog):
    picture = Picture(torch.rand(3, 8, 8), exif=camera(1), text=(("prompt", "x" * 70_000),))
    write_picture(tmp_path / "out.jpg", picture)
    assert "has no room for prompt" in caplog.text
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.getexif()[271] == "A camera"


def test_what_a_format_cannot_hold_is_said(tmp_path, caplog):
    picture = Picture(torch.rand(3, 8, 8), exif=camera(1), xmp=XMP, comment=b"c")
    write_picture(tmp_path / "out.bmp", picture)
    assert "BMP does not hold EXIF, XMP, a comment; dropped" in caplog.text


def test_a_profile_of_other_pixels_is_dropped_and_said(tmp_path, caplog):
    gray = bytes(16) + b"GRAY" + bytes(108)
    write_picture(tmp_path / "out.png", Picture(torch.rand(3, 8, 8), icc=gray))
    assert "the color profile does not fit these pixels" in caplog.text
    with Image.open(tmp_path / "out.png") as image:
        assert "icc_profile" not in image.info


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


BAD_CHUNKS = {
    "text": chunk(b"zTXt", b"Key\0\0" + b"no zlib"),
    "profile": chunk(b"iCCP", b"name\0\0" + b"no zlib"),
    "resolution": chunk(b"pHYs", b"\0\0\1\1")[:-1] + b"?",
    "bomb": chunk(b"zTXt", b"Key\0\0" + zlib.compress(bytes(1 << 27))),
    "time": chunk(b"tIME", b"")[:-1] + b"?",
}


@pytest.mark.parametrize("kind", BAD_CHUNKS)
def test_a_damaged_chunk_costs_itself_only(tmp_path, kind):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    data = buffer.getvalue()
    (tmp_path / "in.png").write_bytes(data[:33] + BAD_CHUNKS[kind] + data[33:])
    picture = read_picture(tmp_path / "in.png")
    assert picture.pixels[:, 0, 0].tolist() == [1, 0, 0]
    assert replace(picture, pixels=None) == Picture(None)


@pytest.mark.parametrize(("color", "samples"), [(0, [[7], [9]]), (2, [[7, 8, 9], [9, 8, 7]])])
def test_the_transparent_color_of_sixteen_bits_becomes_alpha(tmp_path, color, samples):
    rows = b"\0" + np.array(samples, ">u2").tobytes()
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">LLBBBBB", 2, 1, 16, color, 0, 0, 0))
    data += chunk(b"gAMA", struct.pack(">L", 100000))
    data += chunk(b"tRNS", np.array(samples[0], ">u2").tobytes())
    data += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "in.png").write_bytes(data)
    picture = read_picture(tmp_path / "in.png")
    assert picture.alpha[0, 0].tolist() == [0, 1]
    read = (picture.pixels[: len(samples[0]), 0] * 65535).round().T
    assert read.tolist() == samples  # no gamma applied
    write_picture(tmp_path / "out.png", picture)
    assert torch.equal(read_picture(tmp_path / "out.png").pixels, picture.pixels)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_the_transparent_gray_of_few_bits_becomes_alpha(tmp_path, depth):
    peak = (1 << depth) - 1
    packed = bytes([peak << (8 - depth)] if depth < 8 else [peak, 0])  # peak, then 0
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">LLBBBBB", 2, 1, depth, 0, 0, 0, 0))
    data += chunk(b"tRNS", struct.pack(">H", peak))
    data += chunk(b"IDAT", zlib.compress(b"\0" + packed)) + chunk(b"IEND", b"")
    (tmp_path / "in.png").write_bytes(data)
    picture = read_picture(tmp_path / "in.png")
    assert picture.pixels[0, 0].tolist() == [1, 0]
    assert picture.alpha[0, 0].tolist() == [0, 1]


# --- directories, without a file around them -----------------------------------------------------


def directory_of(**values: tuple) -> ifd.Directory:
    """tag_282=(kind, values), ..."""
    directory = ifd.Directory()
    for tag, (kind, content) in values.items():
        directory.put(int(tag.removeprefix("tag_")), kind, content)
    return directory


def test_only_what_describes_the_picture_travels() -> None:
    directory = ifd.Directory()
    described = {269, 270, 271, 272, 285, 305, 306, 315, 316, 18246, 18249, 33432, 33434, 33437}
    described |= {33723, 34850, 34852, *range(34855, 34868), *range(36864, 42241)}
    described -= {37724, 40965}
    for tag in range(0, 65536):
        directory.put(tag, ifd.SHORT, (1,))
    directory.children = {meta.EXIF_IFD: ifd.Directory()}
    kept = meta.travelling(directory)
    assert set(kept.entries) == described
    assert kept.children == directory.children and kept.children is not directory.children
    assert kept.order == directory.order


@pytest.mark.parametrize("value", range(11))
def test_orientations_are_from_1_to_8(value) -> None:
    found = meta.orientation_of(directory_of(tag_274=(ifd.SHORT, (value,))))
    assert found == (value if 1 <= value <= 8 else 1)
    assert meta.orientation_of(ifd.Directory()) == 1


@pytest.mark.parametrize(
    ("dpi", "kept"),
    [
        ((0.1, 1e6), True),
        ((0.0999, 72), False),
        ((72, 1e6 + 0.5), False),
        ((72, float("inf")), False),
        ((float("nan"), 72), False),
        ((0, 0), False),
    ],
)
def test_absurd_resolutions_are_none(dpi, kept) -> None:
    assert meta.plausible_dpi(dpi) == (dpi if kept else None)
    assert meta.plausible_dpi(None) is None


def test_resolutions_are_per_inch() -> None:
    across, down = {"tag_282": (ifd.RATIONAL, (100, 1))}, {"tag_283": (ifd.RATIONAL, (301, 2))}
    for unit, factor in ((None, 1), (2, 1), (3, 2.54)):
        given = {} if unit is None else {"tag_296": (ifd.SHORT, (unit,))}
        found = meta.resolution_of(directory_of(**across, **down, **given))
        assert found == pytest.approx((100 * factor, 150.5 * factor))
    assert meta.resolution_of(directory_of(**across, **down, tag_296=(ifd.SHORT, (1,)))) is None
    assert meta.resolution_of(directory_of(**across)) is None
    assert meta.resolution_of(directory_of(**down)) is None
    directory = ifd.Directory()
    meta.put_resolution(directory, None)
    assert directory.entries == {}
    meta.put_resolution(directory, (72.5, 1 / 3))
    assert directory.values(282) == (72.5,)
    assert directory.entries[283].data == struct.pack("<LL", 1, 3)
    assert directory.values(296) == (2,)


def test_the_directories_below_come_along() -> None:
    directory = meta.read_exif(camera())
    inner = ifd.Directory(">")
    inner.put(1, ifd.ASCII, b"R98\0")
    directory.children[meta.EXIF_IFD].children[meta.INTEROP_IFD] = inner
    found = meta.read_exif(meta.exif_bytes(directory))
    assert set(found.children) == {meta.EXIF_IFD, meta.GPS_IFD}
    below = found.children[meta.EXIF_IFD]
    assert below.children[meta.INTEROP_IFD].values(1) == (b"R98\0",)
    assert meta.INTEROP_IFD not in below.entries
    assert not {meta.EXIF_IFD, meta.GPS_IFD} & set(found.entries)


def test_exif_of_a_bigtiff_is_read_too() -> None:
    """Directories of wide fields, each with one entry: EXIF and in it interoperability, GPS."""

    def wide(tag: int, kind: int, count: int, value: bytes) -> bytes:
        return struct.pack("<HHQ", tag, kind, count) + value.ljust(8, b"\0")

    def at(place: int) -> bytes:
        return struct.pack("<Q", place)

    tables = [
        [wide(meta.EXIF_IFD, 13, 1, at(72)[:4]), wide(meta.GPS_IFD, 16, 1, at(164))],
        [wide(36867, ifd.ASCII, 4, b"now\0"), wide(meta.INTEROP_IFD, 16, 1, at(128))],
        [wide(1, ifd.ASCII, 4, b"R98\0")],
        [wide(1, ifd.ASCII, 2, b"N\0")],
    ]
    block = b"II+\0\x08\0\0\0" + at(16)
    for entries in tables:
        block += struct.pack("<Q", len(entries)) + b"".join(entries) + bytes(8)
    found = meta.read_exif(block)
    inner = found.children[meta.EXIF_IFD]
    assert inner.values(36867) == (b"now\0",)
    assert inner.children[meta.INTEROP_IFD].values(1) == (b"R98\0",)
    assert found.children[meta.GPS_IFD].values(1) == (b"N\0",)
    again = meta.read_exif(meta.exif_bytes(found))
    assert again.children[meta.GPS_IFD].values(1) == (b"N\0",)


def test_an_empty_directory_is_no_exif() -> None:
    directory = ifd.Directory()
    assert meta.exif_bytes(directory) is None
    directory.children[meta.GPS_IFD] = ifd.Directory()
    assert meta.exif_bytes(directory) is not None
    for block in (None, b"", b"Exif\0\0"):
        assert meta.travelling_exif(block, "a.jpg") == (None, 1, None)


def test_damaged_exif_is_named(caplog) -> None:
    for block, reason in (
        (b"Exif\0\0MM\0t" + bytes(40), "no TIFF header"),
        (b"II*\0\xff\xff\xff\x7f", "a directory lies outside the file"),
    ):
        caplog.clear()
        message = f"a.jpg: the EXIF data is damaged ({reason}) and dropped."
        assert meta.travelling_exif(block, "a.jpg") == (None, 1, None)
        directory = meta.directory_to_write(Metadata(exif=block), (4, 5), "a.jpg")
        assert (directory.entries, directory.children) == ({}, {})
        assert [record.getMessage() for record in caplog.records] == [message, message]


@pytest.mark.parametrize("inner", [False, True])
def test_damaged_entries_are_said_wherever_they_lie(caplog, inner) -> None:
    directory = meta.read_exif(camera())
    place = directory.children[meta.EXIF_IFD] if inner else directory
    place.entries[42000] = ifd.Entry(99, 1, bytes(4))  # no such type
    kept, orientation, dpi = meta.travelling_exif(meta.exif_bytes(directory), "a.jpg")
    assert [record.getMessage() for record in caplog.records] == [
        "a.jpg: some of the EXIF data is damaged and dropped."
    ]
    assert (orientation, dpi) == (6, (240, 240))
    assert b"A camera" in kept


def test_pixel_dimensions_follow_the_new_size_where_they_stand() -> None:
    directory = meta.directory_to_write(Metadata(exif=camera()), (40, 50), "a.jpg")
    inner = directory.children[meta.EXIF_IFD]
    assert (inner.number(40963), inner.number(40962)) == (40, 50)
    del inner.entries[40962]
    block = meta.exif_bytes(directory)
    inner = meta.directory_to_write(Metadata(exif=block), (7, 8), "a").children[meta.EXIF_IFD]
    assert inner.number(40963) == 7 and 40962 not in inner.entries
    bare = meta.exif_bytes(directory_of(tag_271=(ifd.ASCII, b"A camera\0")))
    assert meta.directory_to_write(Metadata(exif=bare), (7, 8), "a").children == {}


def put(metadata: Metadata, has_comment: bool, **taken: tuple) -> tuple[dict, list[str]]:
    directory = directory_of(**taken)
    homeless = meta.put_texts(directory, metadata, has_comment)
    return {tag: entry.data for tag, entry in directory.entries.items()}, homeless


def test_texts_find_a_place_in_exif() -> None:
    texts = Metadata(text=(("workflow", "{1}"), ("prompt", "{2}\0"), ("Other", "x")))
    for has_comment in (False, True):
        assert put(texts, has_comment) == (
            {271: b"workflow:{1}\0", 272: b"prompt:{2}\0"},
            ["Other"],
        )
    taken = {"tag_271": (ifd.ASCII, b"A camera\0")}
    assert put(texts, False, **taken) == (
        {271: b"A camera\0", 272: b"prompt:{2}\0"},
        ["workflow", "Other"],
    )


def test_a_comment_becomes_the_description() -> None:
    comment = Metadata(comment=b"scan")
    assert put(comment, False) == ({270: b"scan\0"}, [])
    assert put(comment, True) == ({}, [])
    described = {"tag_270": (ifd.ASCII, b"old\0")}
    assert put(comment, False, **described) == ({270: b"old\0"}, ["comment"])
    for keyword in ("Comment", "Description"):
        text = Metadata(text=((keyword, "of a PNG"),))
        assert put(text, False) == ({270: b"of a PNG\0"}, [])
        assert put(text, True) == ({}, [keyword])
        both = replace(text, comment=b"scan")
        assert put(both, False) == ({270: b"scan\0"}, [keyword])


@pytest.mark.parametrize(
    ("before", "after", "orientation"),
    [
        (b'a tiff:Orientation="6" b', b'a tiff:Orientation="1" b', 6),
        (b"tiff:Orientation = '3'", b"tiff:Orientation = '1'", 3),
        (b"<tiff:Orientation>8</x>", b"<tiff:Orientation>1</x>", 8),
        (
            b'tiff:Orientation="2" tiff:Orientation="7"',
            b'tiff:Orientation="1" tiff:Orientation="1"',
            2,
        ),
        (b'tiff:Orientation="9"', b'tiff:Orientation="9"', 1),
        (b'exif:Orientation="6"', b'exif:Orientation="6"', 1),
        (b"", None, 1),
        (None, None, 1),
    ],
)
def test_xmp_calls_the_picture_upright(before, after, orientation) -> None:
    assert meta.upright_xmp(before) == (after, orientation)
