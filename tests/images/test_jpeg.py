"""JPEG by its segments: what each of them hands on, and that a bad one costs itself only."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from gpen_core.images import ifd, jpeg
from gpen_core.images import metadata as meta


def plain(**options) -> bytes:
    y, x = np.mgrid[0:24, 0:32]
    buffer = io.BytesIO()
    color = np.stack([x * 8, y * 10, 255 - x * 8], -1).astype(np.uint8)
    Image.fromarray(color).save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()


PLAIN = plain()
PIXELS = np.asarray(Image.open(io.BytesIO(PLAIN))).tolist()


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def exif(orientation: int = 1, dpi: float | None = None) -> bytes:
    directory = ifd.Directory(">")
    directory.put(271, ifd.ASCII, b"A camera\0")
    directory.put(meta.ORIENTATION, ifd.SHORT, (orientation,))
    if dpi is not None:
        meta.put_resolution(directory, (dpi, dpi))
    return meta.exif_bytes(directory)


def jfif(unit: int, across: int, down: int) -> bytes:
    return segment(0xE0, b"JFIF\0\1\2" + struct.pack(">BHH", unit, across, down) + b"\0\0")


def read(*segments: bytes, base: bytes | None = None, jfif: bytes = b""):
    """The plain picture with segments put before its own, and another JFIF segment."""
    data = PLAIN if base is None else base
    first = 4 + int.from_bytes(data[4:6], "big") - 2 + 2  # behind the JFIF segment
    found = jpeg.decode(b"\xff\xd8" + jfif + b"".join(segments) + data[first:], "a.jpg", 18)
    if base is None:
        assert found.samples.tolist() == PIXELS
    return found


def test_what_lies_between_segments_is_passed_over(caplog) -> None:
    """Fill bytes, stray bytes, markers without a body, and segments nobody knows."""
    for stray in (
        b"\xff\xff\xff",
        b"\0\x12\x34",
        b"\xff\0",
        b"\xff\x01",
        b"\xff\xd0\xff\xd7",
        segment(0xED, b"Photoshop 3.0\0" + b"8BIM" * 9),
        segment(0xEF, b""),
        segment(0xE1, b"neither"),
        segment(0xE2, b"neither"),
        segment(0xE3, b"MPF\0" + bytes(20)),
        segment(0xE3, b"ICC_PROFILE\0\1\1profile"),
        segment(0xE3, b"Exif\0\0II*\0"),
        segment(0xE3, b"http://ns.adobe.com/xap/1.0/\0<packet/>"),
        segment(0xE2, b"ICC_PROFILE\0\1\1"),
        b"\xff\xe5\0\0",  # claims to be shorter than its own length
    ):
        found = read(stray)
        assert (found.metadata, found.orientation) == (meta.Metadata(), 1), stray
    assert found.bits == 8
    assert caplog.text == ""


def test_what_the_pixels_need_is_kept() -> None:
    """Adobe's segment says that these three channels are no YCbCr."""
    color = np.full((16, 16, 3), (200, 30, 90), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(color).save(buffer, "JPEG", quality=100, keep_rgb=True)
    assert b"Adobe" in buffer.getvalue()
    found = jpeg.decode(buffer.getvalue(), "a.jpg", 18)
    assert np.abs(found.samples.astype(int) - color).max() <= 2


def test_comments() -> None:
    assert read(segment(0xFE, b"scan\0 5\0\0")).metadata.comment == b"scan\0 5"
    assert read(segment(0xFE, b"one"), segment(0xFE, b"two")).metadata.comment == b"two"
    assert read(segment(0xFE, b"\0\0")).metadata.comment is None


def test_exif_may_come_in_parts_and_says_how_the_picture_lies() -> None:
    block = exif(6, 144)
    head, body = block[:6], block[6:]
    for parts in ([block], [head + body[:30], head + body[30:]]):
        found = read(*[segment(0xE1, part) for part in parts])
        assert found.orientation == 6
        assert found.metadata.dpi == (144, 144)
        kept = meta.read_exif(found.metadata.exif)
        assert kept.values(271) == (b"A camera\0",)
        assert meta.ORIENTATION not in kept.entries


def test_the_orientation_of_exif_goes_before_that_of_xmp() -> None:
    head = b"http://ns.adobe.com/xap/1.0/\0"
    packet = segment(0xE1, head + b'<a tiff:Orientation="8"/>')
    assert read(packet).orientation == 8
    assert read(packet).metadata.xmp == b'<a tiff:Orientation="1"/>'
    assert read(packet, segment(0xE1, exif(3))).orientation == 3
    assert read(packet, segment(0xE1, exif(1))).orientation == 8


def test_a_profile_in_parts_is_put_together_in_their_order(caplog) -> None:
    parts = [
        segment(0xE2, b"ICC_PROFILE\0" + bytes([part, 3]) + b"abc"[part - 1 : part])
        for part in (1, 2, 3)
    ]
    for order in ([0, 1, 2], [2, 0, 1]):
        assert read(*[parts[index] for index in order]).metadata.icc == b"abc"
    one = segment(0xE2, b"ICC_PROFILE\0\1\1profile")
    assert read(one).metadata.icc == b"profile"
    assert caplog.text == ""
    assert read(parts[0], parts[2]).metadata.icc is None
    message = "a.jpg: parts of the color profile are missing; it is dropped."
    assert [record.getMessage() for record in caplog.records] == [message]
    assert read(parts[0], parts[1]).metadata.icc is None


def test_further_pictures_are_said(caplog) -> None:
    read(segment(0xE2, b"MPF\0" + bytes(20)))
    [record] = caplog.records
    assert record.getMessage() == "a.jpg holds further pictures; only the first is read."


@pytest.mark.parametrize(
    ("unit", "expected"), [(0, None), (1, (300, 150)), (2, (762.0, 381.0)), (3, None)]
)
def test_the_density_of_jfif(unit, expected) -> None:
    assert read(jfif=jfif(unit, 300, 150)).metadata.dpi == expected
    other = segment(0xE1, exif(1, 96))
    assert read(other, jfif=jfif(unit, 300, 150)).metadata.dpi == (expected or (96, 96))


def test_a_density_that_is_none() -> None:
    assert read(jfif=jfif(1, 0, 72)).metadata.dpi is None
    short = segment(0xE0, b"JFIF\0\1\2\1\0\x48\0")
    assert read(jfif=short).metadata.dpi is None
    shortest = segment(0xE0, b"JFIF\0\1\2\1\0\x48\0\x60")
    assert read(jfif=shortest).metadata.dpi == (72, 96)
    assert read(jfif=segment(0xE0, b"JFXX\0" + bytes(9))).metadata.dpi is None


def test_a_file_without_a_scan_has_no_pixels() -> None:
    start = PLAIN.index(b"\xff\xda")
    for cut in (2, 3, 5, start, start + 1):
        with pytest.raises(ValueError, match=r"^it ends before its pixels$"):
            jpeg.decode(PLAIN[:cut], "a.jpg", 18)


def test_inks_become_colors_without_their_profile(caplog) -> None:
    caplog.set_level("INFO", "gpen_core")
    buffer = io.BytesIO()
    Image.new("CMYK", (16, 16), (0, 255, 0, 0)).save(buffer, "JPEG", quality=100, comment=b"press")
    profile = segment(0xE2, b"ICC_PROFILE\0\1\1no profile")
    data = buffer.getvalue()
    found = jpeg.decode(data[:2] + profile + data[2:], "a.jpg", 18)
    assert found.samples.shape == (16, 16, 3)
    assert np.abs(found.samples[8, 8].astype(int) - [255, 0, 255]).max() < 6
    assert found.metadata == meta.Metadata(comment=b"press")
    assert [record.getMessage()[:6] for record in caplog.records] == ["a.jpg:", "a.jpg:"]


def in_rows(height: int) -> tuple[bytes, list[int]]:
    """A gray picture with a restart mark behind each row of blocks, and where these marks lie."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (height, 48), np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG", quality=90, restart_marker_rows=1)
    data = buffer.getvalue()
    marks = [at for at in range(len(data) - 1) if data[at] == 0xFF and 0xD0 <= data[at + 1] < 0xD8]
    assert len(marks) == height // 8 - 1
    return data, marks


@pytest.mark.parametrize("end", [0, 1, 2, 20])
@pytest.mark.parametrize("height", [16, 64, 168])
def test_as_many_rows_may_be_missing_as_are_forgiven(height, end, caplog) -> None:
    """Cut before, in and behind the last restart mark: the last row of blocks is not all there."""
    data, marks = in_rows(height)
    cut = data[: marks[-1] + end]
    found = jpeg.decode(cut, "a.jpg", 8)
    [record] = caplog.records
    assert record.getMessage() == "a.jpg lacks its end; 8 rows at the bottom may be wrong."
    whole = np.asarray(Image.open(io.BytesIO(data)))
    assert np.array_equal(found.samples[:-8, :, 0], whole[:-8])
    with pytest.raises(OSError, match="truncated"):
        jpeg.decode(cut, "a.jpg", 7)


def test_of_half_a_picture_the_other_half_is_not_forgiven() -> None:
    """Whatever is asked for: 4 of 8 rows of blocks may be missing, 5 may not."""
    data, marks = in_rows(64)
    assert jpeg.decode(data[: marks[3]], "a.jpg", 64).samples.shape == (64, 48, 1)
    with pytest.raises(OSError, match="truncated"):
        jpeg.decode(data[: marks[2]], "a.jpg", 64)


def test_a_segment_holds_65533_bytes() -> None:
    assert jpeg.fits(None) and jpeg.fits(None, 1 << 20) and jpeg.fits(b"")
    assert jpeg.fits(bytes(65533)) and not jpeg.fits(bytes(65534))
    assert jpeg.fits(bytes(65500), 33) and not jpeg.fits(bytes(65500), 34)
    packet = b"x" * 100
    made = jpeg.xmp_segment(packet)
    assert made == segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)
    assert len(made) == 4 + jpeg.XMP_OVERHEAD + 100
    assert read(made).metadata.xmp == packet
