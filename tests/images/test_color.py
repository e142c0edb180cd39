"""Pixels of other color spaces: by their profile where they have one, and said."""

from __future__ import annotations

import logging
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from gpen_core.images.color import to_rgb
from gpen_core.images.read import read_picture


@pytest.fixture(autouse=True)
def everything_said(caplog):
    caplog.set_level(logging.INFO, "gpen_core")


def test_lab_is_converted_by_its_definition(caplog) -> None:
    """CIE Lab of white, black, middle gray and the red of sRGB (D50), a and b offset by 128."""
    lab = np.array([[[255, 128, 128], [0, 128, 128], [136, 128, 128], [139, 209, 198]]], np.uint8)
    image = Image.frombytes("LAB", (4, 1), (lab ^ np.array([0, 128, 128], np.uint8)).tobytes())
    found = np.asarray(to_rgb(image, None, "a.tif")).astype(int)
    expected = [[255, 255, 255], [0, 0, 0], [126, 126, 126], [255, 0, 0]]
    assert np.abs(found[0] - expected).max() <= 8
    assert caplog.text == ""


def test_inks_without_a_profile_are_plainly_converted(caplog) -> None:
    image = Image.new("CMYK", (2, 2), (0, 255, 0, 0))
    for mode in ("CMYK", "YCbCr", "HSV"):
        caplog.clear()
        given = image if mode == "CMYK" else image.convert("RGB").convert(mode)
        found = to_rgb(given, None, "a.jpg")
        assert found.mode == "RGB"
        assert np.abs(np.asarray(found).astype(int) - [255, 0, 255]).max() <= 3
        [record] = caplog.records
        assert record.getMessage() == f"a.jpg: {mode} pixels are converted to RGB."


def test_a_profile_that_cannot_be_used_is_said_once(caplog) -> None:
    image = Image.new("CMYK", (2, 2), (0, 255, 0, 0))
    found = to_rgb(image, b"no profile", "a.jpg")
    assert np.asarray(found).tolist() == np.asarray(image.convert("RGB")).tolist()
    warning, told = caplog.records
    assert warning.levelno == logging.WARNING
    assert warning.getMessage().startswith("a.jpg: the color profile cannot be used (")
    assert warning.getMessage().endswith("); it is left out.")
    assert told.getMessage() == "a.jpg: CMYK pixels are converted to RGB."


def test_a_profile_of_other_pixels_is_not_looked_at(caplog) -> None:
    image = Image.new("YCbCr", (2, 2))
    assert to_rgb(image, b"no profile", "a.jp2").mode == "RGB"
    assert [record.levelno for record in caplog.records] == [logging.INFO]


def press_profile(cyan: tuple[int, int, int]) -> bytes:
    """An ICC profile (ICC.1:2001, lut8Type) of a press whose cyan is a given 8-bit Lab color and
    whose other inks are black."""
    ramp, white, black = bytes(range(256)), (255, 128, 128), (0, 128, 128)
    colors = [
        white if not inks else cyan if inks == 8 else black  # the first ink varies least
        for inks in range(16)
    ]
    table = b"".join(bytes(color) for color in colors)
    one = struct.pack(">9l", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + one + ramp * 4 + table + ramp * 3
    tags = {b"A2B0": lut, b"wtpt": b"XYZ " + bytes(4) + struct.pack(">3l", 63190, 65536, 54061)}
    body, entries, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        entries += name + struct.pack(">LL", at + len(body), len(data))
        body += data
    head = bytearray(128)
    head[0:4] = struct.pack(">L", at + len(body))
    head[8:12] = b"\2\x40\0\0"
    head[12:24] = b"prtrCMYKLab "
    head[36:40] = b"acsp"
    head[68:80] = struct.pack(">3l", 63190, 65536, 54061)
    return bytes(head) + struct.pack(">L", len(tags)) + entries + body


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_goes_by_its_profile(tmp_path, suffix):
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    options = {"quality": 100} if suffix == ".jpg" else {}
    # A press whose cyan is a red: no conversion without the profile comes out so.
    image.save(tmp_path / f"in{suffix}", icc_profile=press_profile((136, 208, 195)), **options)
    read = read_picture(tmp_path / f"in{suffix}")
    red, green, blue = (read.pixels[:, 8, 8] * 255).tolist()
    assert red > 230
    assert max(green, blue) < 60
    assert read.icc is None


def test_a_profile_that_cannot_be_used_is_said(tmp_path, caplog):
    Image.new("CMYK", (8, 8)).save(tmp_path / "in.jpg", icc_profile=b"no profile" * 20)
    assert read_picture(tmp_path / "in.jpg").pixels.min() > 0.98
    assert "the color profile cannot be used" in caplog.text


def test_inks_go_by_their_profile_and_that_is_said(caplog) -> None:
    image = Image.new("CMYK", (2, 2), (255, 0, 0, 0))
    found = to_rgb(image, press_profile((136, 208, 195)), "a.jpg")
    assert found.mode == "RGB" and np.abs(np.asarray(found)[0, 0] - [250.0, 0, 0]).max() < 40
    [record] = caplog.records
    assert record.levelno == logging.INFO
    assert record.getMessage() == "a.jpg: CMYK pixels are converted to RGB by their profile."


def test_a_profile_of_another_space_is_said(caplog) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.new("CMYK", (2, 2), (0, 255, 0, 0))
    assert np.array_equal(
        np.asarray(to_rgb(image, profile, "a.jpg")), np.asarray(image.convert("RGB"))
    )
    assert caplog.records[0].getMessage().startswith("a.jpg: the color profile cannot be used (")
    assert "(None)" not in caplog.text and "()" not in caplog.text
