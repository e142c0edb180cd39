"""Out of Pillow's modes into samples, and upright."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from gpen_core.images.pixels import eight_bit_samples, upright

GRAY = np.array([[0, 100, 255], [7, 7, 100]], np.uint8)
RGB = np.stack([GRAY, 255 - GRAY, GRAY // 2], -1)
OPACITY = np.array([[255, 128, 0], [1, 2, 3]], np.uint8)


def samples(image: Image.Image, **info) -> list:
    image.info.update(info)
    found = eight_bit_samples(image)
    assert found.dtype == np.uint8
    return found.tolist()


def stacked(*planes: np.ndarray) -> list:
    return np.dstack(planes).tolist()


def test_plain_modes_are_taken_as_they_are() -> None:
    assert samples(Image.fromarray(GRAY)) == stacked(GRAY)
    assert samples(Image.fromarray(RGB)) == stacked(RGB)
    for planes in ((GRAY, OPACITY), (RGB, OPACITY)):
        assert samples(Image.fromarray(np.dstack(planes))) == stacked(*planes)


def test_one_bit_is_black_and_white() -> None:
    image = Image.fromarray(GRAY).point(lambda value: 255 if value > 50 else 0).convert("1")
    assert samples(image) == stacked((GRAY > 50) * np.uint8(255))
    assert samples(image, transparency=255) == stacked(
        (GRAY > 50) * np.uint8(255), (GRAY <= 50) * np.uint8(255)
    )


def test_a_transparent_color_becomes_alpha() -> None:
    assert samples(Image.fromarray(GRAY), transparency=7) == stacked(
        GRAY, (GRAY != 7) * np.uint8(255)
    )
    color = tuple(RGB[0, 1].tolist())
    clear = (RGB[0, 1] == RGB).all(-1)
    assert samples(Image.fromarray(RGB), transparency=color) == stacked(RGB, ~clear * np.uint8(255))


def test_palettes_are_expanded() -> None:
    image = Image.fromarray(np.array([[0, 1, 2], [2, 1, 0]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    colors = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]])[[[0, 1, 2], [2, 1, 0]]]
    assert samples(image) == colors.tolist()
    opacity = np.array([[255, 0, 255], [255, 0, 255]])
    assert samples(image, transparency=1) == stacked(colors, opacity)
    image.info.clear()
    image = image.convert("PA")
    image.putalpha(Image.fromarray(OPACITY))
    assert (image.mode, samples(image)) == ("PA", stacked(colors, OPACITY))


def test_multiplied_alpha_is_divided_out() -> None:
    for mode, planes in (("LA", (GRAY, OPACITY)), ("RGBA", (RGB, OPACITY))):
        multiplied = Image.fromarray(np.dstack(planes)).convert(mode.replace("A", "a"))
        found = np.array(samples(multiplied))
        assert found.tolist() == np.asarray(multiplied.convert(mode)).tolist()
        opaque = OPACITY == 255
        assert found[opaque].tolist() == np.dstack(planes)[opaque].tolist()


def test_any_other_mode_becomes_rgb() -> None:
    image = Image.fromarray(RGB)
    assert samples(image.convert("RGBX")) == RGB.tolist()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_are_those_of_exif(orientation) -> None:
    image = Image.fromarray(RGB)
    image.getexif()[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    assert upright(RGB, orientation).tolist() == expected.tolist()
    assert upright(RGB[..., :1], orientation).shape == (*expected.shape[:2], 1)
