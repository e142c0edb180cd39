"""Pixels of other color spaces: by their profile where they have one, and said."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from PIL import Image

from gpen_core.images.color import to_rgb


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
